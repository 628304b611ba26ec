-- SPDX-License-Identifier: MIT
-- Items that do not end by themselves, and one that takes long, with the whole program.
-- Patient: waits for items that end by their time limit only.

local e2e = require("spec.support.e2e")
local loops = require("spec.support.loops")

local ERRORS = { timeout = "timeout", killed = "timeout", memory = "memory", raise = "raise" }

describe("a map", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  -- Runs the loops that `wanted` selects, each beside 20 items that succeed.
  local function run_loops(wanted, ...)
    local nodes, peers = world:nodes(2, { flags = { "--worker-memory", "256M" } })
    local items = {}
    for _, loop in ipairs(loops) do
      if wanted(loop) then
        items[#items + 1] = loop.name
        for i = 1, 20 do items[#items + 1] = loop.name .. " " .. i end
      end
    end
    local run = world:run({
      "run", world:write("loops.lua", loops.job), world:items(items), "--peers", peers, ...,
    })
    assert.equal(1, run.code, run.err)
    local results = e2e.results(run.out)
    assert.equal(#items, #results)
    local by_item = {}
    for i, result in ipairs(results) do
      assert.equal(items[i], result.item)
      by_item[result.item] = result
    end
    for _, loop in ipairs(loops) do
      local result = by_item[loop.name]
      if result then
        assert.equal(ERRORS[loop.ends], result.error and result.error.kind, loop.name)
        assert.equal("yes", result.error.applied, loop.name)
      end
      for i = 1, wanted(loop) and 20 or 0 do
        local name = loop.name .. " " .. i
        assert.equal(name, by_item[name].value)
      end
    end
    for _, node in ipairs(nodes) do assert.is_true(node:alive()) end
  end

  it("lets the closers of a task that ran out of time use coroutines", function()
    local node = world:node({ workers = 1 })
    local run = world:run({ "run", "--peers", node.address, world:write("closers.lua", [[
local fleet = require("fleet")
fleet.call(fleet.any, function() end) -- connects, which takes a time of its own
local _, err = fleet.with({ timeout = 0.3 }).call(fleet.any, function()
  local _ <close> = setmetatable({}, { __close = function()
    sum = 0
    for i in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) do
      sum = sum + i
    end
  end })
  fleet.sleep(60)
end)
print(err.kind, fleet.call(fleet.any, function() return sum end))
]]) })
    assert.equal("timeout\t6\n", run.out, run.err)
  end)

  it("ends items that loop, with their error, and does all others", function()
    run_loops(function(loop) return loop.ends ~= "memory" end, "--timeout", 1)
  end)

  it("ends items that eat memory, with their error, and does all others", function()
    run_loops(function(loop) return loop.ends == "memory" end, "--timeout", 60)
  end)

  it("runs an item once that takes longer than the lease", function()
    local faults = world:fault_server()
    local _, peers = world:nodes(2, { workers = 1, flags = { "--lease", 5 } })
    local job = world:write("long.lua", ([[
local fleet, http = require("fleet"), require("fleet.http")
return { map = function(item)
  http.get(%q .. "/count/" .. item)
  fleet.sleep(12)
  return item
end }
]]):format(faults.url))
    local run = world:run({
      "run", "--items", job, "long", "--peers", peers, "--heartbeat", 0.1,
    })
    assert.equal(0, run.code, run.err)
    assert.same({ { item = "long", value = "long" } }, e2e.results(run.out))
    assert.same({ long = 1 }, faults.counts())
  end)
end)
