-- SPDX-License-Identifier: MIT
-- Attempts after errors, seen through the scheduler.

local driving = require("spec.support.driving")

local finish, pop_all, range, with = driving.finish, driving.pop_all, driving.range, driving.with

local function always() return true end

local function fault(kind)
  return { kind = kind or "raise", message = "own fault", applied = "yes" }
end

-- The times that items wait: {when one is due, ...} from time 0 until the item
-- fails for good, each attempt failing at once.
local function waits(opts)
  opts.retry_on = always
  local s = with(1, { w = "a" }, opts)
  local list, now = {}, 0
  s:tick(now)
  while true do
    local batch = s:next_batch("w")
    s:result("w", 1, batch.attempt, false, fault())
    local at = s:tick(now)
    if not at then return list, batch.attempt end
    list[#list + 1] = at - now
    now = at
    s:tick(now)
  end
end

describe("fleet.scheduler.retry", function()
  it("leaves errors alone by default", function()
    local s = with(1, { w = "a" })
    s:next_batch("w")
    s:result("w", 1, 1, false, fault())
    assert.same({ { 1, false, "raise" } }, pop_all(s))
    assert.is_nil(s:tick(100))
  end)

  it("calls retry_on for each error", function()
    local asked = {}
    local s = with(3, { w = "a" }, { backoff = 0, retry_on = function(err)
      asked[#asked + 1] = err.kind
      return err.kind == "timeout"
    end })
    s:next_batch("w")
    s:result("w", 1, 1, false, fault())
    s:result("w", 2, 1, false, fault("timeout"))
    s:result("w", 3, 1, true, 30)
    assert.same({ "raise", "timeout" }, asked)
    assert.same({ { 1, false, "raise" } }, pop_all(s))
    assert.same({ 2, 2, 2 }, range(s:next_batch("w")))
    assert.equal(1, s:counts().retried)
    s:result("w", 2, 2, true, 20)
    assert.same({ { 2, true, 20 }, { 3, true, 30 } }, pop_all(s))
    assert.same({ a = { ok = 2, failed = 1 } }, s:node_counts())
  end)

  it("waits before each attempt, twice as long as before it, up to a limit", function()
    local list, attempts = waits({ retries = 8, random = function() return 1 end })
    assert.equal(9, attempts)
    for i, expected in ipairs({ 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10 }) do
      assert.near(expected, list[i], 1e-9)
    end
    assert.same({ 60, 60 }, (waits({ backoff = 60, random = function() return 1 end })))
    assert.same({ 1, 2 }, (waits({ backoff = 2, random = function() return 0.5 end })))
    assert.equal(1000, #waits({ retries = 1000, random = function() return 1e-3 end }))
  end)

  it("sends nothing before its time, and keeps its place", function()
    local s = with(2, { w = "a" }, { retry_on = always, backoff = 4,
      random = function() return 0.5 end })
    s:close()
    s:tick(100)
    s:next_batch("w")
    s:next_batch("w")
    s:result("w", 1, 1, false, fault())
    s:result("w", 2, 1, true, 20)
    assert.is_nil(s:next_batch("w"))
    assert.same({ 102, false }, { s:tick(101) })
    assert.is_nil(s:next_batch("w"))
    assert.same({}, pop_all(s))
    assert.equal(1, s:counts().queued)
    assert.is_false(s:finished())
    assert.same({ n = 2, nil, true }, table.pack(s:tick(102)))
    finish(s, "w", s:next_batch("w"))
    assert.same({ { 1, true, 10 }, { 2, true, 20 } }, pop_all(s))
    assert.is_true(s:finished())
  end)

  it("has one limit for errors and losses", function()
    local s = with(1, { w = "a", x = "b" }, { retry_on = always, backoff = 0 })
    s:next_batch("w")
    s:result("w", 1, 1, false, fault())
    s:next_batch("w")
    s:remove_worker("w", { kind = "lost", message = "gone" })
    assert.same({ 1, 1, 3 }, range(s:next_batch("x")))
    s:result("x", 1, 3, false, fault())
    assert.same({ { 1, false, "raise" } }, pop_all(s))
  end)

  it("never tries again without retries, after a cancel or after stop", function()
    local s = with(1, { w = "a" }, { retry_on = always, retries = 0 })
    s:next_batch("w")
    s:result("w", 1, 1, false, fault())
    assert.same({ { 1, false, "raise" } }, pop_all(s))
    s = with(2, { w = "a" }, { retry_on = always })
    s:next_batch("w")
    s:result("w", 1, 1, false, fault("cancelled"))
    assert.same({ { 1, false, "cancelled" } }, pop_all(s))
    s:stop()
    s:result("w", 2, 1, false, fault())
    assert.same({ { 2, false, "raise" } }, pop_all(s))
  end)

  it("shows what retry_on raises", function()
    local s = with(1, { w = "a" }, { retry_on = function(err) return err.status.code > 500 end })
    s:next_batch("w")
    s:result("w", 1, 1, false, fault())
    local _, _, ok, err = s:pop()
    assert.is_false(ok)
    assert.matches("^own fault; retry_on failed: .*attempt to index a nil value", err.message)
  end)

  it("keeps the history of earlier losses", function()
    local s = with(1, { w = "a" }, { retry_on = always, backoff = 0 })
    s:next_batch("w")
    s:remove_worker("w", { kind = "crash", message = "died" })
    s:add_worker("w", "a")
    s:next_batch("w")
    s:result("w", 1, 2, false, fault())
    s:push("item 2")
    assert.same({ 1, 1, 3 }, range(s:next_batch("w")))
    assert.is_nil(s:next_batch("w")) -- a suspect, isolated for its last attempt
  end)
end)
