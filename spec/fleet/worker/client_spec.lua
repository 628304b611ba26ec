-- SPDX-License-Identifier: MIT
-- The library inside a task: each test is a function that runs there.

local driver = require("fleet.driver")
local e2e = require("spec.support.e2e")
local errors = require("fleet.errors")
local fleet = require("fleet")

require("spec.support.library")(setup, teardown)

local function inside(f, ...)
  local values = table.pack(fleet.call(fleet.any, f, ...))
  if errors.is(values[2]) then error(tostring(values[2]), 2) end
  return table.unpack(values, 1, values.n)
end

describe("inside a task", function()
  it("there are the same nodes", function()
    local here, there = fleet.nodes(), inside(function() return require("fleet").nodes() end)
    assert.same({ here[1].name, 2, "ready" }, { there[1].name, there[1].workers, there[1].state })
  end)

  it("functions are called, and what they raise is told", function()
    local function callee(x, y)
      if x == 2 then error("two", 0) end
      return x, nil, y
    end
    local n, a, b, c = inside(function()
      local lib = require("fleet")
      local r = table.pack(lib.call(lib.any, callee, 1, "z"))
      return r.n, r[1], r[2], r[3]
    end)
    assert.same({ 3, 1, "z" }, { n, a, c })
    assert.is_nil(b)
    local kind, message, applied = inside(function()
      local lib = require("fleet")
      local _, err = lib.call(lib.any, callee, 2)
      return err.kind, err.message, err.applied
    end)
    assert.same({ "raise", "two", "yes" }, { kind, message, applied })
  end)

  it("futures run at the same time, and can be cancelled", function()
    assert.same({ 0, 10, "cancelled" }, { inside(function()
      local lib = require("fleet")
      local list = {}
      for i = 1, 10 do
        list[i] = lib.send(lib.any, function(n)
          require("fleet").sleep(0.01)
          return n
        end, i)
      end
      local results, failed = lib.all(list):wait(60)
      local never = lib.send(lib.any, function() require("fleet").sleep(3600) end)
      never:cancel()
      local _, err = never:wait(60)
      return failed, #results, err.kind
    end) })
  end)

  it("a map over more than one message keeps its order", function()
    assert.same({ 10000, 0, true }, { inside(function()
      local i = 0
      local results, failed = require("fleet").pmap(function(x) return x + 1 end, function()
        i = i + 1
        return i <= 10000 and i or nil
      end)
      local right = true
      for k = 1, 10000 do right = right and results[k] == k + 1 end
      return results.n, failed, right
    end) })
  end)

  it("a map may have more bytes than a message, in items and in results", function()
    assert.same({ 0, 22, 5 }, { inside(function()
      local lib, mib = require("fleet"), 1024 * 1024
      local large = ("x"):rep(22 * mib)
      local sizes, failed = lib.pmap(function(x) return #x end, { large, large, large })
      local results = lib.pmap(function(n) return ("x"):rep(n) end, { 5 * mib, 5 * mib, 5 * mib })
      return failed, sizes[3] / mib, #results[3] / mib
    end) })
  end)

  it("an item that cannot be sent fails alone", function()
    assert.same({ 1, 1, "encode", 3 }, { inside(function()
      local results, failed = require("fleet").pmap(function(x) return x end, { 1, print, 3 })
      return failed, results[1], results[2].kind, results[3]
    end) })
  end)

  it("options that are functions are for the driver alone", function()
    local message = inside(function()
      local _, text = pcall(require("fleet").pmap, function() end, { 1 },
        { retry_on = function() return true end })
      return text
    end)
    assert.matches("option 'retry_on' is for drivers only", message, 1, true)
  end)

  it("each and parallel_eval work", function()
    assert.same({ 6, 3 }, { inside(function()
      local lib = require("fleet")
      local sum = 0
      for _, value in lib.each(function(x) return x end, { 1, 2, 3 }) do sum = sum + value end
      local results = lib.parallel_eval({ { function(a, b) return a + b end, 1, 2 } })
      return sum, results[1]
    end) })
  end)

  it("each has every value beside its item", function()
    assert.equal(0, (inside(function()
      local wrong, list = 0, {}
      for i = 1, 20 do list[i] = i end
      for item, value in require("fleet").each(function(x)
        require("fleet").sleep(x % 3 / 100)
        return -x
      end, list) do
        if value ~= -item then wrong = wrong + 1 end
      end
      return wrong
    end)))
  end)

  it("a map has one deadline, also over more than one message", function()
    local n, failed, kind, calls = inside(function()
      local calls = 0
      local results, failed = require("fleet").pmap(function(x)
        if x == 1 then require("fleet").sleep(3600) end
      end, function()
        calls = calls + 1
        return calls <= 10000 and calls or nil
      end, { deadline = 1 })
      return results.n, failed, results[1].kind, calls
    end)
    assert.same({ "deadline", 4096, 4096, true },
      { kind, n, calls, failed >= 1 })
  end)

  it("everywhere is everywhere", function()
    assert.is_true((inside(function()
      return require("fleet").everywhere(function() from_inside = 1 end) -- luacheck: ignore 111
    end)))
    assert.equal(1, (inside(function() return from_inside end))) -- luacheck: ignore 113
    driver.get().setups = {}
  end)

  local function running()
    local n = 0
    for _, node in ipairs(fleet.nodes()) do n = n + node.running end
    return n
  end

  it("leaving the loop ends the map", function()
    local f = fleet.send(fleet.any, function()
      local lib = require("fleet")
      local list, taken = {}, 0
      for i = 1, 5000 do list[i] = i end
      for _ in lib.each(function(x)
        if x > 4096 then require("fleet").sleep(3600) end
      end, list) do
        taken = taken + 1
        if taken == 4096 then
          lib.sleep(0.05) -- the rest is asked for
          break
        end
      end
      return taken
    end)
    assert.equal(4096, (f:wait(60)))
    e2e.wait_until("the end", function() return running() == 0 end)
  end)

  it("what a cancelled task has asked for is cancelled too", function()
    local f = fleet.send(fleet.any, function()
      local lib = require("fleet")
      lib.pmap(function() require("fleet").sleep(3600) end, { 1, 2, 3 })
    end)
    e2e.wait_until("the map", function() return running() == 4 end)
    f:cancel()
    e2e.wait_until("its end", function() return running() == 0 end)
  end)
end)
