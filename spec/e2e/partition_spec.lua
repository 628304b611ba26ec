-- SPDX-License-Identifier: MIT
-- Nodes that become silent during a map, and return: frozen, or with their cable unplugged.
-- Patient: a silent node is lost after 15 s.

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

describe("a node that falls silent", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  -- Runs a job over `away`, which is cut off and healed, and `stay`. Calls `during` while `away` is
  -- cut off and lost.
  local function partition(job, away, stay, cut, heal, within, during)
    local program = world:program({
      "run", world:write("job.lua", job), "--concurrency", 4,
      "--peers", away.address .. "," .. stay.address, table.unpack(TIMES),
    }, { pipe = true, within = within })
    local function feed(from, to) program.stdin:write(numbers(from, to)) end
    local function arrived(count)
      e2e.wait_until(count .. " results", function() return program:lines() >= count end)
    end
    feed(1, 1000)
    arrived(200)
    cut()
    assert.is_true(program:lines() < 1000)
    says(program, "node does not answer")
    says(program, "node lost")
    arrived(1000)
    if during then during() end
    heal()
    says(program, "node is back")
    -- results from here on come from the returned node only
    stay:kill("KILL")
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
    assert.is_true(e2e.share(run, away) >= 250)
    return run
  end

  it("frozen, is given up, its work done elsewhere, and used again", function()
    local faults = world:fault_server()
    -- its session outlives the silence; the driver must end it
    local away = world:node({ workers = 1, flags = { "--lease", 120 } })
    local run = partition(([[
local http = require("fleet.http")
return { map = function(item)
  local page, err = http.get(%q .. "/count/" .. item, { timeout = 600 })
  if not page then return nil, err end
  http.get(%q .. "/slow/20", { timeout = 600 })
  return tonumber(item)
end }
]]):format(faults.url, faults.url), away, world:node({ workers = 1 }),
      function() away:kill("STOP") end, function() away:kill("CONT") end)
    local counts, twice = faults.counts(), 0
    for i = 1, 1300 do
      local count = counts[tostring(i)]
      assert.is_true(count == 1 or count == 2, i .. ": " .. count)
      twice = twice + count - 1
    end
    -- its worker was not frozen and did its work; nobody fetched the results
    assert.is_true(twice > 0)
    local dropped = run.err:match("dropped what was left of the lost session[^\n]*")
    local running, events = dropped:match("running=(%d+)"), dropped:match("events=(%d+)")
    assert.is_true(tonumber(running) + tonumber(events) > 0, dropped)
  end)

  it("cut off without a word, is given up, its work done elsewhere, and used again", function()
    local net, why = netns.new(world)
    if not net then return pending(why) end
    local away = world:node({
      workers = 1, url = net.far.address .. ":5440", within = net.far.within,
      flags = { "--lease", 1 },
    })
    local stay = world:node({ workers = 1, url = "127.1.0.1:5440", within = net.near.within })
    partition([[
local fleet = require("fleet")
return { map = function(item)
  fleet.sleep(0.02)
  return tonumber(item)
end }
]], away, stay, net.cut, net.heal, net.near.within, function()
      -- the node has noticed, too, and stopped its tasks
      says(away, "session expired: its driver is silent")
    end)
  end)

  it("answers late, which is counted and nothing else", function()
    local node = world:node({ workers = 1 })
    local program = world:program({ "run", "--peers", node.address, world:write("late.lua", [[
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
    node:kill("STOP")
    e2e.wait_until("its end", function() return program:lines() == 2 end)
    node:kill("CONT")
    local run = program:wait()
    assert.equal(0, run.code, run.err)
    assert.same({ "sent", "nil\ttimeout\tunknown", "3", "1" }, e2e.lines(run.out))
  end)
end)
