-- SPDX-License-Identifier: MIT
local heap = require("fleet.scheduler.heap")

describe("fleet.scheduler.heap", function()
  it("gives the least first, whatever is pushed and removed in between", function()
    math.randomseed(11)
    local h, sorted = heap.new("due"), {}
    for _ = 1, 2000 do
      if math.random() < 0.6 or #sorted == 0 then
        local entry = { due = math.random(300) }
        h:push(entry)
        sorted[#sorted + 1] = entry
      elseif math.random() < 0.5 then
        local least = h:remove(1)
        for i, entry in ipairs(sorted) do
          assert.is_true(entry.due >= least.due)
          if entry == least then table.remove(sorted, i) break end
        end
      else
        local any = h[math.random(#h)]
        for i = #h, 1, -1 do
          if h[i] == any then assert.equal(any, h:remove(i)) break end
        end
        for i, entry in ipairs(sorted) do
          if entry == any then table.remove(sorted, i) break end
        end
      end
      assert.equal(#sorted, #h)
    end
    table.sort(sorted, function(a, b) return a.due < b.due end)
    for _, entry in ipairs(sorted) do assert.equal(entry.due, h:remove(1).due) end
    assert.same(heap.new("due"), h)
  end)

  it("is ordered by the given field", function()
    local h = heap.new("first")
    h:push({ first = 2, due = 1 })
    h:push({ first = 1, due = 2 })
    assert.equal(1, h[1].first)
  end)

  it("has nothing to remove when it is empty", function()
    local h = heap.new("due")
    assert.is_nil(h:remove(1))
    assert.is_nil(h[1])
  end)
end)
