-- SPDX-License-Identifier: MIT
-- One empty remote call at a time, between two processes over TCP on this machine.

local COUNT = 20000

return function(bench)
  local peer = bench:node(1)
  local measure = {}

  function measure.ours()
    return tonumber(bench:shell("$1 run --peers $3 $2/jobs/call.lua $3 $4", bench.program,
      bench.here, peer, COUNT))
  end

  local floor = "tcp://127.0.0.1:" .. bench:port()
  bench:spawn("$1/nng-pingpong serve $2", bench.tools, floor)
  bench:wait_port(tonumber(floor:match("%d+$")))
  function measure.nng()
    return tonumber(bench:shell("$1/nng-pingpong call $2 $3", bench.tools, floor, COUNT))
  end

  if bench:has("tarantool") then
    local port = bench:port()
    bench:spawn("tarantool $1/tarantool_call.lua serve $2 $3", bench.here, port, bench.dir)
    bench:wait_port(port)
    function measure.tarantool()
      return tonumber(bench:shell("tarantool $1/tarantool_call.lua call $2 $3", bench.here, port,
        COUNT))
    end
  end

  local erlang = require("erlang")(bench)
  if erlang then
    function measure.erlang() return erlang("call", COUNT) end
  end

  local median = bench:interleave(measure)
  bench:row({ name = "one empty remote call", unit = "us", ours = median.ours,
    peer_name = "raw nng REQ/REP", peer = median.nng, at_most = 1.4 })
  bench:row({ name = "the same", unit = "us", ours = median.ours,
    peer_name = "Tarantool net.box eval", peer = median.tarantool, at_most = 1.0 })
  bench:row({ name = "the same", unit = "us", ours = median.ours,
    peer_name = "Erlang erpc:call", peer = median.erlang, at_most = 1.0 })
end
