-- SPDX-License-Identifier: MIT
-- Maps over connections that lose, delay, duplicate and truncate messages (docs/faults.md): each
-- item runs once, and each result arrives in its place.
-- Patient: lost messages are sent again after seconds.

local e2e = require("spec.support.e2e")

local COUNT = 2000

-- Short, so that lost messages are soon sent again. No node is considered lost because of it.
local TIMES = { "--heartbeat", "0.2", "--suspect-after", "0.5", "--dead-after", "60",
  "--reply-after", "0.3" }

describe("a map of 2,000 items", function()
  local world, faults
  before_each(function()
    world = e2e.new()
    faults = world:fault_server()
  end)
  after_each(function() world:close() end)

  -- Runs the job over two nodes and checks that the result is complete; returns the number of side
  -- effects of each item.
  local function run(at_driver, at_node, retries)
    local env = at_node and { "MOONFLEET_FAULT=" .. at_node, "MOONFLEET_FAULT_SEED=7" }
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
      table.unpack(TIMES),
    }, { env = at_driver and { "MOONFLEET_FAULT=" .. at_driver, "MOONFLEET_FAULT_SEED=7" } })
    assert.equal(0, done.code, done.err)
    local results = e2e.results(done.out)
    assert.equal(COUNT, #results)
    for i, result in ipairs(results) do
      assert.same({ item = tostring(i), value = i }, result)
    end
    return faults.counts(), broken
  end

  local function check_once(counts)
    for i = 1, COUNT do assert.equal(1, counts[tostring(i)]) end
  end

  for what, fault in pairs({
    ["loses requests"] = { "request:drop%10" },
    ["loses replies"] = { nil, "reply:drop%10" },
    ["is slow"] = { "request:delay=400%10", "reply:delay=400%10" },
    ["doubles requests"] = { "request:duplicate%30" },
    -- only once the nodes are connected: a node that cannot be connected to is not used
    ["cuts requests"] = { "request:truncate@7,request:truncate@8,request:truncate@30,"
      .. "request:truncate@31,request:truncate@90,request:truncate@91,request:truncate@92" },
    ["cuts replies"] = { nil, "reply:truncate@7,reply:truncate@8,reply:truncate@30,"
      .. "reply:truncate@31,reply:truncate@50,reply:truncate@51,reply:truncate@52" },
    ["does all of that"] = { "request:drop%3,request:delay=400%3,request:duplicate%3",
      "reply:drop%3,reply:delay=400%3" },
  }) do
    it("runs each item once when the network " .. what, function()
      check_once((run(fault[1], fault[2], 0)))
    end)
  end

  it("is complete when a node dies amid replies", function()
    local counts, broken = run(nil, "reply:die@20", 2) -- a busy machine may send few more
    assert.equal(9, broken:wait().signal)
    for i = 1, COUNT do
      local count = counts[tostring(i)]
      assert.is_true(count == 1 or count == 2, i .. ": " .. count)
    end
  end)
end)
