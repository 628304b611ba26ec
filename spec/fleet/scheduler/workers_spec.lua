-- SPDX-License-Identifier: MIT
-- Workers that join and are available or not, seen through the scheduler.

local driving = require("spec.support.driving")

local finish, range, with = driving.finish, driving.range, driving.with

local CRASH, LOST, DRAINING = driving.CRASH, driving.LOST, driving.DRAINING

describe("fleet.scheduler.workers", function()
  describe("a worker that becomes unavailable", function()
    it("may finish, gets nothing more and is not counted", function()
      local s = with(8, { w = "a", x = "b" })
      s:next_batch("w")
      assert.is_true(s:set_available("w", false))
      assert.is_true(s:set_available("w", false))
      assert.equal(1, s:counts().workers)
      assert.is_true(s:result("w", 1, 1, true, 1))
      assert.is_nil(s:next_batch("w"))
      assert.same({ 5, 8, 1 }, range(s:next_batch("x")))
      s:remove_worker("x", LOST)
      assert.is_true(s:idle())
      s:remove_worker("w", DRAINING)
      assert.equal(0, s:counts().workers)
      assert.is_false(s:set_available("w", false))
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
      s:set_available("x", false)
      assert.is_nil(s:next_batch("y")) -- reserved instead, though on the same node
      finish(s, "y", { first = 11, count = 10, attempt = 1 })
      assert.same({ 21, 21, 2 }, range(s:next_batch("y")))
    end)
  end)

  describe("a worker that is unavailable for a while", function()
    it("leaves it what it has and gives it nothing more", function()
      local s = with(8, { w = "a", x = "b" })
      s:next_batch("w")
      assert.is_true(s:set_available("w", false))
      assert.is_true(s:set_available("w", false))
      assert.equal(1, s:counts().workers)
      assert.equal(4, s:in_flight("w"))
      assert.is_true(s:result("w", 1, 1, true, 1))
      assert.is_nil(s:next_batch("w"))
      assert.is_true(s:set_available("w", true))
      assert.is_true(s:set_available("w", true))
      assert.equal(2, s:counts().workers)
      assert.same({ 5, 5, 1 }, range(s:next_batch("w")))
      assert.is_false(s:set_available("y", false))
      assert.is_false(s:set_available("y", true))
    end)

    it("makes nothing wait for it", function()
      local s = with(2, { w = "a", y = "a", x = "b" })
      s:next_batch("w")
      s:remove_worker("w", CRASH)
      assert.is_nil(s:next_batch("y"))
      s:set_available("x", false)
      assert.same({ 1, 1, 2 }, range(s:next_batch("y")))
      s:set_available("y", false)
      assert.is_true(s:idle())
      s:set_available("x", true)
      assert.is_false(s:idle())
    end)

    it("does not keep an idle worker waiting for it", function()
      local s = with(8, { w = "a", y = "a", x = "b", z = "c" })
      s:next_batch("w")
      s:next_batch("x")
      s:remove_worker("w", CRASH)
      assert.is_nil(s:next_batch("y")) -- z is free
      s:set_available("z", false)
      assert.same({ 1, 1, 2 }, range(s:next_batch("y")))
    end)

    it("reserves it no more", function()
      local s = with(60, { w = "a", x = "b", y = "c" }, { retries = 1, batch = 10 })
      for _, worker in ipairs({ "x", "y", "w" }) do s:next_batch(worker) end
      for id = 22, 30 do s:result("w", id, 1, true) end
      s:remove_worker("w", CRASH)
      for id = 1, 9 do s:result("x", id, 1, true) end
      for id = 11, 19 do s:result("y", id, 1, true) end
      assert.is_nil(s:next_batch("x")) -- reserved for item 21
      s:set_available("x", false)
      assert.is_nil(s:next_batch("y")) -- reserved instead
      s:set_available("x", true)
      assert.same({ 31, 39, 1 }, range(s:next_batch("x")))
    end)

    it("does not keep it from being lost", function()
      local s = with(4, { w = "a", x = "b" })
      s:next_batch("w")
      s:set_available("w", false)
      s:remove_worker("w", LOST)
      assert.equal(1, s:counts().workers)
      assert.same({ 1, 4, 2 }, range(s:next_batch("x")))
    end)
  end)

  it("has each worker once", function()
    local s = with(0, { w = "a" })
    assert.has_error(function() s:add_worker("w", "b") end,
      "scheduler: that worker is already there")
    assert.equal(1, s:counts().workers)
  end)
end)
