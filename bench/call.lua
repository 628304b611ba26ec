-- SPDX-License-Identifier: MIT
-- Measures sequential remote calls between two processes over TCP on this machine: of a function
-- that does nothing, and of one with an argument and a result.

local COUNT = 20000

return function(bench)
  local peer = bench:node(1)
  local measure, tarantool_eval = {}, {}

  local function ours(what)
    return tonumber(bench:shell("$1 run --peers $3 $2/jobs/call.lua $3 $4 $5", bench.program,
      bench.here, peer, COUNT, what))
  end
  function measure.empty() return ours("empty") end
  function measure.eval() return ours("eval") end

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
      local empty, eval = bench:shell("tarantool $1/tarantool_call.lua call $2 $3", bench.here,
        port, COUNT):match("(%S+) (%S+)")
      table.insert(tarantool_eval, tonumber(eval))
      return tonumber(empty)
    end
  end

  local erlang = require("erlang")(bench)
  if erlang then
    function measure.erlang() return erlang("call", COUNT) end -- it has an argument
  end

  local median = bench:interleave(measure)
  table.sort(tarantool_eval)
  local tarantool = {
    empty = median.tarantool, eval = tarantool_eval[(#tarantool_eval + 1) // 2],
  }
  for _, what in ipairs({ "empty", "eval" }) do
    bench:row({ name = what == "empty" and "one empty remote call" or "one call, x -> x + 1",
      unit = "us", ours = median[what], peer_name = "raw nng REQ/REP", peer = median.nng,
      at_most = 1.4 })
    bench:row({ name = "  the same", unit = "us", ours = median[what],
      peer_name = "Tarantool net.box eval", peer = tarantool[what], at_most = 1.0 })
    bench:row({ name = "  the same", unit = "us", ours = median[what],
      peer_name = "Erlang erpc:call", peer = median.erlang, at_most = 1.0 })
  end
end
