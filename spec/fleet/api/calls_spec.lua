-- SPDX-License-Identifier: MIT
-- The calls of the library against a private node of two workers. What fleet.cluster.session and
-- fleet.driver.calls do with nodes that break is in their own specs.

local driver = require("fleet.driver")
local e2e = require("spec.support.e2e")
local fleet = require("fleet")
local task = require("host.task")

local own_node = require("spec.support.library")(setup, teardown)

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
    assert.matches("calls_spec.lua:%d+: oh no$", err.message)
    assert.matches("calls_spec.lua:%d+: in", err.traceback)
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
    local results, failed = fleet.all(list):wait(60)
    assert.equal(0, failed)
    for i = 1, 20 do assert.equal(i, results[i]) end
  end)

  it("can be cancelled while it runs", function()
    local f = fleet.send(fleet.any, function() while true do end end)
    task.sleep(0.05)
    f:cancel()
    assert.equal("cancelled", select(2, f:wait(60)).kind)
    assert.equal(1, (fleet.call(fleet.any, function() return 1 end)))
  end)

  it("tells of progress", function()
    local f = fleet.send(fleet.any, function()
      local lib = require("fleet")
      lib.progress({ done = 1 })
      lib.sleep(3600)
    end)
    e2e.wait_until("the progress", function() return f:progress() end)
    assert.same({ done = 1 }, f:progress())
    f:cancel()
  end)

  it("wins races", function()
    local slow = fleet.send(fleet.any, function() require("fleet").sleep(3600) end)
    local fast = fleet.send(fleet.any, function() return "fast" end)
    assert.same({ n = 2, 2, "fast" }, table.pack(fleet.race({ slow, fast }):wait(60)))
    assert.equal("cancelled", select(2, slow:wait(60)).kind)
  end)
end)

describe("fleet.cast", function()
  it("returns when the function has begun, not when it ends", function()
    assert.is_true(fleet.cast(fleet.any, function() require("fleet").sleep(3600) end))
    assert.is_true(fleet.cast(fleet.any, function() error("seen in the log") end))
  end)

  it("leaves the function all that a call has: prints, the library, no end at the time limit",
    function()
      local p, texts = driver.get().cluster, {}
      local on_print = p.on_print
      finally(function() p.on_print = on_print end)
      p.on_print = function(_, text) texts[#texts + 1] = text end
      e2e.with_limit(0.3, function(seconds)
        assert.is_true(fleet.with({ timeout = seconds }).cast(fleet.any, function()
          local there = require("fleet")
          print("begun")
          there.sleep(2 * seconds)
          print(there.call(there.any, function() return "asked" end))
        end))
      end)
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
    for _, pid in ipairs(e2e.children(own_node().pid)) do e2e.kill(pid, "KILL") end
    e2e.wait_until("others in their place", all_have_it)
  end)

  it("says when it failed", function()
    local ok, err = fleet.everywhere(function() error("not here", 0) end)
    assert.is_nil(ok)
    assert.matches("not here", err.message, 1, true)
    driver.get().setups = {} -- so that later workers are spared
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
