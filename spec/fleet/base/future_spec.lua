-- SPDX-License-Identifier: MIT
local errors = require("fleet.errors")
local future = require("fleet.base.future")
local task = require("host.task")

local function failure(message)
  return errors.new({ kind = "raise", message = message })
end

local function resolved(...)
  local f = future.new()
  f:resolve(table.pack(...))
  return f
end

describe("a future", function()
  it("gives its values to everyone who waits, now and later", function()
    local f, seen = future.new(), {}
    for i = 1, 3 do
      task.spawn(function() seen[i] = table.pack(f:wait()) end)
    end
    task.yield()
    assert.is_false(f:check())
    assert.is_true(f:resolve(table.pack(1, nil, "x", nil)))
    task.yield()
    task.yield()
    for i = 1, 3 do assert.same({ n = 4, 1, nil, "x" }, seen[i]) end
    assert.same({ n = 4, 1, nil, "x" }, table.pack(f:wait()))
    assert.is_true(f:check())
    assert.is_false(f:failed())
  end)

  it("counts the first result only", function()
    local f = future.new()
    local err = failure("first")
    assert.is_true(f:fail(err))
    assert.is_false(f:resolve(table.pack("second")))
    assert.same({ n = 2, nil, err }, table.pack(f:wait()))
    assert.is_true(f:failed())
  end)

  it("keeps nil and an error returned apart from a failure", function()
    local f = resolved(nil, failure("a value"))
    assert.is_false(f:failed())
  end)

  it("says in words how it stands, and what came of it", function()
    local f = future.new()
    assert.equal("future: pending", tostring(f))
    f:resolve(table.pack(5, nil, { a = ("x"):rep(1000) }))
    assert.matches("^future: done, 5, nil, {a = \"x+%.%.%.$", tostring(f))
    assert.is_true(#tostring(f) < 250)
    assert.equal("future: done", tostring(resolved()))
    local failed = future.new()
    failed:fail(failure("no such page\27[2J"))
    assert.equal("future: failed, <raise: no such page\\x1b[2J>", tostring(failed))
  end)

  it("may be waited for again after a timeout", function()
    local f = future.new()
    local value, err = f:wait(0.001)
    assert.is_nil(value)
    assert.same({ "timeout", "unknown" }, { err.kind, err.applied })
    assert.is_false(f:check())
    f:resolve(table.pack("late"))
    assert.equal("late", f:wait(0))
  end)

  it("wants a timeout that is one", function()
    local f = resolved(1)
    for _, bad in ipairs({ -1, 0 / 0, "1" }) do
      assert.has_error(function() f:wait(bad) end,
        "future:wait: the timeout must be a number of at least 0, in seconds")
    end
  end)

  it("cancels once, and not after the result", function()
    local count = 0
    local f = future.new(function() count = count + 1 end)
    f:cancel()
    f:cancel()
    assert.equal(1, count)
    local done = future.new(function() count = count + 1 end)
    done:resolve(table.pack())
    done:cancel()
    assert.equal(1, count)
  end)

  it("is cancelled when a variable that is to be closed goes, unless it is resolved", function()
    local count = 0
    do
      local f <close> = future.new(function() count = count + 1 end)
      assert.is_false(f:check())
    end
    assert.equal(1, count)
    do
      local f <close> = future.new(function() count = count + 1 end)
      f:resolve({ n = 0 })
    end
    assert.equal(1, count)
  end)

  it("tells watchers, also those that come late", function()
    local f, seen = future.new(), {}
    f:watch(function() seen[#seen + 1] = "before" end)
    f:resolve(table.pack())
    f:watch(function() seen[#seen + 1] = "after" end)
    assert.same({ "before", "after" }, seen)
  end)
end)

describe("race", function()
  it("has the index and values of the first that ends well, and cancels the others", function()
    local cancelled = {}
    local list = {}
    for i = 1, 3 do list[i] = future.new(function() cancelled[#cancelled + 1] = i end) end
    local r = future.race(list)
    list[1]:fail(failure("no"))
    assert.is_false(r:check())
    list[3]:resolve(table.pack("x", nil, "y"))
    assert.same({ n = 4, 3, "x", nil, "y" }, table.pack(r:wait()))
    assert.same({ 2 }, cancelled)
  end)

  it("fails when all do, with the last error", function()
    local list = { future.new(), future.new() }
    local r = future.race(list)
    local last = failure("last")
    list[2]:fail(failure("first"))
    list[1]:fail(last)
    assert.is_true(r:failed())
    assert.equal(last, select(2, r:wait()))
  end)

  it("passes a cancel on", function()
    local count = 0
    local list = {}
    for i = 1, 2 do list[i] = future.new(function() count = count + 1 end) end
    local r = future.race(list)
    r:cancel()
    assert.equal(2, count)
    assert.equal("cancelled", select(2, r:wait()).kind)
  end)

  it("wants futures", function()
    assert.has_error(function() future.race({ [2] = future.new() }) end,
      "fleet.race: element 1 is no future but a nil")
    assert.has_error(function() future.race({}) end, "fleet.race: at least one future expected")
    assert.has_error(function() future.race({ 1 }) end,
      "fleet.race: element 1 is no future but a number")
    assert.has_error(function() future.race(1) end,
      "fleet.race: a list of futures expected, got number")
  end)
end)

describe("all", function()
  it("has the first values in order, errors in place, and how many failed", function()
    local list = { future.new(), future.new(), future.new() }
    local a = future.all(list)
    local err = failure("two")
    list[3]:resolve(table.pack(3, "more"))
    list[2]:fail(err)
    assert.is_false(a:check())
    list[1]:resolve(table.pack(nil))
    local results, failed = a:wait()
    assert.same({ nil, err, 3, n = 3 }, results)
    assert.equal(1, failed)
  end)

  it("of nothing is there at once", function()
    assert.same({ n = 2, { n = 0 }, 0 }, table.pack(future.all({}):wait()))
  end)
end)
