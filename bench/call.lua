-- SPDX-License-Identifier: MIT
-- Measures sequential remote calls on this machine: to the private node, over ipc, TCP and TLS, of
-- a function that does nothing and of one with an argument and a result; while the machine is idle,
-- and while another process computes on each core. Both times also what one call costs in processor
-- time and context switches of threads that sleep, in all processes together.

local carriers = require("carriers")

local COUNT, BUSY_COUNT = 20000, 4000

-- The measurements in which calls are compared, by name.
local function measurements(bench, list, older, peers, count)
  local measure = {}
  for name, carrier in pairs(list) do
    measure[name] = function()
      return carriers.run(bench, bench.program, carrier, count, "empty")
    end
  end
  for name, carrier in pairs(older or {}) do
    measure["older_" .. name] = function()
      return carriers.run(bench, bench.older, carrier, count, "empty")
    end
  end
  measure.eval = function() return carriers.run(bench, bench.program, list.tcp, count, "eval") end
  for name, peer in pairs(peers) do
    measure[name] = function() return peer(count) end
  end
  return measure
end

local function start_peers(bench)
  local peers = {}
  local floor = "tcp://127.0.0.1:" .. bench:port()
  bench:spawn("$1/nng-pingpong serve $2", bench.tools, floor)
  bench:wait_port(tonumber(floor:match("%d+$")))
  function peers.nng(count)
    return tonumber(bench:shell("$1/nng-pingpong call $2 $3", bench.tools, floor, count))
  end
  if bench:has("tarantool") then
    local port = bench:port()
    bench:spawn("tarantool $1/tarantool_call.lua serve $2 $3", bench.here, port, bench.dir)
    bench:wait_port(port)
    function peers.tarantool(count)
      return tonumber(bench:shell("tarantool $1/tarantool_call.lua call $2 $3", bench.here, port,
        count):match("%S+"))
    end
  end
  local erlang = require("erlang")(bench)
  if erlang then
    function peers.erlang(count) return erlang("call", count) end -- it has an argument
  end
  return peers
end

-- One row for each comparison: { ours, theirs, name of theirs, goal }.
local COMPARED = {
  { "private", "older_private", "the older build", 0.30 },
  { "private", "erlang", "Erlang erpc:call", 0.8 },
  { "private", "tarantool", "Tarantool net.box eval", 1.0 },
  { "ipc", "tcp", "the same over TCP", 1.1 },
  { "tcp", "older_tcp", "the older build", 0.70 },
  { "tcp", "nng", "raw nng REQ/REP", 1.4 },
  { "tcp", "tarantool", "Tarantool net.box eval", 1.0 },
  { "tcp", "erlang", "Erlang erpc:call", 1.0 },
  { "eval", "nng", "raw nng REQ/REP", 1.4 },
  { "tls", "tcp", "the same over TCP", 1.6 },
}
local NAMES = {
  private = "one call, private node", ipc = "one call, ipc", tcp = "one call, TCP",
  eval = "one call, TCP, x -> x + 1", tls = "one call, TLS",
}

local function add_rows(bench, median, how)
  for _, row in ipairs(COMPARED) do
    local ours, theirs, name, goal = table.unpack(row)
    bench:row({ name = NAMES[ours] .. how, unit = "us", ours = median[ours], peer_name = name,
      peer = median[theirs], at_most = goal })
  end
end

-- What `count` calls add to a run: how often threads sleep, and microseconds of processor time.
-- `time` tells those of the driver and of its private node; those of a node with a process id are
-- added.
local function cost(bench, program, carrier, count)
  local function once(calls)
    local file = bench.dir .. "/cost"
    local switches, cpu = 0, 0
    local function add_node(sign)
      for _, pid in ipairs(carrier.node and { carrier.node,
        table.unpack(bench:children(carrier.node)) } or {}) do
        local n, seconds = bench:used(pid)
        switches, cpu = switches + sign * n, cpu + sign * seconds
      end
    end
    add_node(-1)
    carriers.run(bench, program, carrier, calls, "empty",
      ("time -o %s -f '%%w %%U %%S' "):format(file))
    add_node(1)
    local slept, user, system = bench:shell("cat $1", file):match("(%S+) (%S+) (%S+)")
    return switches + slept, cpu + user + system
  end
  local switches, cpu = once(count)
  local base_switches, base_cpu = once(0)
  return (switches - base_switches) / count, (cpu - base_cpu) / count * 1e6
end

local function cost_rows(bench, list, older, count, how)
  if not bench:has("time") then return end
  local measure, cpu = {}, {}
  local function add(key, program, carrier)
    measure[key] = function()
      local switches, us = cost(bench, program, carrier, count)
      cpu[key] = cpu[key] or {}
      table.insert(cpu[key], us)
      return switches
    end
  end
  for _, name in ipairs({ "private", "tcp" }) do
    add(name, bench.program, list[name])
    if older then add("older_" .. name, bench.older, older[name]) end
  end
  local switches = bench:interleave(measure)
  for _, figures in pairs(cpu) do table.sort(figures) end
  for _, row in ipairs({ { "private", 4 }, { "tcp", 9 } }) do
    local name, most = table.unpack(row)
    local theirs = cpu["older_" .. name]
    bench:row({ name = NAMES[name] .. how .. ", processor time", unit = "us",
      ours = cpu[name][(#cpu[name] + 1) // 2], peer_name = "the older build",
      peer = theirs and theirs[(#theirs + 1) // 2], at_most = 0.45 })
    bench:row({ name = NAMES[name] .. how .. ", voluntary switches", unit = "number",
      ours = switches[name], at_most = most })
  end
end

return function(bench)
  local list, peers = carriers.start(bench), start_peers(bench)
  local older
  if bench.older then
    local address, pid = bench:node(1, "", bench.older)
    older = {
      private = list.private, tcp = { driver = "--peers " .. address, name = address, node = pid },
    }
  end
  local function measure(count, how)
    add_rows(bench, bench:interleave(measurements(bench, list, older, peers, count)), how)
    cost_rows(bench, list, older, count, how)
  end
  measure(COUNT, "")
  local burners = {}
  for _ = 1, tonumber(bench:shell("nproc")) do
    table.insert(burners, bench:spawn("sh -c 'while :; do :; done'"))
  end
  measure(BUSY_COUNT, ", busy")
  for _, pid in ipairs(burners) do bench:stop(pid) end
end
