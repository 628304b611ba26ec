-- SPDX-License-Identifier: MIT
-- Maps over connections that break anywhere or are slow (docs/faults.md): each item runs once, and
-- each result arrives in its place.
-- Patient: a node that could not be connected to is tried again after a while.

local e2e = require("spec.support.e2e")

local COUNT = 2000

-- With it the first 16 events of a process are without faults of 3 %: a node that cannot be
-- connected to at the beginning is not used.
local SEED = 8

-- No node is considered lost because of breaks.
local TIMES = { "--heartbeat", "0.2", "--suspect-after", "0.5", "--dead-after", "60" }

describe("a map of 2,000 items", function()
  local world, faults
  before_each(function()
    world = e2e.new()
    faults = world:fault_server()
  end)
  after_each(function() world:close() end)

  -- Runs the job over two nodes and checks that the result is complete; returns the number of side
  -- effects of each item, the first node, and how often connections were made again.
  local function run(at_driver, at_node, retries)
    local env = at_node and { "MOONFLEET_FAULT=" .. at_node, "MOONFLEET_FAULT_SEED=" .. SEED }
    local broken = world:node({ env = env })
    local peers = broken.address .. "," .. world:node({ env = retries == 0 and env }).address
    local items = {}
    for i = 1, COUNT do items[i] = i end
    local job = world:write("count.lua", ([[
local http = require("fleet.http")
return { map = function(item)
  local page, err = http.get(%q .. "/count/" .. item, { timeout = 600 })
  if not page then return nil, err end
  return tonumber(item)
end }
]]):format(faults.url))
    local done = world:run({
      "run", job, world:items(items), "--peers", peers, "--retries", retries, "--batch", 5,
      "--log-level", "info", table.unpack(TIMES),
    }, {
      env = at_driver and { "MOONFLEET_FAULT=" .. at_driver, "MOONFLEET_FAULT_SEED=" .. SEED },
    })
    assert.equal(0, done.code, done.err)
    local results = e2e.results(done.out)
    assert.equal(COUNT, #results)
    for i, result in ipairs(results) do
      assert.same({ item = tostring(i), value = i }, result)
    end
    return faults.counts(), broken, select(2, done.err:gsub("node answers again", ""))
  end

  local function check_once(counts)
    for i = 1, COUNT do assert.equal(1, counts[tostring(i)]) end
  end

  for what, fault in pairs({
    ["breaks when the driver sends"] = { "send:break%3" },
    ["breaks when a node sends"] = { nil, "send:break%3" },
    ["breaks when the driver receives"] = { "receive:break%3" },
    ["breaks when a node receives"] = { nil, "receive:break%3" },
    ["cuts frames of the driver"] = { "send:truncate%3" },
    ["cuts frames of the nodes"] = { nil, "send:truncate%3" },
    ["is slow"] = { "send:delay=100%10", "send:delay=100%10" },
    ["does all of that"] = { "send:break%1,send:truncate%1,receive:break%1,send:delay=100%3",
      "send:break%1,send:truncate%1,receive:break%1,send:delay=100%3" },
  }) do
    it("runs each item once when the network " .. what, function()
      local counts, _, mended = run(fault[1], fault[2], 0)
      check_once(counts)
      if what ~= "is slow" then assert.is_true(mended > 0, "no connection broke") end
    end)
  end

  it("is complete when a node dies as it sends", function()
    local counts, broken = run(nil, "send:die@8", 2)
    assert.equal(9, broken:wait().signal)
    for i = 1, COUNT do
      local count = counts[tostring(i)]
      assert.is_true(count == 1 or count == 2, i .. ": " .. count)
    end
  end)
end)
