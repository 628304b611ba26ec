-- SPDX-License-Identifier: MIT
-- Refusals and lost workers, seen through the scheduler.

local driving = require("spec.support.driving")

local finish, pop_all, range = driving.finish, driving.pop_all, driving.range
local take_all, with = driving.take_all, driving.with

local CRASH, LOST, DRAINING = driving.CRASH, driving.LOST, driving.DRAINING

describe("fleet.scheduler.failures", function()
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

  describe("death of a worker before items began", function()
    local NAMED = { kind = "crash", message = "worker died", culprit = { id = 1, attempt = 1 } }

    it("costs them nothing, also without retries, and fails what had begun", function()
      local s = with(4, { w = "a" }, { retries = 0 })
      s:next_batch("w")
      assert.equal(3, s:not_begun("w", 2, 3, 1, CRASH))
      s:remove_worker("w", CRASH)
      s:add_worker("x", "b")
      local b = s:next_batch("x")
      assert.same({ 2, 4, 1 }, range(b))
      finish(s, "x", b)
      local outcomes = {}
      for i, entry in ipairs(pop_all(s)) do outcomes[i] = entry[2] end
      assert.same({ false, true, true, true }, outcomes)
      assert.equal(0, s:counts().retried)
    end)

    it("has no limit while another culprit is named, and has one when none is", function()
      local s = with(2, { w = "a" }, { retries = 0 })
      for _ = 1, 20 do
        s:next_batch("w")
        assert.equal(2, s:not_begun("w", 1, 2, 1, NAMED))
      end
      for _ = 1, 6 do
        s:next_batch("w")
        assert.equal(2, s:not_begun("w", 1, 2, 1, CRASH))
        s:remove_worker("w", CRASH)
        s:add_worker("w", "a")
      end
      for id = 1, 2 do
        local popped, _, ok, err = s:pop()
        assert.same({ id, false, "crash", "no" }, { popped, ok, err.kind, err.applied })
      end
    end)

    it("leaves it unknown when an attempt before had begun", function()
      local s = with(1, { w = "a" }, { retries = 1 })
      s:next_batch("w")
      s:remove_worker("w", LOST)
      s:add_worker("x", "b")
      s:next_batch("x")
      assert.equal(1, s:not_begun("x", 1, 1, 2, CRASH))
      s:expire({ kind = "deadline", message = "over" })
      local _, _, ok, err = s:pop()
      assert.same({ false, "unknown" }, { ok, err.applied })
    end)

    it("drops them when the map is stopped", function()
      local s = with(2, { w = "a" })
      s:next_batch("w")
      s:stop()
      assert.equal(2, s:not_begun("w", 1, 2, 1, CRASH))
      assert.equal(2, s:counts().dropped)
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
      s:set_available("z", false)
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
      s:starved("x", 1)
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

    it("finds the item that kills and spares those beside it", function()
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

  describe("crash of a worker whose culprit is named", function()
    local function crash(id, attempt, kind)
      return { kind = kind or "crash", message = "worker died", signal = 11,
        culprit = { id = id, attempt = attempt } }
    end

    it("isolates the culprit and sends the others together", function()
      local s = with(8, { w = "a", x = "b", y = "b" }, { batch = 4 })
      s:next_batch("w")
      s:remove_worker("w", crash(2, 1))
      assert.same({ 2, 2, 2 }, range(s:next_batch("x")))
      assert.is_nil(s:next_batch("x"))
      assert.same({ { 1, 1, 2 }, { 3, 4, 2 }, { 5, 5, 1 } },
        { range(s:next_batch("y")), range(s:next_batch("y")), range(s:next_batch("y")) })
      assert.equal(4, s:counts().retried)
    end)

    it("lets the others run again beside others, also on the same node", function()
      local s = with(4, { w = "a", y = "a", x = "b" })
      s:next_batch("w")
      s:remove_worker("w", crash(1, 1))
      assert.same({ 2, 4, 2 }, range(s:next_batch("y")))
    end)

    it("does not use up the attempts of bystanders, and isolates those often hit", function()
      local s = with(5, { w = "a" }, { retries = 1 })
      for bad = 1, 3 do
        take_all(s, "w")
        s:remove_worker("w", crash(bad, bad, "timeout"))
        s:add_worker("w", "a")
      end
      assert.same({ { 1, false, "timeout" }, { 2, false, "timeout" }, { 3, false, "timeout" } },
        pop_all(s))
      assert.same({ 4, 4, 4 }, range(s:next_batch("w")))
      assert.is_nil(s:next_batch("w"))
      s:remove_worker("w", { kind = "crash", message = "died", culprit = {} }) -- counts now
      s:add_worker("w", "a")
      assert.same({ 4, 4, 5 }, range(s:next_batch("w")))
      s:remove_worker("w", { kind = "crash", message = "died", culprit = {} })
      local _, _, _, err = s:pop()
      assert.same({ kind = "crash", message = "died; another task was the cause", node = "a",
        attempt = 5, applied = "unknown" }, err)
      s:add_worker("w", "a")
      assert.same({ 5, 5, 3 }, range(s:next_batch("w"))) -- came later, was hit twice
    end)

    it("never runs a bystander again without retries", function()
      local s = with(3, { w = "a" }, { retries = 0 })
      s:next_batch("w")
      s:remove_worker("w", crash(2, 1, "memory"))
      assert.same({ { 1, false, "crash" }, { 2, false, "memory" }, { 3, false, "crash" } },
        pop_all(s))
    end)

    it("ignores a culprit that has ended or is not its own", function()
      for _, culprit in ipairs({ {}, { id = 1, attempt = 1 }, { id = 2, attempt = 2 },
        { id = 77, attempt = 1 }, { id = "2", attempt = 1 } }) do
        local s = with(3, { w = "a" }, { retries = 1 })
        s:next_batch("w")
        s:result("w", 1, 1, true, 1)
        s:remove_worker("w", { kind = "crash", message = "died", culprit = culprit })
        s:add_worker("w", "a")
        assert.same({ 2, 3, 2 }, range(s:next_batch("w")))
      end
    end)

    it("ends what its worker was killed for, with all that is known", function()
      for _, kind in ipairs({ "timeout", "memory", "cancelled" }) do
        local s = with(2, { w = "a" })
        s:next_batch("w")
        s:remove_worker("w", crash(2, 1, kind))
        s:add_worker("w", "a")
        finish(s, "w", s:next_batch("w"))
        s:pop()
        local _, _, ok, err = s:pop()
        assert.is_false(ok)
        assert.same({ kind = kind, message = "worker died", signal = 11, node = "a", attempt = 1,
          applied = "yes" }, err)
        assert.same({ a = { ok = 1, failed = 1 } }, s:node_counts())
      end
    end)

    it("retries that alone, if retry_on says so", function()
      local s = with(4, { w = "a" }, { backoff = 0,
        retry_on = function(err) return err.kind == "timeout" end })
      s:next_batch("w")
      s:remove_worker("w", crash(2, 1, "timeout"))
      s:add_worker("w", "a")
      assert.same({ 2, 2, 2 }, range(s:next_batch("w")))
      assert.is_nil(s:next_batch("w"))
      s:result("w", 2, 2, true, 20)
      finish(s, "w", s:next_batch("w"))
    end)

    it("poisons an item that kills on two nodes, whatever retries are left", function()
      local s = with(2, { w = "a", x = "b" }, { retries = 9 })
      s:next_batch("w")
      s:remove_worker("w", crash(1, 1))
      s:next_batch("x")
      s:remove_worker("x", { kind = "crash", message = "died", culprit = { id = 1, attempt = 2 } })
      local _, _, _, err = s:pop()
      assert.same({ kind = "poisoned", message = "the item killed workers of a (signal 11), b",
        node = "b", attempt = 2, applied = "unknown" }, err)
      assert.equal(1, s:counts().queued)
    end)

    it("does not poison on one node, nor for a kill that is an error", function()
      local s = with(1, { w = "a" })
      for attempt = 1, 3 do
        s:next_batch("w")
        s:remove_worker("w", crash(1, attempt))
        s:add_worker("w", "a")
      end
      assert.same({ { 1, false, "crash" } }, pop_all(s))
      s = with(1, { w = "a", x = "b" }, { backoff = 0, retry_on = function() return true end })
      s:next_batch("w")
      s:remove_worker("w", crash(1, 1, "memory"))
      s:next_batch("x")
      s:remove_worker("x", crash(1, 2, "memory"))
      s:add_worker("w", "a")
      assert.same({ 1, 1, 3 }, range(s:next_batch("w")))
    end)

    it("poisons a suspect that dies alone on another node, too", function()
      local s = with(1, { w = "a", x = "b" }, { retries = 9 })
      s:next_batch("w")
      s:remove_worker("w", CRASH) -- nobody is named: no proof yet
      s:next_batch("x")
      s:remove_worker("x", CRASH)
      s:add_worker("w", "a")
      s:next_batch("w")
      s:remove_worker("w", CRASH)
      assert.same({ { 1, false, "poisoned" } }, pop_all(s))
    end)
  end)
end)
