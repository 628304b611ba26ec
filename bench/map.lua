-- SPDX-License-Identifier: MIT
-- A million trivial items through one peer: the price of an item that does nothing. So many
-- that starting (ours, some 50 ms) does not count. Erlang gets a tenth: it takes long enough.

local COUNT, ERLANG_COUNT = 1000000, 100000

return function(bench)
  local peer = bench:node(1)
  local measure = {}

  function measure.ours()
    return COUNT / bench:time("$1 run $2 --peers $3 >/dev/null", bench.program,
      bench.here .. "/jobs/numbers.lua", peer)
  end

  if bench:has("redis-server", "redis-benchmark") then
    local port = bench:port()
    bench:spawn("redis-server --port $1 --bind 127.0.0.1 --save '' --dir $2", port, bench.dir)
    bench:wait_port(port)
    function measure.redis()
      local csv = bench:shell([[redis-benchmark -p $1 -n $2 -c 64 -P 32 --csv \
        eval 'return ARGV[1]' 0 x]], port, COUNT)
      return tonumber(csv:match('\n"[^\n]-","([%d.]+)"'))
    end
  end

  local erlang = require("erlang")(bench)
  if erlang then
    function measure.erlang() return erlang("pmap", ERLANG_COUNT) end
  end

  local median = bench:interleave(measure)
  bench:row({ name = "1,000,000 trivial items, one peer", unit = "rate", ours = median.ours,
    peer_name = "Redis EVAL, 64 x 32", peer = median.redis, at_least = 1.0 })
  bench:row({ name = "the same", unit = "rate", ours = median.ours,
    peer_name = "Erlang rpc:pmap, 2 nodes", peer = median.erlang, at_least = 30 })
end
