-- SPDX-License-Identifier: MIT
-- Stop, abort, expiry and the cancelling of single items, seen through the
-- scheduler.

local driving = require("spec.support.driving")

local finish, pop_all, range = driving.finish, driving.pop_all, driving.range
local take_all, with = driving.take_all, driving.with

local CRASH = { kind = "crash", message = "worker died", signal = 11 }
local LOST = { kind = "lost", message = "node is gone" }
local DRAINING = { kind = "draining", message = "node leaves" }
local DEADLINE = { kind = "deadline", message = "60 s are over" }
local CANCELLED = { kind = "cancelled", message = "by hand" }

-- Everything that can be popped, as {id, kind, applied}.
local function errors_of(s)
  local list = {}
  for id, _, ok, err in function() return s:pop() end do
    list[#list + 1] = ok and { id, "ok" } or { id, err.kind, err.applied }
  end
  return list
end

describe("fleet.scheduler.ending", function()
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

  describe("expiry", function()
    it("gives every item that was admitted its error, once", function()
      local s = with(7, { w = "a", x = "b" }, { batch = 2, retries = 5 })
      s:next_batch("w")
      s:remove_worker("w", LOST)
      s:next_batch("x") -- 1 and 2 again
      s:refused("x", 2, 1, 2)
      assert.same({ 2, 2, 2 }, range(s:next_batch("x")))
      s:refused("x", 2, 1, 2)
      s:add_worker("y", "b")
      s:next_batch("y") -- 2 again
      s:refused("y", 2, 1, 2)
      s:push_failed("bad", { kind = "input", message = "bad" })
      s:expire(DEADLINE)
      s:expire(DEADLINE)
      s:stop()
      s:abort(DEADLINE)
      assert.is_false(s:result("x", 1, 2, true, 1))
      assert.is_nil(s:next_batch("y"))
      assert.same({ { 1, "deadline", "unknown" }, { 2, "lost", "unknown" }, { 3, "deadline", "no" },
        { 4, "deadline", "no" }, { 5, "deadline", "no" }, { 6, "deadline", "no" },
        { 7, "deadline", "no" }, { 8, "input" } }, errors_of(s))
      assert.is_true(s:finished())
      local counts = s:counts()
      assert.same({ 8, 0, 0, 0 },
        { counts.failed, counts.dropped, counts.in_flight, counts.queued })
    end)

    it("gives what waits for its backoff the error that it has", function()
      local s = with(1, { w = "a" }, { retry_on = function() return true end })
      s:next_batch("w")
      local err = { kind = "raise", message = "own fault", applied = "yes", traceback = "t" }
      s:result("w", 1, 1, false, err)
      s:expire(DEADLINE)
      local _, _, ok, value = s:pop()
      assert.is_false(ok)
      assert.same(err, value)
      assert.same({ a = { ok = 0, failed = 1 } }, s:node_counts())
    end)

    it("makes a separate error for each item", function()
      local s = with(2, {})
      s:expire(DEADLINE)
      local _, _, _, first = s:pop()
      local _, _, _, second = s:pop()
      assert.not_equal(first, second)
      assert.not_equal(first, DEADLINE)
      assert.equal("deadline: 60 s are over (applied no)", tostring(second))
    end)
  end)

  describe("cancelling of an item", function()
    it("fails at once what is queued, wherever", function()
      local s = with(9, { w = "a", x = "b" }, { batch = 4, retries = 1 })
      s:next_batch("w")
      s:remove_worker("w", LOST)
      for _, id in ipairs({ 2, 1, 4, 8 }) do assert.is_nil(s:cancel_item(id, CANCELLED)) end
      local sent = {}
      s:starved("x", 64)
      for _, batch in ipairs(take_all(s, "x")) do sent[#sent + 1] = range(batch) end
      assert.same({ { 3, 3, 2 }, { 5, 7, 1 }, { 9, 9, 1 } }, sent)
      assert.same({ { 1, "cancelled", "unknown" }, { 2, "cancelled", "unknown" } }, errors_of(s))
      for id = 5, 7 do s:result("x", id, 1, true, id) end
      s:result("x", 3, 2, true, 3)
      assert.same({ { 3, "ok" }, { 4, "cancelled", "unknown" }, { 5, "ok" }, { 6, "ok" },
        { 7, "ok" }, { 8, "cancelled", "no" } }, errors_of(s))
      assert.equal(4, s:counts().failed)
    end)

    it("takes out what must be isolated, or waits for its backoff", function()
      local s = with(2, { w = "a" }, { retries = 1, batch = 1,
        retry_on = function() return true end })
      take_all(s, "w")
      s:result("w", 2, 1, false, { kind = "raise", message = "own fault", applied = "yes" })
      s:remove_worker("w", CRASH)
      assert.equal(2, s:counts().queued)
      s:cancel_item(1, CANCELLED)
      s:cancel_item(2, CANCELLED)
      s:close()
      assert.is_nil(s:tick(100))
      assert.same({ { 1, "cancelled", "unknown" }, { 2, "cancelled", "yes" } }, errors_of(s))
      assert.is_true(s:finished())
    end)

    it("says whom to tell of one in flight, whose result counts", function()
      local s = with(4, { w = "a" })
      s:next_batch("w")
      assert.same({ "w", 1 }, { s:cancel_item(2, CANCELLED) })
      assert.same({ "w", 1 }, { s:cancel_item(2, CANCELLED) })
      assert.same({ "w", 1 }, { s:cancel_item(3, CANCELLED) })
      assert.equal(4, s:in_flight("w"))
      assert.is_true(s:result("w", 1, 1, true, 10))
      assert.is_true(s:result("w", 2, 1, true, 20))
      assert.is_true(s:result("w", 3, 1, false, { kind = "cancelled", message = "stopped" }))
      assert.is_true(s:result("w", 4, 1, true, 40))
      assert.same({ { 1, true, 10 }, { 2, true, 20 }, { 3, false, "cancelled" }, { 4, true, 40 } },
        pop_all(s))
      assert.is_nil(s:cancel_item(4, CANCELLED))
    end)

    it("keeps one in flight from being tried again", function()
      local s = with(6, { w = "a" }, { batch = 6, retry_on = function() return true end })
      s:next_batch("w")
      for id = 1, 4 do s:cancel_item(id, CANCELLED) end
      s:refused("w", 1, 1, 1)
      s:result("w", 2, 1, false, { kind = "raise", message = "x", applied = "yes" })
      s:remove_worker("w", { kind = "cancelled", message = "killed", culprit = { id = 3,
        attempt = 1 } })
      assert.same({ { 1, "cancelled", "no" }, { 2, "raise", "yes" }, { 3, "cancelled", "yes" },
        { 4, "cancelled", "unknown" } }, errors_of(s))
      s:add_worker("w", "a")
      assert.same({ 5, 6, 2 }, range(s:next_batch("w")))
    end)

    it("is refused with the rest of its batch", function()
      local s = with(4, { w = "a" })
      s:next_batch("w")
      s:cancel_item(2, CANCELLED)
      assert.equal(4, s:refused("w", 1, 4, 1))
      assert.equal(0, s:in_flight("w"))
      assert.equal(3, s:counts().queued)
    end)

    it("does nothing to items that have ended or do not exist", function()
      local s = with(2, { w = "a" })
      s:push_failed("bad", { kind = "input", message = "bad" })
      finish(s, "w", s:next_batch("w"))
      for id = -1, 9 do assert.is_nil(s:cancel_item(id, CANCELLED)) end
      assert.same({ { 1, true, 10 }, { 2, true, 20 }, { 3, false, "input" } }, pop_all(s))
      assert.is_nil(s:cancel_item(1, CANCELLED))
      assert.equal(1, s:counts().failed)
    end)
  end)

  it("returns what one event ends in order of the ids", function()
    local s = with(60, { w = "a", x = "b" }, { ordered = false, batch = 1, retries = 0 })
    for _, worker in ipairs({ "w", "x" }) do
      for _ = 1, 15 do
        s:starved(worker, 64)
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
