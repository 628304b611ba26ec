-- SPDX-License-Identifier: MIT
local errors = require("fleet.errors")
local scheduler = require("fleet.scheduler")

local CRASH = { kind = "crash", message = "worker died", signal = 11 }
local LOST = { kind = "lost", message = "node is gone" }
local DRAINING = { kind = "draining", message = "node leaves" }

-- A scheduler with `n` items "item 1" .. "item n" and the given workers:
-- {id = node, ...}.
local function with(n, workers, opts)
  local s = scheduler.new(opts)
  for id, node in pairs(workers) do s:add_worker(id, node) end
  for i = 1, n do s:push("item " .. i) end
  return s
end

-- Takes every batch that the worker gets now.
local function take_all(s, worker)
  local batches = {}
  for batch in function() return s:next_batch(worker) end do batches[#batches + 1] = batch end
  return batches
end

local function finish(s, worker, batch)
  for id = batch.first, batch.first + batch.count - 1 do
    assert.is_true(s:result(worker, id, batch.attempt, true, id * 10, 5))
  end
end

-- Everything that can be popped, as {id, ok, value or kind}.
local function pop_all(s)
  local list = {}
  for id, _, ok, value in function() return s:pop() end do
    list[#list + 1] = { id, ok, ok and value or value.kind }
  end
  return list
end

local function range(batch)
  return { batch.first, batch.first + batch.count - 1, batch.attempt }
end

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

    it("admits and begins nothing while too much is held, but goes on", function()
      local s = with(8, { w = "a" }, { held_bytes = 100 })
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

    it("is finished at once when it is empty", function()
      local s = scheduler.new()
      assert.is_false(s:finished())
      s:close()
      assert.is_true(s:finished())
      assert.is_nil(s:pop())
    end)

    it("refuses options it does not know or that make no sense", function()
      assert.error_matches(function() scheduler.new({ retrys = 1 }) end, "did you mean 'retries'")
      for name, bad in pairs({ retries = -1, concurrency = 0, batch = "big", window = 1 << 21,
        held_bytes = 0, ordered = 1 }) do
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

    it("takes each result once, from the worker and attempt it is out with", function()
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

    it("go out at once to a hungry worker, or when they are the last", function()
      local s = with(26, { w = "a" }, { batch = 20, concurrency = 20 })
      take_all(s, "w")
      s:result("w", 1, 1, true)
      assert.is_nil(s:next_batch("w"))
      s:hungry("w", 19)
      assert.same({ 21, 21, 1 }, range(s:next_batch("w")))
      for id = 2, 4 do s:result("w", id, 1, true) end
      assert.is_nil(s:next_batch("w"))
      for id = 5, 10 do s:result("w", id, 1, true) end
      assert.same({ 22, 26, 1 }, range(s:next_batch("w")))
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

    it("are not for strangers", function()
      local s = with(3, { w = "a" })
      assert.is_nil(s:next_batch("x"))
      s:report("x", 1, 1, 1)
      s:hungry("x", 1)
      assert.is_false(s:remove_worker("x", LOST))
      assert.equal(0, s:refused("x", 1, 1, 1))
      assert.has_error(function() s:add_worker("w", "b") end,
        "scheduler: that worker is already there")
    end)
  end)

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
