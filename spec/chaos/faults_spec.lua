-- SPDX-License-Identifier: MIT
-- The schedule of a seed.

local faults = require("spec.chaos.faults")

local function first(seed, n)
  local list, next_event = {}, faults.schedule(seed)
  for i = 1, n do list[i] = next_event() end
  return list
end

describe("the schedule of a seed", function()
  it("is the same each time, and another for another seed", function()
    assert.same(first(5, 100), first(5, 100))
    assert.are_not.same(first(5, 3), first(6, 3))
    assert.are_not.same(first(0, 3), first(2147483647, 3))
  end)

  it("has all kinds of events, in their shares, for all nodes and workers", function()
    local counts, nodes, workers = {}, {}, {}
    for _, event in ipairs(first(1, 5000)) do
      counts[event.what] = (counts[event.what] or 0) + 1
      nodes[event.node], workers[event.worker] = true, true
      assert.is_true(event.after >= 0.3 and event.after <= 2)
    end
    assert.same({ { true, true, true }, { true, true } }, { nodes, workers })
    assert.is_true(math.abs(counts.worker_killed / 5000 - 0.45) < 0.05)
    for _, what in ipairs({ "worker_stopped", "node_killed", "node_stopped", "node_frozen",
      "node_drained" }) do
      assert.is_true(counts[what] > 100, what)
    end
  end)
end)
