-- SPDX-License-Identifier: MIT
-- Refusals, lost workers, stop and abort, seen through the scheduler.

local driving = require("spec.support.driving")

local finish, pop_all, range = driving.finish, driving.pop_all, driving.range
local take_all, with = driving.take_all, driving.with

local CRASH = { kind = "crash", message = "worker died", signal = 11 }
local LOST = { kind = "lost", message = "node is gone" }
local DRAINING = { kind = "draining", message = "node leaves" }

describe("fleet.loss", function()
  describe("refusal", function()
    it("puts items in front, the attempt not counted", function()
      local s = with(8, { w = "a", x = "b" })
      s:next_batch("w")
      s:result("w", 2, 1, true)
      assert.equal(2, s:refused("w", 1, 3, 1))
      assert.same({ 1, 1, 1 }, range(s:next_batch("x")))
      assert.same({ 3, 3, 1 }, range(s:next_batch("x")))
      assert.same({ 5, 6, 1 }, range(s:next_batch("x")))
      assert.equal(0, s:refused("w", 1, 3, 1))
      assert.equal(1, s:refused("w", 4, 100, 1))
      assert.same({ 4, 4, 1 }, range(s:next_batch("w")))
      assert.equal(0, s:counts().retried)
    end)

    it("does not use up retries, nor does draining", function()
      local s = with(4, { w = "a" }, { retries = 0 })
      for _ = 1, 3 do
        s:next_batch("w")
        assert.equal(4, s:refused("w", 1, 4, 1))
        s:next_batch("w")
        s:remove_worker("w", DRAINING)
        s:add_worker("w", "a")
      end
      finish(s, "w", s:next_batch("w"))
      assert.equal(4, #pop_all(s))
    end)
  end)

  describe("loss of a node", function()
    it("sends its items to another in ranges, before anything fresh", function()
      local s = with(12, { w = "a", x = "b" })
      s:next_batch("w")
      s:result("w", 2, 1, true)
      s:remove_worker("w", LOST)
      assert.same({ 1, 1, 2 }, range(s:next_batch("x")))
      assert.same({ 3, 4, 2 }, range(s:next_batch("x")))
      assert.same({ 5, 5, 1 }, range(s:next_batch("x")))
      assert.equal(3, s:counts().retried)
      assert.is_false(s:result("w", 3, 1, true))
      assert.is_true(s:result("x", 3, 2, true))
    end)

    it("fails items that have no attempt left, with all that is known", function()
      local s = with(1, { w = "a" }, { retries = 1 })
      s:next_batch("w")
      s:remove_worker("w", LOST)
      s:add_worker("x", "b")
      s:next_batch("x")
      s:remove_worker("x", { kind = "lost", message = "gone", node = "b (10.0.0.2)", signal = 9 })
      local _, _, ok, err = s:pop()
      assert.is_false(ok)
      assert.same({ kind = "lost", message = "gone", node = "b (10.0.0.2)", signal = 9,
        attempt = 2, applied = "unknown" }, err)
      assert.matches("^lost: gone", tostring(err))
      assert.same({ a = { ok = 0, failed = 0 }, b = { ok = 0, failed = 1 } }, s:node_counts())
    end)

    it("never sends an item again without retries", function()
      local s = with(3, { w = "a", x = "b" }, { retries = 0 })
      s:next_batch("w")
      s:remove_worker("w", LOST)
      assert.is_nil(s:next_batch("x"))
      assert.same({ { 1, false, "lost" }, { 2, false, "lost" }, { 3, false, "lost" } }, pop_all(s))
    end)

    it("leaves work idle when there is no worker", function()
      local s = with(3, { w = "a" })
      assert.is_false(s:idle())
      s:next_batch("w")
      s:remove_worker("w", LOST)
      assert.is_true(s:idle())
      assert.is_false(s:finished())
      s:add_worker("x", "a")
      assert.is_false(s:idle())
      assert.same({ 1, 3, 2 }, range(s:next_batch("x")))
    end)
  end)

  describe("draining of a worker", function()
    it("lets it finish but sends it nothing more and counts on it no more", function()
      local s = with(8, { w = "a", x = "b" })
      s:next_batch("w")
      assert.is_true(s:drain_worker("w"))
      assert.is_true(s:drain_worker("w"))
      assert.equal(1, s:counts().workers)
      assert.is_true(s:result("w", 1, 1, true, 1))
      assert.is_nil(s:next_batch("w"))
      assert.same({ 5, 8, 1 }, range(s:next_batch("x")))
      s:remove_worker("x", LOST)
      assert.is_true(s:idle())
      s:remove_worker("w", DRAINING)
      assert.equal(0, s:counts().workers)
      assert.is_false(s:drain_worker("w"))
      s:add_worker("y", "b")
      assert.is_false(s:idle())
    end)

    it("makes nothing wait for it", function()
      local s = with(40, { w = "a", x = "b", y = "a" }, { retries = 1, batch = 10 })
      for _, worker in ipairs({ "x", "y", "w" }) do s:next_batch(worker) end
      for id = 22, 30 do s:result("w", id, 1, true) end
      s:remove_worker("w", CRASH)
      for id = 1, 9 do s:result("x", id, 1, true) end
      assert.is_nil(s:next_batch("x")) -- reserved for item 21
      s:drain_worker("x")
      assert.is_nil(s:next_batch("y")) -- reserved instead, though on the same node
      finish(s, "y", { first = 11, count = 10, attempt = 1 })
      assert.same({ 21, 21, 2 }, range(s:next_batch("y")))
    end)
  end)

  describe("crash of a worker", function()
    it("sends its items one by one", function()
      local s = with(3, { w = "a", x = "b" })
      s:next_batch("w")
      s:remove_worker("w", CRASH)
      local ranges = {}
      for i, batch in ipairs(take_all(s, "x")) do ranges[i] = range(batch) end
      assert.same({ { 1, 1, 2 }, { 2, 2, 2 }, { 3, 3, 2 } }, ranges)
    end)

    it("prefers another node, and waits for none", function()
      local s = with(2, { w = "a", y = "a", x = "b" })
      s:next_batch("w")
      s:remove_worker("w", CRASH)
      assert.is_nil(s:next_batch("y"))
      assert.same({ 1, 1, 2 }, range(s:next_batch("x")))
      s:remove_worker("x", DRAINING)
      assert.same({ 1, 1, 2 }, range(s:next_batch("y")))
      assert.same({ 2, 2, 2 }, range(s:next_batch("y")))
    end)

    it("takes the same node while the others are busy and it is idle", function()
      local s = with(8, { w = "a", y = "a", x = "b", z = "c" })
      s:next_batch("w")
      s:next_batch("x")
      s:remove_worker("w", CRASH)
      assert.is_nil(s:next_batch("y"))
      s:drain_worker("z")
      assert.same({ 1, 1, 2 }, range(s:next_batch("y")))
      assert.is_nil(s:next_batch("y"))
      finish(s, "x", { first = 5, count = 1, attempt = 1 })
      s:result("y", 1, 2, true)
      assert.is_nil(s:next_batch("y"))
      assert.same({ 2, 2, 2 }, range(s:next_batch("x")))
    end)

    it("makes the last attempt on a worker that does nothing else", function()
      local s = with(20, { w = "a" }, { retries = 1 })
      s:next_batch("w")
      s:remove_worker("w", CRASH)
      s:add_worker("x", "b")
      assert.same({ 1, 1, 2 }, range(s:next_batch("x")))
      assert.is_nil(s:next_batch("x"))
      s:hungry("x", 1)
      assert.is_nil(s:next_batch("x"))
      s:result("x", 1, 2, true)
      assert.same({ 2, 2, 2 }, range(s:next_batch("x")))
      assert.is_nil(s:next_batch("x"))
    end)

    it("reserves a busy worker for an item that must be alone", function()
      local s = with(40, { w = "a", x = "b", y = "c" }, { retries = 1, batch = 10 })
      finish(s, "w", s:next_batch("w"))
      pop_all(s)
      s:next_batch("x")
      s:next_batch("w")
      for id = 22, 30 do s:result("w", id, 1, true) end
      s:remove_worker("w", CRASH) -- with item 21 alone
      for id = 11, 19 do s:result("x", id, 1, true) end
      assert.is_nil(s:next_batch("x"))
      assert.same({ 21, 21, 2 }, range(s:next_batch("y"))) -- was free earlier
      assert.same({ 31, 39, 1 }, range(s:next_batch("x"))) -- is not reserved any more
    end)

    it("reserves no more workers than there are such items", function()
      local s = with(40, { w = "a", x = "b", y = "c" }, { retries = 1, batch = 10 })
      for _, worker in ipairs({ "x", "y", "w" }) do s:next_batch(worker) end
      for id = 22, 30 do s:result("w", id, 1, true) end
      s:remove_worker("w", CRASH)
      for id = 1, 9 do s:result("x", id, 1, true) end
      for id = 11, 19 do s:result("y", id, 1, true) end
      assert.is_nil(s:next_batch("x"))
      assert.same({ 31, 39, 1 }, range(s:next_batch("y")))
      s:result("x", 10, 1, true)
      assert.same({ 21, 21, 2 }, range(s:next_batch("x")))
    end)

    it("blames the item that kills and spares those beside it", function()
      local s = with(6, { w = "a" })
      s:close()
      local crashes, killer = 0, 3
      while not s:finished() do
        for _, batch in ipairs(take_all(s, "w")) do
          for id = batch.first, batch.first + batch.count - 1 do
            if id == killer and s:counts().in_flight > 0 then
              crashes = crashes + 1
              s:remove_worker("w", CRASH)
              s:add_worker("w", "a")
            end
            s:result("w", id, batch.attempt, true, id)
          end
        end
        for id, _, ok, value in function() return s:pop() end do
          assert.equal(id ~= killer, ok)
          if not ok then
            assert.equal("crash: worker died (node a, attempt 3, signal 11, applied unknown)",
              tostring(value))
          end
        end
      end
      assert.equal(3, crashes)
    end)

    it("keeps the kind that the node found, say memory", function()
      local s = with(1, { w = "a" }, { retries = 0 })
      s:next_batch("w")
      s:remove_worker("w", { kind = "memory", message = "over 512 MiB" })
      assert.same({ { 1, false, "memory" } }, pop_all(s))
    end)

    it("is remembered when the next attempt is not begun or lost with its node", function()
      local s = with(1, { w = "a" })
      s:next_batch("w")
      s:remove_worker("w", CRASH)
      s:add_worker("w", "a")
      s:next_batch("w")
      s:refused("w", 1, 1, 2)
      assert.same({ 1, 1, 2 }, range(s:next_batch("w")))
      s:remove_worker("w", LOST)
      s:add_worker("w", "a")
      for i = 2, 9 do s:push(i) end
      assert.same({ 1, 1, 3 }, range(s:next_batch("w")))
      assert.is_nil(s:next_batch("w"))
    end)
  end)

  describe("stop", function()
    it("drops what never ran and waits for what runs", function()
      local s = with(10, { w = "a" })
      s:next_batch("w")
      s:result("w", 2, 1, true, 2)
      s:stop()
      assert.equal(0, s:room())
      assert.is_nil(s:next_batch("w"))
      assert.is_false(s:finished())
      for _, id in ipairs({ 1, 3, 4 }) do s:result("w", id, 1, true, id) end
      assert.same({ { 1, true, 1 }, { 2, true, 2 }, { 3, true, 3 }, { 4, true, 4 } }, pop_all(s))
      assert.is_true(s:finished())
      assert.equal(6, s:counts().dropped)
    end)

    it("leaves out what is dropped, with order or without", function()
      for _, ordered in ipairs({ true, false }) do
        local s = with(6, { w = "a" }, { ordered = ordered })
        s:push_failed("bad", { kind = "input", message = "bad" })
        s:next_batch("w")
        s:stop()
        s:refused("w", 2, 2, 1)
        s:result("w", 1, 1, true, 1)
        s:result("w", 4, 1, true, 4)
        local popped = pop_all(s)
        table.sort(popped, function(a, b) return a[1] < b[1] end)
        assert.same({ { 1, true, 1 }, { 4, true, 4 }, { 7, false, "input" } }, popped)
        assert.is_true(s:finished())
      end
    end)

    it("fails what was lost and would have been tried again", function()
      local s = with(4, { w = "a", x = "b" }, { retries = 5 })
      s:next_batch("w")
      s:result("w", 1, 1, true, 1)
      s:remove_worker("w", LOST)
      s:next_batch("x")
      s:refused("x", 2, 1, 2)
      s:stop()
      s:remove_worker("x", DRAINING)
      assert.same({ { 1, true, 1 }, { 2, false, "lost" }, { 3, false, "lost" },
        { 4, false, "lost" } }, pop_all(s))
      assert.is_true(s:finished())
      assert.equal(3, s:node_counts().a.failed)
    end)

    it("fails at once what is lost afterwards", function()
      local s = with(2, { w = "a" })
      s:next_batch("w")
      s:stop()
      s:stop()
      s:remove_worker("w", CRASH)
      assert.same({ { 1, false, "crash" }, { 2, false, "crash" } }, pop_all(s))
      assert.is_true(s:finished())
    end)
  end)

  describe("abort", function()
    it("fails what is in flight and ignores its results", function()
      local s = with(10, { w = "a", x = "b" })
      s:next_batch("w")
      s:next_batch("x")
      s:result("w", 1, 1, true, 1)
      s:abort({ kind = "deadline", message = "60 s are over" })
      assert.equal(0, s:counts().in_flight)
      assert.is_false(s:result("w", 2, 1, true))
      local _, _, _, value = s:pop()
      assert.equal(1, value)
      local _, _, _, err = s:pop()
      assert.same({ kind = "deadline", message = "60 s are over", applied = "unknown", node = "a",
        attempt = 1 }, err)
      local rest = pop_all(s)
      assert.same({ 8, false, "deadline" }, rest[#rest])
      assert.is_true(s:finished())
      assert.equal(2, s:counts().dropped)
    end)
  end)

  it("returns what one event ends in order of the ids", function()
    local s = with(60, { w = "a", x = "b" }, { ordered = false, batch = 1, retries = 0 })
    for _, worker in ipairs({ "w", "x" }) do
      for _ = 1, 15 do
        s:hungry(worker, 64)
        s:next_batch(worker)
      end
    end
    s:remove_worker("w", LOST)
    s:abort({ kind = "cancelled", message = "stop" })
    local popped = pop_all(s)
    assert.equal(30, #popped)
    for i, result in ipairs(popped) do assert.equal(i, result[1]) end
  end)
end)
