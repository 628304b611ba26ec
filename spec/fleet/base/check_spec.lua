-- SPDX-License-Identifier: MIT
local check = require("fleet.base.check")

local SCHEMA = {
  timeout = "number",
  retries = "integer",
  output = "string",
  order = "boolean",
  headers = "table",
  on_error = "function",
  tag = "any",
  input = { "lines", "jsonl" },
  delay = check.non_negative,
  deadline = check.positive,
}

-- The callee of the tests, a function of the library by the name of its chunk: errors must point
-- at its caller.
local get = assert(load([[
local check, schema = ...
local function inner(opts) return (check.options("http.get", opts, schema)) end
return function(opts)
  local checked = inner(opts)
  return checked
end
]], "@lua/fleet/callee.lua"))(check, SCHEMA)

local function failure(opts)
  local ok, message = pcall(function() get(opts) end)
  assert.is_false(ok)
  return message
end

describe("check.options", function()
  it("gives an empty table for nil", function()
    assert.same({}, get(nil))
  end)

  it("accepts every type it names and returns a copy", function()
    local opts = { timeout = 1.5, retries = 0, output = "", order = false, headers = {},
      on_error = print, tag = false, input = "jsonl", delay = 0, deadline = math.huge }
    local checked = get(opts)
    assert.same(opts, checked)
    assert.are_not.equal(opts, checked)
  end)

  it("takes 1e6 for an integer and hands out an integer", function()
    assert.equal("integer", math.type(get({ retries = 1e6 }).retries))
    assert.matches("'retries' must be an integer, got 1.5$", failure({ retries = 1.5 }))
    assert.matches("'retries' must be an integer, got inf$", failure({ retries = math.huge }))
    assert.matches("'retries' must be an integer, got string$", failure({ retries = "2" }))
  end)

  it("blames the line of the user's call", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local ok, message = pcall(function() get({ timeout = "soon" }) end)
    assert.is_false(ok)
    assert.matches("check_spec.lua:" .. line .. ": http.get: option 'timeout' must be a number, "
      .. "got string$", message)
  end)

  it("refuses options that are no table", function()
    assert.matches("http.get: options must be a table, got string$", failure("30"))
    assert.matches("http.get: options must be a table, got boolean$", failure(false))
  end)

  it("names the nearest option for an unknown one", function()
    assert.matches("http.get: unknown option 'time_out'; did you mean 'timeout'%?$",
      failure({ time_out = 1 }))
    assert.matches("did you mean 'order'%?$", failure({ roder = true }))
    assert.matches("did you mean 'headers'%?$", failure({ head = {} }))
  end)

  it("lists the known options when none is near", function()
    assert.matches("unknown option 'proxy'; known are deadline, delay, headers, input, "
      .. "on_error, order, output, retries, tag, timeout$", failure({ proxy = 1 }))
    assert.matches("unknown option 1; known are ", failure({ "timeout" }))
    assert.matches("unknown option table; known are ", failure({ [{}] = 1 }))
    local ok, message = pcall(check.options, "f", { x = 1 }, {})
    assert.is_false(ok)
    assert.matches("f: unknown option 'x'; there are none$", message)
  end)

  it("names the allowed words", function()
    assert.matches("option 'input' must be 'lines' or 'jsonl', got 'csv'$",
      failure({ input = "csv" }))
    assert.matches("option 'input' must be 'lines' or 'jsonl', got table$",
      failure({ input = {} }))
    local _, message = pcall(check.options, "f", { x = 1 }, { x = { "a", "b", "c" } })
    assert.matches("must be 'a', 'b' or 'c', got 1$", message)
  end)

  it("uses the message of a function", function()
    local schema = {
      even = function(n) return n % 2 == 0 or nil, "must be even" end,
      never = function() return nil end,
    }
    assert.same({ even = 4 }, check.options("f", { even = 4 }, schema))
    local _, message = pcall(check.options, "f", { even = 3 }, schema)
    assert.matches("f: option 'even' must be even$", message)
    _, message = pcall(check.options, "f", { never = 3 }, schema)
    assert.matches("f: option 'never' is not valid$", message)
  end)

  it("has rules for positive and non-negative numbers", function()
    assert.matches("'deadline' must be a positive number, got 0$", failure({ deadline = 0 }))
    assert.matches("'deadline' must be a positive number, got string$", failure({ deadline = "1" }))
    assert.matches("'deadline' must be a positive number, got %-?nan$",
      failure({ deadline = 0 / 0 }))
    assert.matches("'delay' must be a number of at least 0, got %-1$", failure({ delay = -1 }))
  end)
end)

describe("check.nearest", function()
  local commands = { "run", "eval", "repl", "serve", "nodes", "doctor", "keygen", "version" }

  it("finds typing errors, swaps and beginnings", function()
    assert.equal("eval", check.nearest("evla", commands))
    assert.equal("serve", check.nearest("servre", commands))
    assert.equal("run", check.nearest("rnu", commands))
    assert.equal("nodes", check.nearest("node", commands))
    assert.equal("version", check.nearest("ver", commands))
    assert.equal("doctor", check.nearest("DOCTOR", commands))
    assert.equal("keygen", check.nearest("kyegne", commands))
  end)

  it("prefers the nearer word, the first of equals", function()
    assert.equal("abcd", check.nearest("abcx", { "abyy", "abcd", "abce" }))
  end)

  it("finds nothing for words that are far away, short or empty", function()
    assert.is_nil(check.nearest("deploy", commands))
    assert.is_nil(check.nearest("x", commands))
    assert.is_nil(check.nearest("", commands))
    assert.is_nil(check.nearest("eval", {}))
    assert.is_nil(check.nearest(("e"):rep(100000), commands))
  end)
end)

describe("check.length", function()
  it("counts to the last element, over holes, or is what the list says", function()
    for _, case in ipairs({
      { 0, {} }, { 3, { 1, 2, 3 } }, { 3, { 1, nil, 3 } }, { 4, { nil, nil, nil, 4 } },
      { 9, { [2] = true, [9] = true } }, { 2, { 1, 2, x = 3, [2.5] = 4, [-7] = 5, [0] = 6 } },
      { 5, { 1, nil, 3, n = 5 } }, { 0, { 1, n = 0 } }, { 1, { 1, n = "x" } },
    }) do
      assert.equal(case[1], check.length(case[2]))
    end
    local filled = {}
    for i = 1, 100 do filled[i] = i end
    for i = 1, 99 do
      filled[i] = nil
      assert.equal(100, check.length(filled))
    end
  end)

  it("respects what an object says of its own length", function()
    assert.equal(7, check.length(setmetatable({}, { __len = function() return 7 end })))
  end)
end)

describe("check.integer", function()
  it("accepts integers of its range only, and says what it got", function()
    local rule = check.integer(0, 10)
    for _, value in ipairs({ 0, 7, 10 }) do assert.is_true(rule(value)) end
    for _, case in ipairs({ { -1, "-1" }, { 11, "11" }, { 2.0, "2.0" }, { "3", "string" } }) do
      local ok, message = rule(case[1])
      assert.is_nil(ok)
      assert.equal("must be an integer from 0 to 10, got " .. case[2], message)
    end
    assert.is_true(check.integer(0)(math.maxinteger))
    assert.same({ nil, "must be an integer of at least 0, got -1" }, { check.integer(0)(-1) })
  end)
end)

describe("check.callable", function()
  it("raises for anything but a function", function()
    check.callable("f", print)
    assert.error_matches(function() check.callable("f", 5) end,
      "f: a function expected, got number")
  end)
end)
