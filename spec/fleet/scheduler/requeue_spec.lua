-- SPDX-License-Identifier: MIT
local requeue = require("fleet.scheduler.requeue")

local function range(first, last, avoid)
  return { first = first, last = last, attempt = 2, avoid = avoid }
end

describe("fleet.scheduler.requeue", function()
  it("hands out ranges oldest first, whatever the order they came in", function()
    math.randomseed(7)
    local firsts = {}
    for i = 1, 500 do firsts[i] = i * 10 end
    for i = #firsts, 2, -1 do
      local j = math.random(i)
      firsts[i], firsts[j] = firsts[j], firsts[i]
    end
    local list = requeue.new()
    for _, first in ipairs(firsts) do
      list:add(range(first, first + math.random(9) - 1, "n" .. math.random(3)))
    end
    local before = 0
    while list.size > 0 do
      local oldest = list:oldest("other", false)
      assert.is_true(oldest.first > before)
      before = oldest.first
      list:take(oldest, math.min(2, oldest.last - oldest.first + 1))
    end
    assert.is_nil(list:oldest("other", false))
    assert.same(requeue.new(), list)
  end)

  it("keeps a range from its node, unless all workers are there", function()
    local list = requeue.new()
    list:add(range(1, 3, "a"))
    list:add(range(7, 8, "b"))
    list:add(range(9, 9, nil))
    assert.equal(7, list:oldest("a", false).first)
    assert.equal(1, list:oldest("b", false).first)
    assert.equal(1, list:oldest("a", true).first)
    list:take(list:oldest("a", false), 2)
    assert.equal(9, list:oldest("a", false).first)
  end)

  it("leaves the rest of a range in its place", function()
    local list = requeue.new()
    list:add(range(1, 5, "a"))
    list:add(range(6, 6, "a"))
    list:take(list:oldest("b", false), 2)
    assert.equal(3, list:oldest("b", false).first)
    assert.equal(4, list.size)
  end)

  it("drains", function()
    local list = requeue.new()
    local ranges = { range(1, 1, "a"), range(4, 6, "b"), range(2, 3, "a") }
    for _, r in ipairs(ranges) do list:add(r) end
    local drained = list:drain()
    table.sort(drained, function(a, b) return a.first < b.first end)
    assert.same({ ranges[1], ranges[3], ranges[2] }, drained)
    assert.same(requeue.new(), list)
  end)
end)
