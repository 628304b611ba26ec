-- SPDX-License-Identifier: MIT
local errors = require("fleet.errors")
local job = require("fleet.run.job")
local shipping = require("spec.support.shipping")

local function load_job(source, env)
  return job.load(source, "@jobs/x.lua", env)
end

local function failure(source, env, kind)
  local loaded, err = load_job(source, env)
  assert.is_nil(loaded)
  assert.is_true(errors.is(err))
  assert.equal(kind or "usage", err.kind)
  assert.is_nil(err.message:find("[\r\n]"))
  return err.message, err.traceback
end

local function raised(source) return failure(source, nil, "raise") end

describe("job.load", function()
  it("returns the fields of a job", function()
    local loaded = assert(load_job([[
      return {
        summary = "adds", map = function(n) return n + 1 end, items = { 1, 2 },
        setup = function() end, reduce = function(a, b) return a + b end, init = 0,
        options = { timeout = 1.5, retries = 0, batch = 2, concurrency = 1, unordered = true },
      }]]))
    assert.equal(3, loaded.map(2))
    assert.same({ 1, 2 }, loaded.items)
    assert.equal(0, loaded.init)
    assert.equal("adds", loaded.summary)
    assert.same({ timeout = 1.5, retries = 0, batch = 2, concurrency = 1, unordered = true },
      loaded.options)
    assert.is_function(loaded.setup)
    assert.is_nil(loaded.script)
  end)

  it("gives a job without options an empty table of them", function()
    assert.same({}, load_job("return { map = print }").options)
  end)

  it("accepts items() and an init of false", function()
    local loaded = load_job("return { map = print, items = function() end, init = false, "
      .. "reduce = print }")
    assert.is_function(loaded.items)
    assert.is_false(loaded.init)
  end)

  it("runs the script with the globals it is given", function()
    local env = { tag = "here" }
    assert.equal("here", load_job("leak = 1 return { map = load, summary = tag }",
      setmetatable(env, { __index = { load = load } })).summary)
    assert.equal(1, env.leak)
    assert.is_nil(rawget(_G, "leak"))
  end)

  it("tells a plain driver script from a job, after it has run", function()
    local env = {}
    assert.same({ script = true }, load_job("done = true", env))
    assert.is_true(env.done)
    assert.same({ script = true }, load_job("return 3"))
    assert.same({ script = true }, load_job(""))
  end)

  it("skips a first line for the shell and keeps the line numbers", function()
    assert.is_table(load_job("#!/usr/bin/env moonfleet\nreturn { map = print }").options)
    assert.equal("jobs/x.lua:2: boom", (raised("#!/bin/x\nerror('boom')")))
    assert.is_table(load_job("\u{FEFF}return { map = print }").options)
  end)

  it("remembers the text, so that the job's functions can be shipped", function()
    local loaded = load_job("#!/bin/x\nlocal n = 2\nreturn { map = function(x) return n * x end }")
    assert.equal(6, shipping.send(loaded.map)(3))
    assert.equal("@jobs/x.lua", debug.getinfo(shipping.send(loaded.map), "S").source)
  end)

  it("reports syntax errors with file and line", function()
    assert.matches("^jobs/x%.lua:2: .+ near 'end'$", failure("local x =\nend"))
    assert.matches("^jobs/x%.lua:1: .+ near <eof>$", failure("return {"))
    assert.matches("^jobs/x%.lua:1: ", failure("return '\27[31m"))
  end)

  it("refuses compiled chunks", function()
    assert.matches("^jobs/x%.lua: attempt to load a binary chunk",
      failure(string.dump(function() return {} end)))
  end)

  it("reports what the script raised in one line", function()
    assert.equal("jobs/x.lua:1: attempt to index a nil value (local 'a')",
      (raised("local a; a.b = 1")))
    assert.equal("jobs/x.lua: bare", (raised("error('bare', 0)")))
    assert.matches("^jobs/x%.lua: ", (raised("error()")))
    assert.equal("jobs/x.lua: 42", (raised("error(42)")))
    assert.equal("jobs/x.lua: (error object is a table value: {code = 42, message = \"no\"})",
      (raised("error({ code = 42, message = 'no' })")))
    assert.equal("jobs/x.lua: words", (raised("error(setmetatable({}, "
      .. "{ __tostring = function() return 'words\\nmore' end }))")))
    assert.equal("jobs/x.lua: (error object is a table value: <table>)", (raised(
      "error(setmetatable({}, { __tostring = function() error('no') end }))")))
    assert.equal("jobs/x.lua: no such node", (raised("error({ kind = 'lost', "
      .. "message = 'no such node' })")))
  end)

  it("takes a module that is not there for a mistake in the script", function()
    local function message(name)
      local loaded, err = job.load(("local x = require(%q)"):format(name), "@jobs/x.lua")
      assert.is_nil(loaded)
      assert.equal("usage", err.kind)
      return err.message
    end
    assert.equal("jobs/x.lua:1: module 'flet' not found; did you mean 'fleet'?", message("flet"))
    assert.equal("jobs/x.lua:1: module 'fleet.htp' not found; did you mean 'fleet.http'?",
      message("fleet.htp"))
    assert.matches("^jobs/x.lua:1: module 'no.such' not found; it is neither of the library nor on "
      .. "package.path: ", message("no.such"))
    local loaded = job.load("return { map = print, summary = tostring(pcall(require, 'no.such')) }",
      "@jobs/x.lua")
    assert.equal("false", loaded.summary)
  end)

  it("has the script's own part of the traceback", function()
    local _, traceback = raised("local function f() error('x') end\nlocal y = f()")
    assert.matches("^stack traceback:\n", traceback)
    assert.matches("jobs/x.lua:1: in", traceback, 1, true)
    assert.matches("jobs/x.lua:2: in main chunk$", traceback)
  end)

  it("gives the script its arguments", function()
    local got
    job.load("take(...)", "@x.lua", { take = function(...) got = table.pack(...) end }, 1, nil)
    assert.same({ n = 2, 1 }, got)
  end)

  it("asks for map", function()
    assert.equal("jobs/x.lua: the job has no map; add map = function(item) ... end",
      failure("return {}"))
    assert.equal("jobs/x.lua: the job's map must be a function, got number",
      failure("return { map = 3 }"))
    assert.equal("jobs/x.lua: returns a function; a job is a table: return { map = ... }",
      failure("return function() end"))
  end)

  it("names the nearest field", function()
    assert.equal("jobs/x.lua: unknown field 'maps' in the job; did you mean 'map'?",
      failure("return { maps = print }"))
    assert.equal("jobs/x.lua: unknown field '1' in the job; known are init, items, map, options, "
      .. "reduce, setup, summary", failure("return { print }"))
    assert.equal("jobs/x.lua: unknown field 'a\\nb' in the job; known are init, items, map, "
      .. "options, reduce, setup, summary", failure("return { map = print, ['a\\nb'] = 1 }"))
  end)

  it("checks the type of every field", function()
    for field, expected in pairs({ items = "a function or a table", setup = "a function",
        reduce = "a function", summary = "a string", options = "a table" }) do
      assert.equal(("jobs/x.lua: the job's %s must be %s, got boolean"):format(field, expected),
        failure(("return { map = print, %s = true }"):format(field)))
    end
    assert.equal("jobs/x.lua: the job has init but no reduce",
      failure("return { map = print, init = 0 }"))
  end)

  local bad_options = {
    ["timout = 1"] = "unknown option 'timout'; did you mean 'timeout'?",
    ["timeout = 0"] = "the job's option 'timeout' must be a positive number, got 0",
    ["timeout = '1'"] = "the job's option 'timeout' must be a positive number, got string",
    ["retries = -1"] = "the job's option 'retries' must be an integer from 0 to 1000000, got -1",
    ["batch = 1 << 40"] = "the job's option 'batch' must be an integer from 1 to 1000000, "
      .. "got 1099511627776",
    ["concurrency = 1.5"] = "the job's option 'concurrency' must be an integer from 1 to 1000000, "
      .. "got 1.5",
    ["unordered = 1"] = "the job's option 'unordered' must be a boolean, got number",
  }
  for options, message in pairs(bad_options) do
    it("refuses the options { " .. options .. " }", function()
      assert.equal("jobs/x.lua: " .. message,
        failure(("return { map = print, options = { %s } }"):format(options)))
    end)
  end
end)
