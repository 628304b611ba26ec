-- SPDX-License-Identifier: MIT
-- Stop, abort and expiry, seen through the scheduler.

local driving = require("spec.support.driving")

local pop_all, range, with = driving.pop_all, driving.range, driving.with

local CRASH, LOST, DRAINING = driving.CRASH, driving.LOST, driving.DRAINING
local DEADLINE = { kind = "deadline", message = "60 s are over" }

-- Everything that can be popped, as {id, kind, applied}.
local function errors_of(s)
  local list = {}
  for id, _, ok, err in function() return s:pop() end do
    list[#list + 1] = ok and { id, "ok" } or { id, err.kind, err.applied }
  end
  return list
end

describe("fleet.scheduler.shutdown", function()
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
