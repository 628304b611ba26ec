-- SPDX-License-Identifier: MIT
-- Measures the cost of a trivial item with one peer: fleet.pmap over 100,000 items by itself, and
-- `run` as a whole process, over so many items that start-up (about 50 ms) does not count.

local COUNT, RUN_COUNT = 100000, 1000000

return function(bench)
  local peer = bench:node(1)
  local measure = {}

  function measure.pmap()
    return tonumber(bench:shell("$1 run --peers $3 $2/jobs/pmap.lua $4", bench.program, bench.here,
      peer, COUNT))
  end

  function measure.run()
    return RUN_COUNT / bench:time("$1 run $2 --peers $3 >/dev/null", bench.program,
      bench.here .. "/jobs/numbers.lua", peer)
  end

  if bench:has("redis-server", "redis-benchmark") then
    local port = bench:port()
    bench:spawn("redis-server --port $1 --bind 127.0.0.1 --save '' --dir $2", port, bench.dir)
    bench:wait_port(port)
    function measure.redis()
      local csv = bench:shell([[redis-benchmark -p $1 -n $2 -c 64 -P 32 --csv \
        eval 'return ARGV[1]' 0 x]], port, RUN_COUNT)
      return tonumber(csv:match('\n"[^\n]-","([%d.]+)"'))
    end
  end

  local erlang = require("erlang")(bench)
  if erlang then
    function measure.erlang() return erlang("pmap", COUNT) end
  end

  local median = bench:interleave(measure)
  for _, row in ipairs({
    { "pmap, 100,000 trivial items, one peer", median.pmap },
    { "run, 1,000,000 trivial items, one peer", median.run },
  }) do
    bench:row({ name = row[1], unit = "rate", ours = row[2],
      peer_name = "Redis EVAL, 64 x 32", peer = median.redis, at_least = 1.0 })
    bench:row({ name = "  the same", unit = "rate", ours = row[2],
      peer_name = "Erlang rpc:pmap, 2 nodes", peer = median.erlang, at_least = 30 })
  end
end
