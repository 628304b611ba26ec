-- SPDX-License-Identifier: MIT
-- Workers and nodes that die, leave, freeze and return during a map, whatever carries the session.

local carriers = require("spec.support.carriers")
local e2e = require("spec.support.e2e")
local jobs = require("spec.support.jobs")
local sys = require("host.sys")

local ITEMS = 4000

-- About a fifth of a millisecond for each item, on each pair of cores.
local ROUNDS = e2e.sanitized and 12000 or 20000
local BUSY = jobs.busy(ROUNDS)
local BUSY_FOR_ALL_CORES = jobs.busy(ROUNDS * math.max(1, sys.cores() // 2))

-- A job that fetches WEB/count/ITEM, and takes a little longer.
local function counting(web)
  return ([[
local fleet, http = require("fleet"), require("fleet.http")
return {
  map = function(item)
    local page, err = http.get(%q .. item, { timeout = 600 })
    if not page then return nil, err end
    fleet.sleep(0.05)
    return tonumber(item)
  end,
}
]]):format(web.url .. "/count/")
end

local function numbers(count)
  local list = {}
  for i = 1, count do list[i] = i end
  return list
end

-- Checks that items and lines are the numbers from 1 on; returns the failed ones.
local function check_complete(run, count)
  local results, failed = e2e.results(run.out), {}
  assert.equal(count, #results, run.err)
  for i, result in ipairs(results) do
    assert.equal(tostring(i), result.item)
    if result.error then
      failed[#failed + 1] = result
    else
      assert.equal(i, result.value)
    end
  end
  return failed
end

-- Waits until the run has made progress, and checks that it has not finished.
local function in_the_middle(program, lines)
  e2e.wait_until("results", function()
    return program:lines() >= lines or not program:alive()
  end)
  assert.is_true(program:alive(), program:err())
end

-- The frozen node is lost after 15 s.
local function freeze(carrier, world)
  local fleet = carrier.fleet(world, 2, { workers = 1 })
  local program = fleet:program({
    "run", world:write("busy.lua", BUSY), world:items(numbers(ITEMS)),
  })
  in_the_middle(program, ITEMS // 10)
  fleet.nodes[1]:kill("STOP")
  local since = sys.time()
  local run = program:wait()
  assert.equal(0, run.code, run.err)
  assert.same({}, check_complete(run, ITEMS))
  -- "time=2026-01-31T12:34:56.789Z ... msg="node lost" ..."
  local hour, minute, second = run.err:match("T(%d+):(%d+):([%d.]+)Z [^\n]*node lost[^\n]*"
    .. fleet.nodes[1].name:gsub("%-", "%%-"))
  local took = hour * 3600 + minute * 60 + second - since % 86400
  -- documented are 15 s, which a busy machine or a sanitizer may exceed
  if not e2e.sanitized then assert.is_true(took % 86400 <= 30, took) end
end

-- The first two items of two workers never end and are stopped from outside.
local function kill_first_ones(carrier, world)
  local fleet = carrier.fleet(world, 1)
  local run = fleet:run({ "run", world:write("behind.lua", [[
local fleet = require("fleet")
local function stuck() return (("a"):rep(40) .. "b"):find(("a*"):rep(20) .. "c") end
-- items: the first one of each worker never ends and is stopped from outside
local results, failed = fleet.pmap(function(i)
  if i <= 2 then return (("a"):rep(40) .. "b"):find(("a*"):rep(20) .. "c") end
  return i
end, function() n = (n or 0) + 1 if n <= 200 then return n end end,
  { retries = 0, timeout = 0.5, batch = 50, concurrency = 1 })
print("map", #results, failed, results[1].kind, results[2].kind, results[3], results[200])
-- calls: one is cancelled, and its worker killed two seconds later
local first = fleet.send(fleet.any, stuck)
fleet.sleep(0.3)
local futures = {}
for i = 1, 10 do futures[i] = fleet.send(fleet.any, function(x) return x end, i) end
first:cancel()
for i = 11, 20 do futures[i] = fleet.send(fleet.any, function(x) return x end, i) end
local right = 0
for i, future in ipairs(futures) do
  if future:wait() == i then right = right + 1 end
end
print("calls", right)
]]) })
  assert.equal(0, run.code, run.err)
  assert.equal("map\t200\t2\ttimeout\ttimeout\t3\t200\ncalls\t20\n", run.out)
end

local function start(fleet, world, ...)
  return fleet:program({
    "run", world:write("busy.lua", fleet.is_private and BUSY_FOR_ALL_CORES or BUSY),
    world:items(numbers(ITEMS)), ...,
  })
end

local function check_all_done(program)
  local run = program:wait()
  assert.equal(0, run.code, run.err)
  assert.same({}, check_complete(run, ITEMS))
  return run
end

describe("a map", function()
  -- What mostly waits begins first, over all carriers at once, and is checked last.
  local freezes, kills
  setup(function()
    freezes, kills = carriers.at_once(freeze), carriers.at_once(kill_first_ones)
  end)
  teardown(function()
    freezes:close()
    kills:close()
  end)

  for _, carrier in ipairs({
    carriers.tcp, carriers.ipc, carriers.descriptors, carriers.private,
  }) do
    describe(("of %d items over %s"):format(ITEMS, carrier.name), function()
      local world
      before_each(function() world = e2e.new() end)
      after_each(function() world:close() end)

      it("survives the death of a worker", function()
        local fleet = carrier.fleet(world, 2)
        local program = start(fleet, world)
        in_the_middle(program, ITEMS // 10)
        local node = fleet.nodes[1]
        local workers = node:children()
        e2e.kill(workers[1], "KILL")
        e2e.wait_until("a new worker in its place", function()
          local now = node:children()
          return #now == #workers and now[1] ~= workers[1]
            or not (carrier.listens or program:alive()) -- the node has ended with its driver
        end)
        local run = check_all_done(program)
        if not fleet.is_private then assert.is_true(e2e.share(run, node) > 0) end
      end)

      it("survives the death of a whole node", function()
        local fleet = carrier.fleet(world, 3, { workers = 1 })
        local program = start(fleet, world)
        in_the_middle(program, ITEMS // 10)
        local node = fleet.nodes[#fleet.nodes]
        local workers = node:children()
        assert.is_true(#workers > 0)
        node:kill("KILL")
        check_all_done(program)
        for _, pid in ipairs(workers) do
          e2e.wait_until("the end of its workers", function() return not e2e.alive(pid) end)
        end
      end)
    end)
  end

  for _, carrier in ipairs(carriers) do
    describe("over " .. carrier.name, function()
      local world
      before_each(function() world = e2e.new() end)
      after_each(function() world:close() end)

      it("loses nothing to a node that drains, and needs no retries for it", function()
        local fleet = carrier.fleet(world, 2, { workers = 1 })
        local program = start(fleet, world, "--retries", 0, "--log-level", "info")
        in_the_middle(program, ITEMS // 10)
        local wait_for_end = fleet.nodes[1]:drain()
        local run = check_all_done(program)
        local name = fleet.nodes[1].name:gsub("%-", "%%-")
        assert.matches("node drained and left[^\n]*" .. name, run.err)
        wait_for_end()
      end)

      it("loses nothing either when the workers get the signals of the node", function()
        local fleet = carrier.fleet(world, 1)
        local program = start(fleet, world, "--retries", 0)
        in_the_middle(program, ITEMS // 10)
        local workers = fleet.nodes[1]:children()
        for _, pid in ipairs(workers) do
          e2e.kill(pid, "TERM")
          e2e.kill(pid, "INT")
        end
        e2e.wait_until("more results", function()
          return program:lines() >= ITEMS // 2 or not program:alive()
        end)
        local now = fleet.nodes[1]:children()
        if carrier.listens or program:alive() then assert.same(workers, now) end
        check_all_done(program)
      end)

      describe("without retries", function()
        local faults, fleet, program

        local function begin()
          faults, fleet = world:fault_server(), carrier.fleet(world, 2)
          program = fleet:program({
            "run", world:write("count.lua", counting(faults)),
            world:items(numbers(3000)), "--retries", 0,
          })
          in_the_middle(program, 300)
        end

        local function check_nothing_twice(kind)
          local run = program:wait()
          assert.equal(1, run.code, run.err)
          local failed = check_complete(run, 3000)
          local lost, counts = {}, faults.counts()
          assert.is_true(#failed > 0)
          for _, result in ipairs(failed) do
            lost[result.item] = true
            assert.equal(kind, result.error.kind)
            assert.equal("unknown", result.error.applied)
            assert.equal(1, result.error.attempt)
            assert.equal(fleet.nodes[1].name, result.error.node)
          end
          for i = 1, 3000 do
            local count = counts[tostring(i)] or 0
            assert.is_true(count == 1 or count == 0 and lost[tostring(i)], i .. ": " .. count)
          end
          return failed
        end

        it("fails the items of a worker that died, and runs none twice", function()
          begin()
          e2e.kill(fleet.nodes[1]:children()[1], "KILL")
          for _, result in ipairs(check_nothing_twice("crash")) do
            assert.equal(9, result.error.signal)
          end
        end)

        it("fails the items of a node that died, and runs none twice", function()
          begin()
          fleet.nodes[1]:kill("KILL")
          check_nothing_twice("lost")
        end)
      end)

      it("fails an item that kills its worker each time, and only that", function()
        local faults, trap = world:fault_server(), world:fault_server()
        local fleet = carrier.fleet(world, 2)
        -- the worker that runs item 50 is the one that talks to the trap
        local job = world:write("killer.lua", ([[
local http = require("fleet.http")
return {
  map = function(item)
    if item == "50" then http.get(%q .. "/silent") end
    http.get(%q .. "/count/" .. item)
    return tonumber(item)
  end,
}
]]):format(trap.url, faults.url))
        local program = fleet:program({ "run", job, world:items(numbers(100)) })
        local killed, count = {}, 0
        e2e.wait_until("the end of the run", function()
          for _, node in ipairs(program:lines() > 0 and fleet.nodes or {}) do
            for _, pid in ipairs(node:children()) do
              if not killed[pid] and e2e.talks_to(pid, trap.port) then
                e2e.kill(pid, "ABRT")
                killed[pid], count = true, count + 1
              end
            end
          end
          return not program:alive()
        end)
        local run = program:wait()
        assert.equal(1, run.code, run.err)
        assert.equal(3, count)
        local failed = check_complete(run, 100)
        assert.equal(1, #failed)
        assert.equal("50", failed[1].item)
        -- poisoned, if its second attempt also happened to run alone on another node
        local kind = failed[1].error.kind
        assert.is_true(kind == "crash" or kind == "poisoned", kind)
        assert.equal(3, failed[1].error.attempt)
        assert.equal("unknown", failed[1].error.applied)
        assert.equal(6, failed[1].error.signal)
      end)

      it("uses a node again that comes back", function()
        local fleet = carrier.fleet(world, 2, { workers = 1 })
        local away, stay = fleet.nodes[1], fleet.nodes[2]
        local program = fleet:program({
          "run", world:write("busy.lua", BUSY), "--log-level", "info",
        }, { pipe = true })
        local function feed(from, to)
          for i = from, to do program.stdin:write(i .. "\n") end
          e2e.wait_until("item " .. to, function() return program:lines() == to end)
        end
        local function says(what)
          e2e.wait_until(what, function() return program:err():find(what, 1, true) end)
        end
        feed(1, 500)
        away:end_for_good()
        says("node lost")
        feed(501, 600)
        away:start_again()
        says("node is back")
        stay:end_for_good()
        feed(601, 1000)
        program.stdin:close()
        local run = program:wait()
        assert.equal(0, run.code, run.err)
        assert.same({}, check_complete(run, 1000))
        assert.is_true(e2e.share(run, away) >= 400)
      end)

      it("runs what had not begun when its worker was killed, though nothing may run twice",
        function() kills:check(carrier) end)

      it("gives up a node that froze, and does its work elsewhere", function()
        freezes:check(carrier)
      end)
    end)
  end
end)
