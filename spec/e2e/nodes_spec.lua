-- SPDX-License-Identifier: MIT
-- Patient: tests fleet.nodes() for nodes that stop, freeze, leave or are full while nothing runs,
-- and the time that calls on all nodes take.

local carriers = require("spec.support.carriers")
local e2e = require("spec.support.e2e")
local frames = require("spec.support.frames")
local socket = require("socket")
local task = require("host.task")

-- Calls fleet.nodes() when the file arg[1]N appears, N = 1, 2, ..., and prints whether it returned
-- soon (after 1 s at most, but the machine may be busy) and the state of each node. (Reading a line
-- instead would stop the heartbeats.)
local ASKING = [[
local fleet = require("fleet")
for i = 1, math.huge do
  while not io.open(arg[1] .. i) do fleet.sleep(0.02) end
  local before = require("host.sys").now()
  local nodes = fleet.nodes()
  local took = require("host.sys").now() - before
  local parts = { took < 4.9 and "soon" or ("after %g s"):format(took) }
  for _, n in ipairs(nodes) do
    parts[#parts + 1] = ("%s=%s,%s"):format(n.name, n.state, n.rtt and "rtt" or "none")
  end
  print(table.concat(parts, " "))
  io.stdout:flush()
end
]]

-- Starts a driver of that fleet. The result has it call fleet.nodes() and returns what it prints.
local function asking(fleet)
  local world = fleet.world
  local program = fleet:program({ "run", world:write("asking.lua", ASKING), world:path("now") })
  local asked = 0
  return function()
    asked = asked + 1
    world:write("now" .. asked, "")
    local line
    e2e.wait_until("the answer", function()
      local n = 0
      for l in program:out():gmatch("([^\n]*)\n") do n, line = n + 1, l end
      return n == asked
    end)
    return line
  end
end

local function kill_one(carrier, world)
  local fleet = carrier.fleet(world, 2, { workers = 1 })
  local a, b = fleet.nodes[1].name, fleet.nodes[2].name
  local ask = asking(fleet)
  local both = ("soon %s=ready,rtt %s=ready,rtt"):format(a, b)
  assert.equal(both, ask())
  local function becomes(line)
    local began = socket.gettime()
    e2e.wait_until(line, function() return ask() == line end)
    assert.is_true(socket.gettime() - began < 14) -- silence alone would take 15 s
  end
  fleet.nodes[2]:end_for_good()
  becomes(("soon %s=ready,rtt %s=down,none"):format(a, b))
  fleet.nodes[2]:start_again()
  becomes(both)
end

local function freeze_one(carrier, world)
  local fleet = carrier.fleet(world, 2, { workers = 1 })
  local a, b = fleet.nodes[1].name, fleet.nodes[2].name
  local ask = asking(fleet)
  ask()
  fleet.nodes[2]:kill("STOP")
  local stopped = socket.gettime()
  local function after(seconds, state)
    task.sleep(math.max(0, stopped + seconds - socket.gettime()))
    local line = ask()
    assert.equal(("soon %s=ready,rtt %s=%s,none"):format(a, b, state), line)
  end
  after(1, "ready") -- it has not been silent for long, and yet has no round trip to show
  after(6.5, "suspect")
  -- one that the driver has started is ended by it, and started again two seconds later
  after(carrier.listens and 16.5 or 15.5, "down")
  if carrier.listens then fleet.nodes[2]:kill("CONT") end
  e2e.wait_until("its return", function()
    return ask() == ("soon %s=ready,rtt %s=ready,rtt"):format(a, b)
  end)
end

local function drain_one(carrier, world)
  if not carrier.listens then return end
  local fleet = carrier.fleet(world, 2, { workers = 1 })
  local program = fleet:program({ "run", "--log-level", "info", world:write("left.lua", [[
local fleet = require("fleet")
assert(#fleet.nodes() == 2)
print("ready") io.stdout:flush()
while not io.open(arg[1]) do fleet.sleep(0.02) end
for _, n in ipairs(fleet.nodes()) do print(n.state, n.error) end
fleet.sleep(2)
for _, n in ipairs(fleet.nodes()) do print(n.state, n.error) end
]]), world:path("go") })
  e2e.wait_until("it", function() return program:out() == "ready\n" end)
  fleet.nodes[2]:drain()()
  world:write("go", "")
  local run = program:wait()
  local expected = ("ready\tnil\ndown\t%s has drained and left\n"):format(fleet.nodes[2].name)
  assert.equal("ready\n" .. expected .. expected, run.out)
  assert.matches('msg="node drained and left"', run.err, 1, true)
  assert.is_nil(run.err:find("node lost", 1, true))
end

describe("fleet.nodes, while nothing runs,", function()
  local kills, freezes, drains
  setup(function()
    kills, freezes = carriers.at_once(kill_one), carriers.at_once(freeze_one)
    drains = carriers.at_once(drain_one)
  end)
  teardown(function()
    for _, each in ipairs({ kills, freezes, drains }) do each:close() end
  end)

  for _, carrier in ipairs(carriers) do
    describe("over " .. carrier.name, function()
      it("says at once that a node was killed, and soon that it is back", function()
        kills:check(carrier)
      end)

      it("says that a frozen node is suspect, then lost, then that it is back", function()
        freezes:check(carrier)
      end)

      if carrier.listens then -- one that the driver has started is started again
        it("says of a node that drained that it has left", function() drains:check(carrier) end)
      end
    end)
  end

  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  describe("when a node has too many sessions", function()
    local node, held
    before_each(function()
      node, held = world:node({ workers = 1, flags = { "--lease", "120" } }), {}
      for i = 1, 256 do
        held[i] = frames.connect(node.port)
        assert.equal("opened", held[i]:open("held" .. i)[1])
      end
    end)
    after_each(function()
      for _, peer in ipairs(held) do peer:close() end
    end)

    -- Waits until the run says why it waits, which is long before its end.
    local function says_why(run)
      e2e.wait_until("the reason", function()
        return run:err():find("node accepts no more drivers for now", 1, true)
      end)
      assert.is_nil(run:err():find("no node can be used", 1, true))
    end

    it("says so, and calls and commands end with the reason", function()
      assert.equal("soon " .. node.name .. "=full,rtt", asking({
        world = world,
        program = function(_, words) return world:program({
          words[1], "--peers", node.address, table.unpack(words, 2),
        }) end,
      })())
      local why = "no node can be used: " .. node.name .. ": too many sessions on this node"
      local before = socket.gettime()
      local run = world:run({ "eval", "--peers", node.address, "--dead-after", "2", "return 1" })
      assert.same({ 3, "" }, { run.code, run.out })
      assert.matches(why, run.err, 1, true)
      assert.is_true(socket.gettime() - before < 14) -- without the flag: 15 s
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
      says_why(run)
      local ended = run:wait()
      assert.equal(3, ended.code, ended.err)
      assert.matches("no node can be used: .*too many sessions on this node", ended.err)
    end)

    it("has a run begin as soon as there is room", function()
      local run = world:program({ "run", "--peers", node.address,
        world:write("job.lua", "return { map = function(x) return x end }"), "--items", "a" })
      says_why(run)
      assert.equal("ended", held[1]:ask("end", held[1].key)[1])
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
local parallel, sys = require("fleet.base.parallel"), require("host.sys")
local LIMIT = 4
local four = fleet.with({ timeout = LIMIT })
local function all() return four.multicall(function() return 1 end) end
local function timed(what, f)
  local before = sys.now()
  local results, failures = f()
  local took = sys.now() - before
  print(what, took < LIMIT + 4 and "in time" or took, results and results[arg[1]],
    failures and failures[arg[2]] and failures[arg[2]].kind)
end
timed("first", all)
parallel.each({
  { "multicall", all },
  { "rpc", function() return rpc.multicall(nil, function() return 1 end, {}, LIMIT) end },
  { "named", function()
    return rpc.multicall({ arg[1], arg[2] }, function() return 1 end, {}, LIMIT)
  end },
  { "everywhere", function() four.everywhere(function() return 1 end) end },
  { "in a task", function()
    return table.unpack(fleet.call(arg[1], function()
      return { require("fleet").with({ timeout = 3.9 }).multicall(function() return 1 end) }
    end))
  end },
}, function(case) timed(case[1], case[2]) end)
]==])
      -- what came of each call, by its name
      local function outcomes(run)
        local found, count = {}, 0
        for line in run.out:gmatch("[^\n]+") do
          local name, rest = line:match("^([%a ]+)\tin time\t(.*)$")
          assert.is_truthy(name, line)
          found[name], count = rest, count + 1
        end
        assert.equal(6, count, run.err)
        return found
      end
      nodes[2]:kill("STOP")
      local run = world:run({ "run", "--peers", peers, script, well, frozen })
      local found = outcomes(run)
      -- it has never answered
      assert.equal("1\tnil", found.first, run.err)
      assert.equal("1\tconnect", found.named)
      run = world:run({ "eval", "--all", "--timeout", "4", "--peers", peers, "return 1" })
      assert.equal(1, run.code)
      assert.equal(well .. ": 1\n", run.out)
      nodes[2]:kill("CONT")
      run = world:run({ "run", "--peers", peers, world:write("later.lua", [[
local fleet = require("fleet")
fleet.multicall(function() return 1 end)
os.execute("kill -STOP " .. arg[3])
]] .. e2e.read(script):gsub("^local fleet, rpc =[^\n]*\n", "local rpc = require('fleet.rpc')\n")),
        well, frozen, nodes[2].pid })
      for name, rest in pairs(outcomes(run)) do
        if name ~= "everywhere" then assert.matches("^1\t%a+$", rest) end
      end
    end)
  end)
end)
