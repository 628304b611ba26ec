-- SPDX-License-Identifier: MIT
local driving = require("spec.support.driving")
local errors = require("fleet.errors")
local scheduler = require("fleet.scheduler")

local finish, pop_all, range = driving.finish, driving.pop_all, driving.range
local take_all, with = driving.take_all, driving.with

describe("fleet.scheduler", function()
  describe("input", function()
    it("numbers items and hands them out in a batch without copying", function()
      local s = with(3, { w = "a" })
      assert.equal(4, s:push("item 4"))
      local batch = s:next_batch("w")
      assert.same({ 1, 4, 1 }, range(batch))
      local sent = {}
      for i = batch.from, batch.to do sent[#sent + 1] = batch.items[i] end
      assert.same({ "item 1", "item 2", "item 3", "item 4" }, sent)
    end)

    it("admits as many as the window holds", function()
      local s = with(0, { w = "a" }, { window = 3 })
      assert.equal(3, s:room())
      for i = 1, 3 do s:push(i) end
      assert.equal(0, s:room())
      assert.has_error(function() s:push(4) end, "scheduler: no room for another item")
      take_all(s, "w")
      s:result("w", 2, 1, true, 2)
      s:result("w", 3, 1, true, 3)
      assert.is_nil(s:pop())
      assert.equal(0, s:room())
      s:result("w", 1, 1, true, 1)
      assert.equal(3, #pop_all(s))
      assert.equal(3, s:room())
    end)

    it("admits and begins nothing while too much is buffered, but continues", function()
      local s = with(8, { w = "a" }, { buffer_bytes = 100 })
      take_all(s, "w")
      s:result("w", 2, 1, true, "big", 100)
      assert.equal(0, s:room())
      assert.is_nil(s:next_batch("w"))
      s:refused("w", 1, 1, 1)
      assert.same({ 1, 1, 1 }, range(s:next_batch("w")))
      s:result("w", 1, 1, true, "small", 1)
      assert.equal(2, #pop_all(s))
      assert.is_true(s:room() > 0)
      assert.same({ 5, 6, 1 }, range(s:next_batch("w")))
    end)

    it("takes any item but nil, none after the end", function()
      local s = scheduler.new()
      s:push(false)
      assert.has_error(function() s:push(nil) end, "scheduler: an item may not be nil")
      s:close()
      assert.equal(0, s:room())
      assert.has_error(function() s:push(1) end, "scheduler: the input is closed")
      assert.has_error(function() s:push_failed(1, {}) end, "scheduler: the input is closed")
      s:add_worker("w", "a")
      local batch = s:next_batch("w")
      assert.is_false(batch.items[batch.from])
    end)

    it("releases bad input in its turn and never sends it", function()
      local s = scheduler.new()
      s:add_worker("w", "a")
      local err = errors.new({ kind = "input", message = "not JSON" })
      assert.equal(1, s:push_failed("{", err))
      s:push("good")
      s:push_failed("}", err)
      s:push("good too")
      s:close()
      assert.same({ { 1, false, "input" } }, pop_all(s))
      local first, second = s:next_batch("w"), s:next_batch("w")
      assert.same({ 2, 2, 1 }, range(first))
      assert.same({ 4, 4, 1 }, range(second))
      finish(s, "w", second)
      finish(s, "w", first)
      assert.same({ { 2, true, 20 }, { 3, false, "input" }, { 4, true, 40 } }, pop_all(s))
      assert.is_true(s:finished())
      assert.equal(2, s:counts().failed)
      assert.same({ a = { ok = 2, failed = 0 } }, s:node_counts())
    end)

    it("releases results that are known in their turn and never sends their items", function()
      local s = scheduler.new()
      s:add_worker("w", "a")
      assert.equal(1, s:push_done("item 1", true, "known", 7))
      s:push("item 2")
      local err = errors.new({ kind = "raise", message = "known" })
      s:push_done("item 3", false, err)
      s:push_done("item 4", true, nil)
      assert.equal(7, s.buffered)
      assert.same({ n = 4, 1, "item 1", true, "known" }, table.pack(s:pop()))
      assert.is_nil(s:pop())
      local batch = s:next_batch("w")
      assert.same({ 2, 2, 1 }, range(batch))
      assert.is_nil(s:next_batch("w"))
      finish(s, "w", batch)
      assert.equal(2, (s:pop()))
      assert.same({ n = 4, 3, "item 3", false, err }, table.pack(s:pop()))
      assert.same({ n = 4, 4, "item 4", true, nil }, table.pack(s:pop()))
      local counts = s:counts()
      assert.same({ 4, 3, 1, 0 },
        { counts.admitted, counts.resumed, counts.done, counts.failed })
      assert.has_error(function() s:push_done(nil, true, 1) end,
        "scheduler: an item may not be nil")
      s:close()
      assert.has_error(function() s:push_done(1, true, 1) end, "scheduler: the input is closed")
    end)

    it("begins what too many known results wait for", function()
      local s = with(2, { w = "a" }, { buffer_bytes = 100 })
      s:push_done("item 3", true, "big", 100)
      s:push("item 4")
      assert.equal(0, s:room())
      for id = 1, 2 do
        assert.same({ id, id, 1 }, range(s:next_batch("w")))
        assert.is_nil(s:next_batch("w"))
        s:result("w", id, 1, true, id, 1)
        s:pop()
      end
      assert.is_nil(s:next_batch("w"))
      s:pop()
      assert.same({ 4, 4, 1 }, range(s:next_batch("w")))
    end)

    it("is finished at once when it is empty", function()
      local s = scheduler.new()
      assert.is_false(s:finished())
      s:close()
      assert.is_true(s:finished())
      assert.is_nil(s:pop())
    end)

    it("refuses unknown and invalid options", function()
      assert.error_matches(function() scheduler.new({ retrys = 1 }) end, "did you mean 'retries'")
      for name, bad in pairs({ retries = -1, concurrency = 0, batch = "big", window = 1 << 21,
        buffer_bytes = 0, ordered = 1, retry_on = true, backoff = -1, random = 1,
        speculate = 1 }) do
        local message = "option '" .. name .. "' must"
        assert.error_matches(function() scheduler.new({ [name] = bad }) end, message)
      end
      assert.error_matches(function() scheduler.new({ retries = "1" }) end, "'retries' must")
      assert.error_matches(function() scheduler.new({ batch = 1.5 }) end, "'batch' must")
    end)
  end)

  describe("output", function()
    it("is in input order, whatever order results come in", function()
      local s = with(4, { w = "a" })
      local batch = s:next_batch("w")
      for _, id in ipairs({ 3, 1, 4 }) do s:result("w", id, batch.attempt, true, id) end
      assert.same({ { 1, true, 1 } }, pop_all(s))
      s:result("w", 2, 1, true, 2)
      assert.same({ { 2, true, 2 }, { 3, true, 3 }, { 4, true, 4 } }, pop_all(s))
    end)

    it("is in order of completion when asked for", function()
      local s = with(4, { w = "a" }, { ordered = false, window = 4 })
      take_all(s, "w")
      for _, id in ipairs({ 3, 1, 4 }) do s:result("w", id, 1, true, id) end
      assert.same({ { 3, true, 3 }, { 1, true, 1 }, { 4, true, 4 } }, pop_all(s))
      assert.equal(1, s:room())
      s:result("w", 2, 1, true, 2)
      assert.same({ { 2, true, 2 } }, pop_all(s))
      assert.equal(4, s:room())
    end)

    it("tells nil, false and errors apart and gives the item back", function()
      local s = with(3, { w = "a" })
      s:next_batch("w")
      s:result("w", 1, 1, true, nil)
      s:result("w", 2, 1, true, false)
      local err = errors.new({ kind = "raise", message = "own fault" })
      s:result("w", 3, 1, false, err)
      assert.same({ n = 4, 1, "item 1", true, nil }, table.pack(s:pop()))
      assert.same({ n = 4, 2, "item 2", true, false }, table.pack(s:pop()))
      assert.same({ n = 4, 3, "item 3", false, err }, table.pack(s:pop()))
      assert.same({ a = { ok = 2, failed = 1 } }, s:node_counts())
    end)

    it("is reported as it comes, except for items that never were to run", function()
      local told = {}
      local s = with(0, { w = "a", x = "b" }, {
        retries = 0, batch = 2,
        on_resolve = function(item, ok, value)
          told[#told + 1] = { item, ok, ok and value or value.kind }
        end,
      })
      s:push_failed("bad", errors.new({ kind = "input", message = "bad" }))
      s:push_done("known", true, 0)
      for i = 3, 8 do s:push("item " .. i) end
      s:next_batch("w")
      s:next_batch("x")
      s:result("w", 4, 1, true, 44)
      s:result("w", 3, 1, false, errors.new({ kind = "raise", message = "own fault" }))
      s:next_batch("w")
      s:remove_worker("x", { kind = "lost", message = "gone" })
      s:result("x", 5, 1, true, "late")
      s:abort(errors.new({ kind = "cancelled", message = "enough" }))
      assert.same({
        { "item 4", true, 44 }, { "item 3", false, "raise" }, { "item 5", false, "lost" },
        { "item 6", false, "lost" }, { "item 7", false, "cancelled" },
        { "item 8", false, "cancelled" },
      }, told)
      assert.equal(8, #pop_all(s))
    end)

    it("takes each result once, from the worker and attempt that has the item", function()
      local s = with(4, { w = "a", x = "b" }, { window = 4 })
      take_all(s, "w")
      assert.is_false(s:result("x", 1, 1, true))
      assert.is_false(s:result("w", 1, 2, true))
      assert.is_false(s:result("w", 5, 1, true)) -- the slot of item 1
      assert.is_false(s:result("w", 99, 1, true))
      assert.is_true(s:result("w", 1, 1, true, "once"))
      assert.is_false(s:result("w", 1, 1, true, "twice"))
      assert.same({ { 1, true, "once" } }, pop_all(s))
      assert.is_false(s:result("w", 1, 1, true))
      assert.equal(6, s:counts().late)
      assert.equal(3, s:counts().in_flight)
    end)
  end)

  describe("batches", function()
    it("do not exceed the credit, and wait until a quarter of it is free", function()
      local s = with(100, { w = "a" }, { batch = 20 })
      local batches = take_all(s, "w")
      assert.equal(1, #batches)
      assert.same({ 1, 20, 1 }, range(batches[1]))
      for id = 1, 4 do s:result("w", id, 1, true) end
      assert.is_nil(s:next_batch("w"))
      s:result("w", 5, 1, true)
      assert.same({ 21, 25, 1 }, range(s:next_batch("w")))
    end)

    it("go out at once to a starved worker, or when they are the last", function()
      local s = with(24, { w = "a" }, { batch = 20, concurrency = 20 })
      take_all(s, "w")
      s:result("w", 1, 1, true)
      assert.is_nil(s:next_batch("w"))
      s:starved("w", 19)
      assert.same({ 21, 21, 1 }, range(s:next_batch("w")))
      for id = 2, 3 do s:result("w", id, 1, true) end
      assert.is_nil(s:next_batch("w"))
      s:result("w", 4, 1, true)
      assert.same({ 22, 24, 1 }, range(s:next_batch("w")))
    end)

    it("grow as the worker reports cheap tasks, and never pass a fixed size", function()
      local s = with(1000, { w = "a" })
      local sizes = {}
      for i = 1, 5 do
        local batch = s:next_batch("w")
        sizes[i] = batch.count
        finish(s, "w", batch)
        s:report("w", batch.count, 1e-6, 1e-6)
      end
      assert.same({ 4, 8, 16, 32, 64 }, sizes)
      s = with(1000, { w = "a" }, { batch = 10 })
      local batch = s:next_batch("w")
      finish(s, "w", batch)
      s:report("w", 10, 1e-6, 1e-6)
      assert.same({ 10, 10 }, { batch.count, s:next_batch("w").count })
    end)

    it("share the tail among all workers once the input is closed", function()
      local s = with(20, { w = "a", x = "b" }, { batch = 50 })
      s:close()
      local sizes = {}
      for i = 1, 6 do sizes[i] = s:next_batch(i % 2 == 1 and "w" or "x").count end
      assert.same({ 5, 4, 3, 2, 2, 1 }, sizes)
    end)

    it("do not run over the end of the ring", function()
      local s = scheduler.new({ window = 8, batch = 8 })
      s:add_worker("w", "a")
      for i = 1, 5 do s:push(i) end
      finish(s, "w", s:next_batch("w"))
      pop_all(s)
      for i = 6, 12 do s:push(i) end
      local sent = {}
      for _, batch in ipairs(take_all(s, "w")) do
        for i = batch.from, batch.to do sent[#sent + 1] = batch.items[i] end
      end
      assert.same({ 6, 7, 8, 9, 10, 11, 12 }, sent)
    end)

    it("are not for unknown workers", function()
      local s = with(3, { w = "a" })
      assert.is_nil(s:next_batch("x"))
      s:report("x", 1, 1, 1)
      s:starved("x", 1)
      assert.is_false(s:remove_worker("x", { kind = "lost", message = "gone" }))
      assert.equal(0, s:refused("x", 1, 1, 1))
      assert.has_error(function() s:add_worker("w", "b") end,
        "scheduler: that worker is already there")
    end)
  end)

  it("takes no more memory for many items than for a window full", function()
    local s = scheduler.new({ window = 1000, batch = 100 })
    s:add_worker("w", "a")
    local function run(n)
      for _ = 1, n do
        for _ = 1, s:room() do s:push(("x"):rep(10)) end
        for batch in function() return s:next_batch("w") end do finish(s, "w", batch) end
        while s:pop() do end
      end
      collectgarbage()
      collectgarbage()
      return collectgarbage("count")
    end
    local before = run(20)
    assert.is_true(run(200) - before < 16)
    assert.equal(220000, s:counts().done)
  end)
end)
