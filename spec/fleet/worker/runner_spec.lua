-- SPDX-License-Identifier: MIT
local errors = require("fleet.errors")
local jobs = require("spec.support.jobs")

-- Only workers have it.
local said = {}
package.loaded["host.job"] = {
  blob = function() end,
  modules = function() return {} end,
  output = function(what, value) said[#said + 1] = { what, value } end,
}
local runner = require("fleet.worker.runner")

describe("runner.prepare", function()
  local strings = debug.getmetatable("")
  local index
  -- the sandbox shields the strings of the whole state, which here is the specs' own
  local function unshield() strings.__index, strings.__metatable = index, nil end
  before_each(function() index = strings.__index end)
  after_each(unshield)

  local function prepare(source, fields)
    unshield()
    local definition = { kind = "script", source = source, chunkname = "@job.lua", concurrency = 3 }
    for key, value in pairs(fields or {}) do definition[key] = value end
    return runner.prepare(definition)
  end

  it("gives the map function, and how many tasks at a time", function()
    local map, concurrency = prepare("return { map = function(x) return x + 1 end }")
    assert.equal(3, map(2))
    assert.equal(3, concurrency)
  end)

  it("runs the script in the sandbox", function()
    assert.is_nil((prepare("leak = io.open return { map = function() return leak end }")()))
    assert.is_nil(rawget(_G, "leak"))
  end)

  it("runs setup once, before it returns", function()
    assert.equal(1, prepare([[
      local n = 0
      return { setup = function() n = n + 1 end, map = function() return n end }
    ]])())
  end)

  it("gives nil and an error for what is no job here", function()
    for source, message in pairs({
      ["return {}"] = "job.lua: the job has no map",
      ["return { map = }"] = "job.lua:1: unexpected symbol",
      ["error('top')"] = "job.lua:1: top",
      ["io.open('x')"] = "job.lua:1: attempt to call a nil value (field 'open')",
      ["if io.open then return { map = print } end"] = "the script returns no job in a worker",
    }) do
      local map, err = prepare(source)
      assert.is_nil(map)
      assert.is_true(errors.is(err))
      local ran = source:find("^error") or source:find("^io")
      assert.equal(ran and "raise" or "usage", err.kind)
      assert.matches(message, err.message, 1, true)
    end
  end)

  it("raises what setup raises", function()
    local ok, raised = pcall(prepare,
      "return { map = print, setup = function() error('no luck', 0) end }")
    assert.same({ false, "no luck" }, { ok, raised })
  end)
end)

describe("a job in a worker", function()
  local fleet
  setup(function() fleet = jobs.open(1) end)
  teardown(function() fleet:close() end)

  --- All items of a job that cannot start: each fails so, and never ran.
  local function broken(body, before, fields)
    local source = jobs.source(body, before, fields)
    local rows = fleet:rows(source, { 1, 2, 3 })
    assert.equal(3, #rows)
    for _, row in ipairs(rows) do
      assert.is_false(row.ok)
      assert.equal("no", row.value.applied)
      assert.equal(rows[1].value.message, row.value.message)
    end
    return rows[1].value
  end

  it("waits at its top level and in setup before the first item", function()
    local values = fleet:values("return { top, set }", { 1, 2 }, {
      before = "fleet.sleep(0.002) top = true",
      fields = "setup = function() fleet.sleep(0.002) set = top end",
    })
    assert.same({ { true, true }, { true, true } }, values)
  end)

  it("runs setup once for all its items", function()
    local values = fleet:values("return count", { 1, 2, 3 }, {
      before = "count = 0",
      fields = "setup = function() count = count + 1 end",
    })
    assert.same({ 1, 1, 1 }, values)
  end)

  it("whose setup raises fails every item with its error", function()
    local err = broken("return item", "",
      "setup = function() error('no luck') end")
    assert.same({ "raise", "job.lua:5: no luck" }, { err.kind, err.message })
    assert.matches("in field 'setup'", err.traceback, 1, true)
  end)

  it("whose setup throws an error keeps its kind", function()
    local err = broken("return item", "", [[setup = function()
      error(require("fleet.errors").new({ kind = "connect", message = "no base" }))
    end]])
    assert.same({ "connect", "no base" }, { err.kind, err.message })
  end)

  it("whose setup takes all memory fails every item so", function()
    assert.equal("memory", broken("return item", "",
      "setup = function() return ('x'):rep(1 << 30) end").kind)
  end)

  it("that is none here fails every item with a reason", function()
    local err = broken("return item", "io.open('x')")
    assert.equal("raise", err.kind)
    assert.matches("field 'open'", err.message, 1, true)
    err = broken("return item", "if not io.open then return end")
    assert.equal("usage", err.kind)
    assert.matches("no job in a worker", err.message, 1, true)
  end)

  it("runs well where another was broken", function()
    broken("return item", "error('x')")
    assert.same({ 1 }, fleet:values("return item", { 1 }))
  end)
end)
