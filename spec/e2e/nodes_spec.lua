-- SPDX-License-Identifier: MIT
-- Patient: tests fleet.nodes() for nodes that stop, freeze, leave or are full while nothing runs,
-- and the time that calls on all nodes take.

local e2e = require("spec.support.e2e")
local rpc = require("host.rpc")
local session = require("spec.support.session")
local socket = require("socket")
local task = require("host.task")

-- Calls fleet.nodes() when the file arg[1]N appears, N = 1, 2, ..., and prints how long that took
-- and the state of each node. (Reading a line instead would stop the heartbeats.)
local ASKING = [[
local fleet = require("fleet")
for i = 1, math.huge do
  while not io.open(arg[1] .. i) do fleet.sleep(0.02) end
  local before = require("host.sys").now()
  local nodes = fleet.nodes()
  local parts = { ("%d"):format(math.floor(require("host.sys").now() - before)) }
  for _, n in ipairs(nodes) do
    parts[#parts + 1] = ("%s=%s,%s"):format(n.name, n.state, n.rtt and "rtt" or "none")
  end
  print(table.concat(parts, " "))
  io.stdout:flush()
end
]]

describe("fleet.nodes, while nothing runs,", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function asking(peers)
    local program = world:program({
      "run", "--peers", peers, world:write("asking.lua", ASKING), world:path("now") })
    local asked = 0
    return function()
      asked = asked + 1
      world:write("now" .. asked, "")
      local line
      e2e.wait_until("the answer", function()
        local n = 0
        for l in program:out():gmatch("([^\n]*)\n") do n, line = n + 1, l end
        return n == asked
      end, 10)
      return line
    end
  end

  it("says at once that a node was killed, and soon that it is back", function()
    local nodes, peers = world:nodes(2, { workers = 1 })
    local a, b = nodes[1].name, nodes[2].name
    local ask = asking(peers)
    local both = ("0 %s=ready,rtt %s=ready,rtt"):format(a, b)
    assert.equal(both, ask())
    nodes[2]:kill("KILL")
    nodes[2]:wait()
    assert.equal(("0 %s=ready,rtt %s=down,none"):format(a, b), ask())
    world:node({ workers = 1, port = nodes[2].port })
    assert.equal(both, ask())
  end)

  it("says that a frozen node is suspect, then lost, then that it is back", function()
    local nodes, peers = world:nodes(2, { workers = 1 })
    local a, b = nodes[1].name, nodes[2].name
    local ask = asking(peers)
    ask()
    nodes[2]:kill("STOP")
    local stopped = socket.gettime()
    local function after(seconds, state)
      task.sleep(math.max(0, stopped + seconds - socket.gettime()))
      local line = ask()
      assert.equal(("1 %s=ready,rtt %s=%s,none"):format(a, b, state), line)
    end
    after(1, "ready") -- it has not been silent for long, and yet has no round trip to show
    after(6.5, "suspect")
    after(16.5, "down")
    nodes[2]:kill("CONT")
    e2e.wait_until("its return", function()
      return ask() == ("0 %s=ready,rtt %s=ready,rtt"):format(a, b)
    end, 15)
  end)

  it("says of a node that drained that it has left", function()
    local nodes, peers = world:nodes(2, { workers = 1 })
    local program = world:program({ "run", "--peers", peers, "--log-level", "info",
      world:write("left.lua", [[
local fleet = require("fleet")
assert(#fleet.nodes() == 2)
print("ready") io.stdout:flush()
while not io.open(arg[1]) do fleet.sleep(0.02) end
for _, n in ipairs(fleet.nodes()) do print(n.state, n.error) end
fleet.sleep(2)
for _, n in ipairs(fleet.nodes()) do print(n.state, n.error) end
]]), world:path("go") })
    e2e.wait_until("it", function() return program:out() == "ready\n" end)
    nodes[2]:kill("TERM")
    assert.equal(0, nodes[2]:wait().code)
    world:write("go", "")
    local run = program:wait()
    local expected = ("ready\tnil\ndown\t%s has drained and left\n"):format(nodes[2].name)
    assert.equal("ready\n" .. expected .. expected, run.out)
    assert.matches('msg="node drained and left"', run.err, 1, true)
    assert.is_nil(run.err:find("node lost", 1, true))
  end)

  describe("when a node has too many sessions", function()
    local node, peer
    before_each(function()
      node = world:node({ workers = 1, flags = { "--lease", "120" } })
      peer = assert(rpc.dial("tcp://" .. node.address, 5))
      for i = 1, 256 do
        assert.equal("events", session.new(peer, "held" .. i):send({})[1])
      end
    end)
    after_each(function() peer:close() end)

    it("says so, and calls and commands end with the reason", function()
      assert.equal("0 " .. node.name .. "=full,rtt", asking(node.address)())
      local why = "no node can be used: " .. node.name .. ": too many sessions on this node"
      local before = socket.gettime()
      local run = world:run({ "eval", "--peers", node.address, "--dead-after", "2", "return 1" })
      assert.same({ 3, "" }, { run.code, run.out })
      assert.matches(why, run.err, 1, true)
      assert.is_true(socket.gettime() - before < 6)
      run = world:run({ "eval", "--all", "--peers", node.address, "return 1" })
      assert.equal(3, run.code)
      assert.matches("too many sessions on this node", run.err, 1, true)
      run = world:run({ "run", "--peers", node.address, world:write("call.lua", [[
local fleet = require("fleet")
local _, err = fleet.with({ timeout = 0.5 }).call(fleet.any, function() return 1 end)
print(err.kind, err.applied)
local _, failures = fleet.multicall(function() return 1 end)
for _, e in pairs(failures) do print(e.kind, e.applied, e.message) end
]]) })
      assert.equal(("timeout\tno\nconnect\tno\t%s: too many sessions on this node\n"):format(
        node.name), run.out)
    end)

    it("has a run end after 15 seconds, and says at once why it waits", function()
      local run = world:program({ "run", "--peers", node.address,
        world:write("job.lua", "return { map = function(x) return x end }"), "--items", "a" })
      e2e.wait_until("the reason", function()
        return run:err():find("node accepts no more drivers for now", 1, true)
      end, 5)
      local ended = run:wait()
      assert.equal(3, ended.code, ended.err)
      assert.matches("no node can be used: .*too many sessions on this node", ended.err)
    end)

    it("has a run begin as soon as there is room", function()
      local run = world:program({ "run", "--peers", node.address,
        world:write("job.lua", "return { map = function(x) return x end }"), "--items", "a" })
      e2e.wait_until("the reason", function()
        return run:err():find("node accepts no more drivers for now", 1, true)
      end, 5)
      local s = session.new(peer, "held1")
      s:close()
      local ended = run:wait()
      assert.equal(0, ended.code, ended.err)
    end)
  end)

  describe("calls on all nodes", function()
    it("end within their time, when a node is frozen from the beginning or later", function()
      local nodes, peers = world:nodes(2, { workers = 1 })
      local well, frozen = nodes[1].name, nodes[2].name
      local script = world:write("all.lua", [==[
local fleet, rpc = require("fleet"), require("fleet.rpc")
local now = require("host.sys").now
local function timed(what, f)
  local before = now()
  local results, failures = f()
  local took = now() - before
  print(what, took < 1.4 and "in time" or took, results and results[arg[1]],
    failures and failures[arg[2]] and failures[arg[2]].kind)
end
local one = fleet.with({ timeout = 1 })
timed("first", function() return one.multicall(function() return 1 end) end)
timed("multicall", function() return one.multicall(function() return 1 end) end)
timed("rpc", function() return rpc.multicall(nil, function() return 1 end, {}, 1) end)
timed("named", function()
  return rpc.multicall({ arg[1], arg[2] }, function() return 1 end, {}, 1) end)
timed("everywhere", function() one.everywhere(function() return 1 end) end)
timed("in a task", function()
  return table.unpack(fleet.call(arg[1], function()
    return { require("fleet").with({ timeout = 0.9 }).multicall(function() return 1 end) }
  end))
end)
]==])
      nodes[2]:kill("STOP")
      local run = world:run({ "run", "--peers", peers, script, well, frozen })
      local lines = {}
      for line in run.out:gmatch("[^\n]+") do lines[#lines + 1] = line end
      -- it has never answered
      assert.equal("first\tin time\t1\tnil", lines[1], run.err)
      assert.equal("named\tin time\t1\tconnect", lines[4])
      for _, line in ipairs(lines) do assert.matches("^[%a ]+\tin time\t", line) end
      run = world:run({ "eval", "--all", "--timeout", "1", "--peers", peers, "return 1" })
      assert.equal(1, run.code)
      assert.equal(well .. ": 1\n", run.out)
      nodes[2]:kill("CONT")
      run = world:run({ "run", "--peers", peers, world:write("later.lua", [[
local fleet = require("fleet")
fleet.multicall(function() return 1 end)
os.execute("kill -STOP " .. arg[3])
]] .. e2e.read(script):gsub("^local fleet, rpc =[^\n]*\n", "local rpc = require('fleet.rpc')\n")),
        well, frozen, nodes[2].pid })
      local count = 0
      for line in run.out:gmatch("[^\n]+") do
        count = count + 1
        if not line:find("everywhere", 1, true) then
          assert.matches("^[%a ]+\tin time\t1\t%a+$", line)
        end
      end
      assert.equal(6, count, run.err)
    end)
  end)
end)
