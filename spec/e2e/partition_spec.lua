-- SPDX-License-Identifier: MIT
-- Nodes that become silent during a map, and return: frozen, or with their cable unplugged. Only
-- tcp has a cable: ipc ends at the machine, and what becomes of descriptors whose launcher cannot
-- pass anything on is in launch_loss_spec.lua.
-- Patient: a silent node is lost after 15 s.

local carriers = require("spec.support.carriers")
local e2e = require("spec.support.e2e")
local netns = require("spec.support.netns")

local TIMES = {
  "--heartbeat", "0.2", "--suspect-after", "1", "--dead-after", "3", "--log-level", "info",
}

local function numbers(from, to)
  local list = {}
  for i = from, to do list[#list + 1] = i end
  return table.concat(list, "\n") .. "\n"
end

local function says(process, what)
  return e2e.wait_until(what, function() return process:err():find(what, 1, true) end)
end

-- Runs a job with `start(words, options)` over the nodes `away`, which is cut off and healed, and
-- `stay`. Calls `during` while `away` is cut off and lost.
local function partition(p)
  local program = p.start({ "run", p.job, "--concurrency", 4, table.unpack(TIMES) },
    { pipe = true, within = p.within })
  local function feed(from, to) program.stdin:write(numbers(from, to)) end
  local function arrived(count)
    e2e.wait_until(count .. " results", function() return program:lines() >= count end)
  end
  feed(1, 1000)
  arrived(200)
  p.cut()
  assert.is_true(program:lines() < 1000)
  says(program, "node does not answer")
  says(program, "node lost")
  arrived(1000)
  if p.during then p.during() end
  p.heal()
  says(program, "node is back")
  -- results from here on come from the returned node only
  p.stay:end_for_good()
  feed(1001, 1300)
  arrived(1300)
  program.stdin:close()
  local run = program:wait()
  assert.equal(0, run.code, run.err)
  local results = e2e.results(run.out)
  assert.equal(1300, #results)
  for i, result in ipairs(results) do
    assert.same({ item = tostring(i), value = i }, result)
  end
  assert.is_true(e2e.share(run, p.away) >= 250)
  return run
end

local COUNTING = [[
local http = require("fleet.http")
return { map = function(item)
  local page, err = http.get("WEB/count/" .. item, { timeout = 600 })
  if not page then return nil, err end
  http.get("WEB/slow/20", { timeout = 600 })
  return tonumber(item)
end }
]]

local SLEEPING = [[
local fleet = require("fleet")
return { map = function(item)
  fleet.sleep(0.02)
  return tonumber(item)
end }
]]

local function freeze(carrier, world)
  local faults = world:fault_server()
  -- the session of a node that listens outlives the silence; the driver must end it
  local fleet = carrier.fleet(world, 2, { workers = 1, flags = { "--lease", 120 } })
  local away = fleet.nodes[1]
  local run = partition({
    start = function(...) return fleet:program(...) end, away = away, stay = fleet.nodes[2],
    job = world:write("job.lua", (COUNTING:gsub("WEB", faults.url))),
    cut = function() away:kill("STOP") end,
    heal = function() -- the driver has started another in place of one that it had started
      if carrier.listens then away:kill("CONT") end
    end,
  })
  local counts, twice = faults.counts(), 0
  for i = 1, 1300 do
    local count = counts[tostring(i)]
    assert.is_true(count == 1 or count == 2, i .. ": " .. count)
    twice = twice + count - 1
  end
  -- its worker was not frozen and did its work; nobody fetched the results
  assert.is_true(twice > 0)
  if not carrier.listens then return end
  local dropped = run.err:match("dropped what was left of the lost session[^\n]*")
  local running, events = dropped:match("running=(%d+)"), dropped:match("events=(%d+)")
  assert.is_true(tonumber(running) + tonumber(events) > 0, dropped)
end

local function answer_late(carrier, world)
  local fleet = carrier.fleet(world, 1, { workers = 1 })
  local program = fleet:program({ "run", world:write("late.lua", [[
local driver = require("fleet.driver")
local fleet = require("fleet")
local function slow(x) fleet.sleep(x == 2 and 4 or 0.3) return x end
local patient, hasty = fleet.with({ timeout = 60 }), fleet.with({ timeout = 1 })
assert(patient.call(fleet.any, slow, 1) == 1)
local f = hasty.send(fleet.any, slow, 2)
io.stdout:write("sent\n") io.stdout:flush()
local value, err = f:wait()
print(value, err.kind, err.applied)
print(patient.call(fleet.any, slow, 3))
for session in pairs(driver.get().cluster.sessions) do print(session.late) end
]]) })
  e2e.wait_until("the call", function() return program:lines() == 1 end)
  fleet.nodes[1]:kill("STOP")
  e2e.wait_until("its end", function() return program:lines() == 2 end)
  fleet.nodes[1]:kill("CONT")
  local run = program:wait()
  assert.equal(0, run.code, run.err)
  assert.same({ "sent", "nil\ttimeout\tunknown", "3", "1" }, e2e.lines(run.out))
end

describe("a node that falls silent", function()
  local freezes, lates
  setup(function()
    freezes, lates = carriers.at_once(freeze), carriers.at_once(answer_late)
  end)
  teardown(function()
    freezes:close()
    lates:close()
  end)

  for _, carrier in ipairs(carriers) do
    describe("over " .. carrier.name, function()
      it("frozen, is given up, its work done elsewhere, and used again", function()
        freezes:check(carrier)
      end)

      it("answers late, which is counted and nothing else", function() lates:check(carrier) end)
    end)
  end

  it("cut off without a word, is given up, its work done elsewhere, and used again", function()
    local world = e2e.new()
    finally(function() world:close() end)
    local net, why = netns.new(world)
    if not net then return pending(why) end
    local away = world:node({
      workers = 1, url = net.far.address .. ":5440", within = net.far.within,
      flags = { "--lease", 1 },
    })
    local stay = world:node({ workers = 1, url = "127.1.0.1:5440", within = net.near.within })
    function stay.end_for_good() stay:kill("KILL") end
    partition({
      start = function(words, options)
        table.insert(words, "--peers")
        table.insert(words, away.address .. "," .. stay.address)
        return world:program(words, options)
      end,
      job = world:write("job.lua", SLEEPING), away = away, stay = stay, within = net.near.within,
      cut = net.cut, heal = net.heal,
      during = function() -- the node has noticed, too, and stopped its tasks
        says(away, "session expired: its driver is silent")
      end,
    })
  end)
end)
