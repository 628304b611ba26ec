-- SPDX-License-Identifier: MIT
-- Stragglers, seen through the scheduler.

local driving = require("spec.support.driving")

local finish, pop_all, range, with = driving.finish, driving.pop_all, driving.range, driving.with

local CRASH = { kind = "crash", message = "died", culprit = {} }
local LOST = { kind = "lost", message = "gone" }

-- `n` items that took a second each on x, of node b, but the last, which is out
-- with w, of node a, since time 0. It is time 1.
local function one_left(n, opts)
  opts = opts or {}
  opts.speculate = opts.speculate ~= false
  opts.batch = opts.batch or n - 1
  local s = with(n - 1, { w = "a", x = "b" }, opts)
  s:tick(0)
  local batch = s:next_batch("x")
  s:push("item " .. n)
  s:close()
  assert(range(s:next_batch("w"))[1] == n)
  s:tick(1)
  finish(s, "x", batch)
  pop_all(s)
  return s
end

describe("fleet.scheduler.speculation", function()
  it("sends an overdue item to another node, and takes the first result", function()
    local s = one_left(8)
    assert.same({ 5, false }, { s:tick(2) })
    assert.is_nil(s:next_batch("x"))
    assert.same({ n = 2, nil, true }, table.pack(s:tick(5)))
    assert.is_nil(s:next_batch("w"))
    assert.same({ 8, 8, 2 }, range(s:next_batch("x")))
    assert.is_nil(s:next_batch("x"))
    assert.equal(1, s:counts().in_flight)
    assert.equal(1, s:counts().speculated)
    assert.same({}, s:take_cancels())
    assert.is_true(s:result("x", 8, 2, true, "second"))
    assert.same({ { 8, true, "second" } }, pop_all(s))
    assert.is_true(s:finished())
    assert.same({ { worker = "w", id = 8, attempt = 1 } }, s:take_cancels())
    assert.same({}, s:take_cancels())
    assert.is_false(s:result("w", 8, 1, true, "first"))
    assert.equal(1, s:counts().late)
    assert.equal(8, s:counts().done)
  end)

  it("takes the first attempt's result, too, and an error like any other", function()
    local s = one_left(8)
    s:tick(5)
    s:next_batch("x")
    assert.is_true(s:result("w", 8, 1, false, { kind = "raise", message = "own fault" }))
    assert.same({ { 8, false, "raise" } }, pop_all(s))
    assert.same({ { worker = "x", id = 8, attempt = 2 } }, s:take_cancels())
  end)

  it("waits for twice the median, five seconds at least", function()
    local s = with(9, { w = "a", x = "b" }, { batch = 8, speculate = true })
    s:tick(0)
    s:next_batch("x")
    s:next_batch("w")
    s:close()
    for id = 1, 8 do
      s:tick(id)
      s:result("x", id, 1, true)
    end
    assert.equal(8, (s:tick(7.5))) -- the median of 1 .. 8 is 4
    s = one_left(8)
    assert.equal(5, (s:tick(2)))
  end)

  it("is off unless asked for, and waits for the end of the input", function()
    local s = one_left(8, { speculate = false })
    assert.same({ n = 2, nil, false }, table.pack(s:tick(100)))
    assert.is_nil(s:next_batch("x"))
    s = with(8, { w = "a", x = "b" }, { speculate = true, batch = 4 })
    s:tick(0)
    s:next_batch("w")
    finish(s, "x", s:next_batch("x"))
    s:result("w", 1, 1, true)
    s:result("w", 2, 1, true)
    s:tick(100)
    assert.is_nil(s:next_batch("x"))
    s:close()
    s:tick(100)
    assert.same({ 3, 3, 2 }, range(s:next_batch("x")))
  end)

  it("waits until three quarters of the items have ended", function()
    local s = with(8, { w = "a", x = "b" }, { speculate = true, batch = 4 })
    s:close()
    s:tick(0)
    for _ = 1, 4 do s:next_batch("w") end
    while s:counts().queued > 0 do finish(s, "x", s:next_batch("x")) end
    local ended = 8 - s:in_flight("w")
    for id = 1, 5 - ended do s:result("w", id, 1, true) end
    s:tick(100)
    assert.is_nil(s:next_batch("x"))
    s:result("w", 6 - ended, 1, true)
    s:tick(100)
    assert.is_truthy(s:next_batch("x"))
  end)

  it("takes an idle worker of another node, the longest out first", function()
    local s = with(20, { w = "a", x = "b", y = "a" }, { speculate = true, batch = 18 })
    s:tick(0)
    s:next_batch("x")
    s:tick(1)
    s:next_batch("w") -- 19 and 20
    s:close()
    for id = 2, 18 do s:result("x", id, 1, true) end
    s:tick(50)
    assert.same({ 1, 1, 2 }, range(s:next_batch("y")))
    assert.is_nil(s:next_batch("x")) -- has item 1 still
    s:result("y", 1, 2, true)
    assert.is_nil(s:next_batch("y"))
    assert.is_nil(s:next_batch("x")) -- still has its cancelled duplicate
    s:result("x", 1, 1, true)
    assert.same({ 19, 19, 2 }, range(s:next_batch("x")))
  end)

  it("makes extra attempts for a tenth of the items, for one at least", function()
    for n, most in pairs({ [4] = 1, [19] = 1, [40] = 4 }) do
      local s = with(n, { w = "a" }, { speculate = true, batch = n })
      s:close()
      s:tick(0)
      s:starved("w", n)
      while s:next_batch("w") do end
      for id = 1, n - n // 4 do s:result("w", id, 1, true) end
      for i = 1, 10 do s:add_worker(i, "b") end
      s:tick(100)
      local sent = 0
      for i = 1, 10 do
        if s:next_batch(i) then sent = sent + 1 end
      end
      assert.equal(math.min(most, n // 4), sent)
      assert.equal(sent, s:counts().speculated)
      s:tick(101)
      assert.is_nil(s:next_batch(10))
    end
  end)

  it("gives a worker nothing new until it has stopped a cancelled duplicate", function()
    for _, stopped in ipairs({
      function(s) assert.is_false(s:result("x", 1, 1, true)) end,
      function(s) assert.equal(0, s:refused("x", 1, 1, 1)) end,
    }) do
      local s = with(20, { x = "b" }, { speculate = true, batch = 20 })
      s:close()
      s:tick(0)
      while s:next_batch("x") do end
      for id = 2, 18 do s:result("x", id, 1, true) end
      s:add_worker("w", "a")
      s:tick(50)
      s:next_batch("w")
      s:result("w", 1, 2, true)
      s:refused("x", 19, 1, 1)
      assert.same({ 2, 1 }, { s:in_flight("x"), s:counts().in_flight })
      assert.is_nil(s:next_batch("x"))
      stopped(s)
      assert.equal(1, s:in_flight("x"))
      assert.same({ 19, 19, 1 }, range(s:next_batch("x")))
    end
  end)

  it("continues with one attempt when the other is lost, refused or crashes", function()
    local s = one_left(8)
    s:tick(5)
    s:next_batch("x")
    s:remove_worker("w", LOST)
    assert.equal(1, s:counts().in_flight)
    assert.is_false(s:result("w", 8, 1, true))
    assert.is_true(s:result("x", 8, 2, true))
    assert.same({}, s:take_cancels())

    s = one_left(8)
    s:tick(5)
    s:next_batch("x")
    assert.equal(1, s:refused("x", 8, 1, 2))
    assert.is_true(s:result("w", 8, 1, true))
    assert.same({}, s:take_cancels())

    s = one_left(8)
    s:tick(5)
    s:next_batch("x")
    s:remove_worker("x", { kind = "crash", message = "died", culprit = { id = 8, attempt = 2 } })
    s:remove_worker("w", LOST)
    s:add_worker("w", "a")
    assert.same({ 8, 8, 3 }, range(s:next_batch("w")))
  end)

  it("counts the attempts of both", function()
    local s = one_left(8, { retries = 1 })
    s:tick(5)
    s:next_batch("x")
    s:remove_worker("x", LOST)
    s:remove_worker("w", LOST)
    assert.same({ { 8, false, "lost" } }, pop_all(s))
    s = one_left(8, { retries = 0 })
    s:tick(5)
    assert.same({ 8, 8, 2 }, range(s:next_batch("x")))
    s:remove_worker("w", CRASH)
    assert.equal(1, s:refused("x", 8, 1, 2))
    assert.same({ { 8, false, "crash" } }, pop_all(s))
  end)

  it("is the other attempt after an error that is to be retried", function()
    local s = one_left(8, { retries = 1, retry_on = function() return true end })
    s:tick(5)
    s:next_batch("x")
    assert.is_true(s:result("w", 8, 1, false, { kind = "raise", message = "own fault" }))
    assert.same({}, pop_all(s))
    assert.is_true(s:result("x", 8, 2, false, { kind = "raise", message = "own fault" }))
    assert.same({ { 8, false, "raise" } }, pop_all(s))
  end)

  it("does not run twice what may kill workers", function()
    local s = one_left(8)
    s:remove_worker("w", { kind = "crash", message = "died" })
    assert.same({ 8, 8, 2 }, range(s:next_batch("x")))
    s:add_worker("w", "a")
    s:tick(100)
    assert.is_nil(s:next_batch("w"))
  end)

  it("has neither attempt left at the end", function()
    local s = one_left(8)
    s:tick(5)
    s:next_batch("x")
    s:expire({ kind = "deadline", message = "over" })
    assert.same({ { 8, false, "deadline" } }, pop_all(s))
    assert.equal(0, s:in_flight("w") + s:in_flight("x"))
    assert.equal(0, s:counts().in_flight)
    assert.same({ a = { ok = 0, failed = 0 }, b = { ok = 7, failed = 1 } }, s:node_counts())
  end)
end)
