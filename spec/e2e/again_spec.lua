-- SPDX-License-Identifier: MIT
-- Items that run again although nothing was lost: late items, and items that timed out.

local carriers = require("spec.support.carriers")
local e2e = require("spec.support.e2e")

local LATE = [[
local fleet = require("fleet")
local items = {}
for i = 1, 40 do items[i] = i end
local results, failed = fleet.pmap(function(i)
  local fleet, http = require("fleet"), require("fleet.http")
  local times = http.get(%q .. "/count/" .. i).body
  if i == 7 and times == "1" then fleet.sleep(3600) end
  return times .. " " .. fleet.self().node
end, items, { speculate = true })
print(failed, results[7])
for i, result in ipairs(results) do assert(i == 7 or result:find("^1 "), result) end
]]

local SLOW = [[
local fleet = require("fleet")
local asked = {}
local function map(items, options)
  options.timeout = 0.5
  return fleet.pmap(function(item)
    local attempt = require("fleet").self().attempt
    if item == "never" or item == "late" and attempt < 3 then require("fleet").sleep(3600) end
    if item == "stuck" and attempt == 1 then -- which costs the worker
      table.sort({ 1, 2 }, function() while true do end end)
    end
    if item == "raises" then error("no", 0) end
    return attempt
  end, items, options)
end
local items = { "fine", "late", "never", "raises" }
local function show(results)
  for _, r in ipairs(results) do
    print(type(r) == "table" and ("%s %d %s"):format(r.kind, r.attempt, r.applied) or r)
  end
end
local function is_timeout(err)
  asked[err.kind] = (asked[err.kind] or 0) + 1
  return err.kind == "timeout"
end
show(map(items, { backoff = 0.01, retry_on = is_timeout }))
print(asked.raise)
show(map(items, {}))
show(map({ "stuck" }, { retry_on = is_timeout }))
]]

local function speculate(carrier, world)
  local faults = world:fault_server()
  local fleet = carrier.fleet(world, 2, { workers = 1 })
  local run = fleet:run({ "run", world:write("late.lua", LATE:format(faults.url)) })
  assert.equal(0, run.code, run.err)
  local node = run.out:match("^0\t2 (%S+)\n$")
  assert.is_true(node == fleet.nodes[1].name or node == fleet.nodes[2].name, run.out)
  assert.equal(2, faults.counts()["7"])
  if not carrier.listens then return end -- they have ended with their driver
  -- the late attempt does not continue
  e2e.wait_until("nothing to run", function()
    local said = fleet:run({ "nodes", "--json" }).out
    return select(2, said:gsub('"running":0,"queued":0', "")) == 2
  end)
end

local function retry(carrier, world)
  local run = carrier.fleet(world, 1):run({ "run", world:write("slow.lua", SLOW) })
  assert.equal(0, run.code, run.err)
  assert.equal(table.concat({
    "1", "3", "timeout 3 yes", "raise 1 yes", "1",
    "1", "timeout 1 yes", "timeout 1 yes", "raise 1 yes",
    "2", "" }, "\n"), run.out)
end

describe("an item runs again", function()
  local lates, retries
  setup(function()
    lates, retries = carriers.at_once(speculate), carriers.at_once(retry)
  end)
  teardown(function()
    lates:close()
    retries:close()
  end)

  for _, carrier in ipairs(carriers) do
    describe("over " .. carrier.name, function()
      it("elsewhere, when it is late and the map speculates", function() lates:check(carrier) end)

      it("when its time was over and retry_on wants it, as often as it may", function()
        retries:check(carrier)
      end)
    end)
  end
end)
