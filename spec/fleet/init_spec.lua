-- SPDX-License-Identifier: MIT
-- The library against a private node of two workers. What fleet.pool.link, fleet.map and
-- fleet.calls do with nodes that break is in their own specs.

local chunks = require("fleet.ship.chunks")
local driver = require("fleet.driver")
local e2e = require("spec.support.e2e")
local fleet = require("fleet")
local host_driver = require("host.driver")
local pool = require("fleet.cluster")
local sys = require("host.sys")
local task = require("host.task")

local child

setup(function()
  child = assert(host_driver.local_node({ workers = 2, release = sys.version }))
  driver.set(driver.new(assert(pool.open({ child:url() }, sys.version))))
end)
teardown(function()
  driver.close()
  child:stop()
end)

local function numbers(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

describe("fleet.sleep", function()
  it("lets other tasks run meanwhile", function()
    local done = false
    task.spawn(function() done = true end)
    assert.equal(0, select("#", fleet.sleep(0)))
    assert.is_true(done)
  end)

  it("wakes in the order of the times asked for", function()
    local order, left, over = {}, 3, task.signal()
    for _, seconds in ipairs({ 0.03, 0.001, 0.015 }) do
      task.spawn(function()
        fleet.sleep(seconds)
        order[#order + 1] = seconds
        left = left - 1
        if left == 0 then over:notify() end
      end)
    end
    over:wait()
    assert.same({ 0.001, 0.015, 0.03 }, order)
  end)

  it("raises on what is no time", function()
    for _, seconds in ipairs({ -1, -0.001, 0 / 0, "soon", {}, false }) do
      assert.has_error(function() fleet.sleep(seconds) end)
    end
    assert.has_error(function() fleet.sleep() end)
  end)

  it("raises where waiting is impossible, and says where that is", function()
    local ok, message = pcall(table.sort, { 2, 1 }, function(a, b) fleet.sleep(0) return a < b end)
    assert.is_false(ok)
    assert.matches("cannot wait here: not inside a table.sort comparator", message, 1, true)
  end)
end)

describe("fleet.call", function()
  it("returns the values of the function, whatever they are", function()
    assert.same({ n = 0 }, table.pack(fleet.call(fleet.any, function() end)))
    assert.same({ n = 4, 1, nil, "\0x", nil },
      table.pack(fleet.call(fleet.any, function(...) return ... end, 1, nil, "\0x", nil)))
    assert.same({ n = 2, nil, "no" },
      table.pack(fleet.call(fleet.any, function() return nil, "no" end)))
    assert.same({ 1, { 2.0, true } },
      (fleet.call(fleet.any, function(t) return t end, { 1, { 2.0, true } })))
  end)

  it("takes along what the function captured", function()
    local base, add = 40, function(a, b) return a + b end
    local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end
    assert.equal(42, (fleet.call(fleet.any, function(x) return add(base, x) end, 2)))
    assert.equal(55, (fleet.call(fleet.any, function() return fib(10) end)))
  end)

  it("has modules of the library there", function()
    local digest = require("fleet.digest")
    local hash = fleet.call(fleet.any, function() return digest.sha256("x") end)
    assert.equal(digest.sha256("x"), hash)
  end)

  it("says what the function raised, and where, as if it had been here", function()
    local value, err = fleet.call(fleet.any, function() error("oh no") end)
    assert.is_nil(value)
    assert.equal("fleet.error", debug.getmetatable(err).__name)
    assert.same({ "raise", "yes", 1 }, { err.kind, err.applied, err.attempt })
    assert.matches("init_spec.lua:%d+: oh no$", err.message)
    assert.matches("init_spec.lua:%d+: in", err.traceback)
    assert.is_string(err.node)
  end)

  it("goes to a node by name, address, or entry of nodes()", function()
    local node = fleet.nodes()[1]
    for _, target in ipairs({ node, node.name, node.address, fleet.any }) do
      assert.equal(1, (fleet.call(target, function() return 1 end)))
    end
    local value, err = fleet.call("nobody", function() end)
    assert.is_nil(value)
    assert.same({ "connect", "no" }, { err.kind, err.applied })
  end)

  it("refuses what cannot travel, before anything is sent", function()
    local co = coroutine.create(function() end)
    local value, err = fleet.call(fleet.any, function() return co end)
    assert.is_nil(value)
    assert.matches("upvalue 'co'", err.message, 1, true)
    value, err = fleet.call(fleet.any, function() end, { deep = print })
    assert.is_nil(value)
    assert.equal("encode", err.kind)
    assert.matches("deep", err.message, 1, true)
  end)

  it("ends after its timeout", function()
    local quick = fleet.with({ timeout = 0.1 })
    local value, err = quick.call(fleet.any, function() require("fleet").sleep(3600) end)
    assert.is_nil(value)
    assert.equal("timeout", err.kind)
    value, err = quick.call(fleet.any, function() while true do end end)
    assert.is_nil(value)
    assert.equal("timeout", err.kind)
    assert.equal(1, (fleet.call(fleet.any, function() return 1 end)))
  end)

  it("is misused loudly", function()
    assert.has_error(function() fleet.call(fleet.any) end,
      "fleet.call: a function expected, got nil")
    assert.has_error(function() fleet.call(7, print) end,
      "fleet.call: a node expected (its name, an entry of fleet.nodes(), or fleet.any), got number")
    assert.has_error(function() fleet.with({ timout = 1 }) end,
      "fleet.with: unknown option 'timout'; did you mean 'timeout'?")
  end)
end)

describe("fleet.send", function()
  it("gives futures, which run at the same time", function()
    local list = {}
    for i = 1, 20 do
      list[i] = assert(fleet.send(fleet.any, function(n)
        require("fleet").sleep(0.02)
        return n
      end, i))
    end
    local results, failed = fleet.all(list):wait(10)
    assert.equal(0, failed)
    for i = 1, 20 do assert.equal(i, results[i]) end
  end)

  it("can be cancelled while it runs", function()
    local f = fleet.send(fleet.any, function() while true do end end)
    task.sleep(0.05)
    f:cancel()
    assert.equal("cancelled", select(2, f:wait(5)).kind)
    assert.equal(1, (fleet.call(fleet.any, function() return 1 end)))
  end)

  it("tells of progress", function()
    local f = fleet.send(fleet.any, function()
      local lib = require("fleet")
      lib.progress({ done = 1 })
      lib.sleep(3600)
    end)
    for _ = 1, 1000 do
      if f:progress() then break end
      task.sleep(0.005)
    end
    assert.same({ done = 1 }, f:progress())
    f:cancel()
  end)

  it("wins races", function()
    local slow = fleet.send(fleet.any, function() require("fleet").sleep(3600) end)
    local fast = fleet.send(fleet.any, function() return "fast" end)
    assert.same({ n = 2, 2, "fast" }, table.pack(fleet.race({ slow, fast }):wait(10)))
    assert.equal("cancelled", select(2, slow:wait(5)).kind)
  end)
end)

describe("fleet.cast", function()
  it("returns when the function has begun, not when it ends", function()
    assert.is_true(fleet.cast(fleet.any, function() require("fleet").sleep(3600) end))
    assert.is_true(fleet.cast(fleet.any, function() error("seen in the log") end))
  end)

  it("leaves the function all that a call has: prints, the library, no end at the time limit",
    function()
      local p, texts = driver.get().pool, {}
      local on_print = p.on_print
      finally(function() p.on_print = on_print end)
      p.on_print = function(_, text) texts[#texts + 1] = text end
      assert.is_true(fleet.with({ timeout = 0.3 }).cast(fleet.any, function()
        local there = require("fleet")
        print("begun")
        there.sleep(0.6)
        print(there.call(there.any, function() return "asked" end))
      end))
      e2e.wait_until("its prints", function() return #texts == 2 end)
      assert.same({ "begun", "asked" }, texts)
    end)

  it("says why it has not begun", function()
    local ok, err = fleet.cast("nobody", print)
    assert.same({ nil, "connect" }, { ok, err.kind })
  end)
end)

describe("fleet.multicall", function()
  it("has the results by name, and the failures", function()
    local name = fleet.nodes()[1].name
    local results, failures = fleet.multicall(function(x) return x + 1 end, 1)
    assert.same({ { [name] = 2 }, {} }, { results, failures })
    results, failures = fleet.multicall(function() error("no", 0) end)
    assert.same({}, results)
    assert.equal("no", failures[name].message)
  end)
end)

describe("fleet.everywhere", function()
  it("sets up every worker, and those that come later", function()
    assert.is_true(fleet.everywhere(function(v) shared = v end, 7)) -- luacheck: ignore 111
    local function get() return shared, require("fleet").self().worker end -- luacheck: ignore 113
    local function all_have_it()
      local seen = {}
      for _ = 1, 20 do
        local value, worker = fleet.call(fleet.any, get)
        if type(worker) == "number" then -- else an error: they are being killed
          assert.equal(7, value)
          seen[worker] = true
        end
      end
      return seen[1] or seen[2]
    end
    assert.is_truthy(all_have_it())
    for _, pid in ipairs(e2e.children(child:pid())) do e2e.kill(pid, "KILL") end
    e2e.wait_until("others in their place", all_have_it)
  end)

  it("says when it failed", function()
    local ok, err = fleet.everywhere(function() error("not here", 0) end)
    assert.is_nil(ok)
    assert.matches("not here", err.message, 1, true)
    driver.get().setups = {} -- so that later workers are spared
  end)
end)

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
    local given, never = 0, task.signal()
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
    local function times(k, chunk) return assert(chunks.load(text, chunk))(k) end
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
      "fleet.pmap: option 'on_no_workers' must be 'raise' or 'return'")
  end)
end)

describe("an error of a function", function()
  it("is what it says, but of its attempt the fleet says", function()
    local function lies(kind)
      error({ kind = kind, message = "m", applied = "no", node = "elsewhere", attempt = 7,
        signal = 9, more = "data" })
    end
    for kind, seen in pairs({ connect = "connect", lost = "raise", cancelled = "raise",
      poisoned = "raise", own = "own" }) do
      for how, err in pairs({
        call = select(2, fleet.call(fleet.any, lies, kind)),
        map = fleet.pmap(lies, { kind }, { retry_on = function() return false end })[1],
      }) do
        assert.same({ seen, "m", "yes", "local", 1, nil, "data" }, { err.kind, err.message,
          err.applied, err.node, err.attempt, err.signal, err.more }, how)
        assert.same({ applied = "no", node = "elsewhere", attempt = 7, signal = 9,
          kind = seen ~= kind and kind or nil }, err.inner)
      end
    end
  end)

  it("that it passes on has the other inside", function()
    local err = select(2, fleet.call(fleet.any, function()
      local _, inner = require("fleet").call("nosuch", function() end)
      error(inner)
    end))
    assert.same({ "connect", "yes", "no" }, { err.kind, err.applied, err.inner.applied })
    err = fleet.pmap(function(e) return nil, e end, { err })[1]
    assert.same({ "local", "no" }, { err.inner.node, err.inner.inner.applied })
  end)

  it("has no other inside when there was none", function()
    local err = fleet.pmap(function(kind)
      return nil, { kind = kind, message = "no such host" }
    end, { "dns" })[1]
    assert.same({ "dns", "yes", nil }, { err.kind, err.applied, err.inner })
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

describe("fleet.self and fleet.progress", function()
  it("are of tasks", function()
    assert.is_nil(fleet.self())
    assert.has_error(function() fleet.progress(1) end,
      "fleet.progress can only be called inside a task")
    local self = fleet.call(fleet.any, function() return require("fleet").self() end)
    assert.same({ fleet.nodes()[1].name, 1 }, { self.node, self.attempt })
    assert.is_true(self.worker == 1 or self.worker == 2)
  end)
end)
