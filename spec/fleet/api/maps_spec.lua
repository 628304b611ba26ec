-- SPDX-License-Identifier: MIT
-- The maps of the library against a private node of two workers. What fleet.driver.map does with
-- nodes that break is in its own spec.

local e2e = require("spec.support.e2e")
local fleet = require("fleet")
local source_cache = require("fleet.ship.source_cache")
local task = require("host.task")

require("spec.support.library")(setup, teardown)

local function numbers(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

describe("fleet.pmap", function()
  it("maps in order, over a list or an iterator", function()
    local function double(x) return 2 * x end
    local results, failed = fleet.pmap(double, numbers(5000))
    assert.same({ 5000, 0 }, { results.n, failed })
    for i = 1, 5000 do assert.equal(2 * i, results[i]) end
    local i = 0
    results = fleet.pmap(double, function()
      i = i + 1
      return i <= 10 and i or nil
    end)
    assert.same({ 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, n = 10 }, results)
    assert.same({ n = 0 }, (fleet.pmap(double, {})))
    assert.same({ 2, 4, n = 2 }, (fleet.pmap(double, { 1, 2, 3, n = 2 })))
  end)

  it("leaves errors in their places, and nil", function()
    local results, failed = fleet.pmap(function(x)
      if x == 2 then error("two", 0) end
      if x == 3 then return nil end
      return x
    end, { 1, 2, 3, 4 })
    assert.equal(1, failed)
    assert.same({ 1, "two", nil, 4, 4 },
      { results[1], results[2].message, results[3], results[4], results.n })
  end)

  it("has on_error put values in place of errors, or end the map", function()
    local function fails(x) return x % 2 == 0 and error("even", 0) or x end
    local results = fleet.pmap(fails, { 1, 2, 3 },
      { on_error = function(err, item) return err.message .. item end })
    assert.same({ 1, "even2", 3, n = 3 }, results)
    local ok, raised = pcall(fleet.pmap, fails, { 1, 2, 3 },
      { on_error = function() error("stop", 0) end })
    assert.same({ false, "stop" }, { ok, raised })
  end)

  it("ends at its deadline with an error for what is not done", function()
    local results, failed = fleet.pmap(function(x)
      if x > 2 then require("fleet").sleep(3600) end
      return x
    end, numbers(300), { deadline = 1.5, concurrency = 2 })
    assert.same({ 300, 298, 1, 2 }, { results.n, failed, results[1], results[2] })
    for i = 3, 300 do assert.equal("deadline", results[i].kind) end
  end)

  it("says what ended it, for an iterator may have had more", function()
    local given, never = 0, task.event()
    local results, _, ended = fleet.pmap(function(x) return x end, function()
      given = given + 1
      if given > 1 then never:wait() end
      return given
    end, { deadline = 0.2 })
    never:notify()
    assert.same({ 1, "deadline" }, { results.n, ended.kind })
    assert.equal(2, select("#", fleet.pmap(function(x) return x end, { 1 })))
  end)

  it("runs an item again when retry_on says so", function()
    local results = fleet.pmap(function(x)
      local attempt = require("fleet").self().attempt
      if attempt < 3 then error("not yet", 0) end
      return x * attempt
    end, { 1, 2 }, {
      retry_on = function(err) return err.message == "not yet" end, backoff = 0.001,
    })
    assert.same({ 3, 6, n = 2 }, results)
  end)

  it("goes on from its journal, which is of one function", function()
    local path = os.tmpname()
    os.remove(path)
    local text = "local k = ... return function(x) if x == 3 then error('three', 0) end "
      .. "return { x * k, require('fleet').self().node } end"
    local function times(k, chunk) return assert(source_cache.load(text, chunk))(k) end
    local first = fleet.pmap(times(2, "=one"), { 1, 2 }, { journal = path })
    assert.same({ 2, 4 }, { first[1][1], first[2][1] })
    -- what was there comes from the file, in its place, also when the text stands elsewhere
    local all, failed = fleet.pmap(times(7, "=two"), { 3, 2, 4, 1 }, { journal = path })
    assert.same({ "three", 4, 28, 2, 1 },
      { all[1].message, all[2][1], all[3][1], all[4][1], failed })
    assert.equal("three", fleet.pmap(times(2, "=one"), { 3 }, { journal = path })[1].message)
    local fine, err = pcall(fleet.pmap, function(x) return x end, { 1 },
      { journal = path, on_no_workers = "return" })
    assert.same({ false, "usage" }, { fine, err.kind })
    assert.matches("belongs to another job (a function of one)", err.message, 1, true)
    -- a map that is broken off leaves a journal that can be used
    assert.is_false(pcall(fleet.pmap, times(2, "=one"), { 3 },
      { journal = path, on_error = function() error("stop", 0) end }))
    assert.equal(2, fleet.pmap(times(2, "=one"), { 1 }, { journal = path })[1][1])
    os.remove(path)
  end)

  it("keeps a journal of a function that every worker has", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    for _ = 1, 2 do
      assert.same({ n = 1, "A" }, fleet.pmap(string.upper, { "a" }, { journal = path }))
    end
    local fine, err = pcall(fleet.pmap, string.lower, { "a" }, { journal = path })
    assert.is_false(fine)
    assert.matches("belongs to another job (string.upper)", err.message, 1, true)
  end)

  it("works inside a task, also in many at once", function()
    local function inner(x) return x + 1 end
    local results, failed = fleet.pmap(function(n)
      local list = {}
      for i = 1, n do list[i] = i end
      local sum = 0
      for _, v in ipairs(require("fleet").pmap(inner, list)) do sum = sum + v end
      return sum
    end, numbers(100), { concurrency = 200 })
    assert.equal(0, failed)
    for n = 1, 100 do assert.equal(n * (n + 1) // 2 + n, results[n]) end
  end)

  it("recurses without a bound but memory", function()
    local function fib(n)
      if n < 2 then return n end
      local lib = require("fleet")
      local r = lib.pmap(fib, { n - 1, n - 2 })
      return r[1] + r[2]
    end
    assert.equal(21, (fleet.call(fleet.any, fib, 8)))
  end)

  it("is misused loudly", function()
    assert.has_error(function() fleet.pmap(print, { 1 }, { retrys = 1 }) end,
      "fleet.pmap: unknown option 'retrys'; did you mean 'retries'?")
    assert.has_error(function() fleet.pmap(print, 7) end,
      "fleet.pmap: a list or an iterator function expected, got number")
    assert.has_error(function() fleet.pmap(print, { 1, nil, 3, n = 3 }) end,
      "fleet.pmap: the list has a hole at 2")
    assert.has_error(function() fleet.pmap(print, { a = 1 }) end,
      "fleet.pmap: the list has a key that is no position: 'a'")
    assert.has_error(function() fleet.each(print, { 1, [1.5] = 2 }) end,
      "fleet.each: the list has a key that is no position: 1.5")
  end)
end)

describe("fleet.pmap over some nodes", function()
  it("uses those, by name, address or choice", function()
    local node = fleet.nodes()[1]
    for _, nodes in ipairs({
      { node.name }, { node.address }, function(n) return n.name == node.name end,
    }) do
      local results = fleet.pmap(function(x) return x + 1 end, { 1 }, { nodes = nodes })
      assert.same({ 2, n = 1 }, results)
    end
  end)

  it("says at once that there is no such node", function()
    local function same(x) return x end
    for fine, err in pairs({
      [{ pcall(fleet.pmap, same, { 1 }, { nodes = { "nobody" } }) }] = 2,
      [{ pcall(fleet.parallel_eval, { { same, 1 } }, { nodes = { "nobody" } }) }] = 2,
      [{ fleet.pmap(same, { 1 }, { nodes = { "nobody" }, on_no_workers = "return" }) }] = 2,
    }) do
      assert.is_falsy(fine[1])
      assert.same({ "connect", "there is no node 'nobody' to map over" },
        { fine[err].kind, fine[err].message })
    end
    assert.has_error(function() fleet.pmap(same, { 1 }, { on_no_workers = "hide" }) end,
      "fleet.pmap: option 'on_no_workers' must be 'raise' or 'return', got 'hide'")
  end)
end)

describe("fleet.each", function()
  it("gives items, values and errors as they complete", function()
    local sum, failures = 0, 0
    for item, value, err in fleet.each(function(x)
      if x == 5 then error("five", 0) end
      return x * x
    end, numbers(100)) do
      if err then
        assert.same({ 5, "five" }, { item, err.message })
        failures = failures + 1
      else
        assert.equal(item * item, value)
        sum = sum + value
      end
    end
    assert.same({ 338350 - 25, 1 }, { sum, failures })
  end)

  it("gives the one value of on_error in place of an error", function()
    local rows = {}
    for item, value, err in fleet.each(function() error("a_b", 0) end, { 1 },
      { on_error = function(err) return err.message:gsub("_", "-") end }) do
      rows[#rows + 1] = { item, value, err }
    end
    assert.same({ { 1, "a-b" } }, rows)
  end)

  it("takes no more than is asked for", function()
    local taken = 0
    for _ in fleet.each(function(x) return x end, function()
      taken = taken + 1
      return taken
    end) do
      if taken > 10 then break end
    end
    task.sleep(0.05)
    local now = taken
    task.sleep(0.05)
    assert.equal(now, taken)
  end)
end)

describe("fleet.each, left early", function()
  it("ends what runs", function()
    for _ in fleet.each(function(x) -- luacheck: ignore 512
      return x == 1 or require("fleet").sleep(3600)
    end, { 1, 2, 3 }) do
      break
    end
    e2e.wait_until("the end", function() return fleet.nodes()[1].running == 0 end)
  end)
end)

describe("fleet.parallel_eval", function()
  it("has the first value of each call, in order, errors in place", function()
    local results, failed = fleet.parallel_eval({
      { function(a, b) return a + b end, 1, 2 },
      { function() error("no", 0) end },
      { function(...) return select("#", ...) end, n = 4, nil, nil, nil },
      { function(...) return select("#", ...) end, nil, nil, 3 },
    })
    assert.equal(1, failed)
    assert.same({ 3, "no", 3, 3 },
      { results[1], results[2].message, results[3], results[4] })
  end)
end)

describe("fleet.parallel_eval, misused", function()
  it("refuses what is no call, also a hole", function()
    for _, calls in ipairs({
      { { print }, nil, { print } }, { { print }, n = 2 }, { [1] = { print }, [5] = { print } },
    }) do
      assert.has_error(function() fleet.parallel_eval(calls) end,
        "fleet.parallel_eval: element 2 is no {f, args...}")
    end
  end)

  it("has no order but that of the calls, and no journal", function()
    for _, name in ipairs({ "order", "journal" }) do
      assert.has_error(function() fleet.parallel_eval({}, { [name] = true }) end)
    end
  end)
end)
