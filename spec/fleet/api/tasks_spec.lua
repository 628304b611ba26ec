-- SPDX-License-Identifier: MIT
-- What tasks know of themselves, and how they wait.

local fleet = require("fleet")
local task = require("host.task")

require("spec.support.library")(setup, teardown)

describe("fleet.sleep", function()
  it("lets other tasks run meanwhile", function()
    local done = false
    task.spawn(function() done = true end)
    assert.equal(0, select("#", fleet.sleep(0)))
    assert.is_true(done)
  end)

  it("wakes in the order of the times asked for", function()
    local order, left, over = {}, 3, task.event()
    for _, seconds in ipairs({ 0.03, 0.001, 0.015 }) do
      task.spawn(function()
        fleet.sleep(seconds)
        order[#order + 1] = seconds
        left = left - 1
        if left == 0 then over:notify() end
      end)
    end
    over:wait()
    assert.same({ 0.001, 0.015, 0.03 }, order)
  end)

  it("raises on what is no time", function()
    for _, seconds in ipairs({ -1, -0.001, 0 / 0, "soon", {}, false }) do
      assert.has_error(function() fleet.sleep(seconds) end)
    end
    assert.has_error(function() fleet.sleep() end)
  end)

  it("raises where waiting is impossible, and says where that is", function()
    local ok, message = pcall(table.sort, { 2, 1 }, function(a, b) fleet.sleep(0) return a < b end)
    assert.is_false(ok)
    assert.matches("cannot wait here: not inside a table.sort comparator", message, 1, true)
  end)
end)

describe("fleet.self and fleet.progress", function()
  it("are of tasks", function()
    assert.is_nil(fleet.self())
    assert.has_error(function() fleet.progress(1) end,
      "fleet.progress can only be called inside a task")
    local self = fleet.call(fleet.any, function() return require("fleet").self() end)
    assert.same({ fleet.nodes()[1].name, 1 }, { self.node, self.attempt })
    assert.is_true(self.worker == 1 or self.worker == 2)
  end)
end)
