-- SPDX-License-Identifier: MIT
local window = require("fleet.scheduler.window")

local OK, FAILED = window.OK, window.FAILED

describe("fleet.scheduler.window", function()
  it("admits what fits and no more, though the ring is larger", function()
    local w = window.new(5, true)
    for id = 1, 5 do assert.equal(id, window.admit(w, "item")) end
    assert.is_nil(window.admit(w, "item"))
    window.resolve(w, 1, OK, nil, 0)
    window.pop(w)
    assert.equal(6, window.admit(w, "item"))
    assert.is_nil(window.admit(w, "item"))
  end)

  it("works with a single slot", function()
    local w = window.new(1, true)
    for id = 1, 3 do
      assert.equal(id, window.admit(w, "item"))
      assert.is_nil(window.admit(w, "item"))
      assert.is_nil(window.pop(w))
      window.resolve(w, id, OK, id, 0)
      assert.equal(id, window.pop(w))
    end
  end)

  it("never shows a value of the item that had the slot before", function()
    local w = window.new(2, true)
    for id = 1, 2 do
      window.admit(w, id)
      window.resolve(w, id, OK, "value", 7)
    end
    assert.equal(14, w.buffered)
    for _ = 1, 2 do assert.equal("value", (select(4, window.pop(w)))) end
    assert.equal(0, w.buffered)
    window.admit(w, 3)
    window.resolve(w, 3, FAILED, nil, 0)
    assert.same({ n = 4, 3, 3, false, nil }, table.pack(window.pop(w)))
  end)

  it("finds the batch of an item, not of another one in its slot", function()
    local w = window.new(4, true)
    for id = 1, 4 do window.admit(w, id) end
    local batch = { worker_id = "w", attempt = 1, first = 2, last = 3 }
    w.state[2], w.state[3] = batch, batch
    assert.equal(batch, window.find(w, "w", 3, 1))
    for _, other in ipairs({ { "w", 1, 1 }, { "w", 6, 1 }, { "w", -2, 1 }, { "w", 2, 2 },
      { "x", 2, 1 }, { "w", 5, 1 } }) do
      assert.is_nil(window.find(w, table.unpack(other)))
    end
  end)

  it("finds both of two duplicates", function()
    local w = window.new(4, true)
    for id = 1, 4 do window.admit(w, id) end
    local older = { worker_id = "w", attempt = 1, first = 2, last = 2 }
    local newer = { worker_id = "x", attempt = 2, first = 2, last = 2, duplicate = older }
    older.duplicate = newer
    w.state[2] = older
    assert.equal(older, window.find(w, "w", 2, 1))
    assert.equal(newer, window.find(w, "x", 2, 2))
    for _, other in ipairs({ { "x", 2, 1 }, { "w", 2, 2 }, { "x", 6, 2 } }) do
      assert.is_nil(window.find(w, table.unpack(other)))
    end
  end)

  it("passes over what was dropped, at once or in its turn", function()
    for _, ordered in ipairs({ true, false }) do
      local w = window.new(8, ordered)
      for id = 1, 6 do window.admit(w, id) end
      window.drop(w, 1, 2)
      assert.equal(3, w.oldest)
      window.drop(w, 4, 5)
      assert.equal(3, w.oldest)
      window.resolve(w, 3, OK, "third", 0)
      assert.equal(3, window.pop(w))
      assert.equal(6, w.oldest)
      window.drop(w, 6, 6)
      assert.is_nil(window.pop(w))
      assert.equal(7, w.oldest)
      assert.equal(5, w.dropped)
    end
  end)
end)
