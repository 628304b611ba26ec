-- SPDX-License-Identifier: MIT
local errors = require("fleet.errors")
local pretty = require("fleet.base.pretty")

describe("pretty.format", function()
  it("tells integers from floats and strings from all else", function()
    for shown, value in pairs({
      ["1"] = 1, ["1.0"] = 1.0, ["0.1"] = 0.1, ["1e+100"] = 1e100, ["inf"] = math.huge,
      ["-inf"] = -math.huge, ["-9223372036854775808"] = math.mininteger, ['"1"'] = "1",
      ["true"] = true, ["0.30000000000000004"] = 0.1 + 0.2,
    }) do
      assert.equal(shown, pretty.format(value))
    end
    assert.equal("nil", pretty.format(nil))
    assert.equal("nan", pretty.format(0 / 0))
    assert.equal("nan", pretty.format(-(0 / 0)))
  end)

  it("writes strings as Lua reads them", function()
    for _, s in ipairs({
      "", "a\nb\tc", 'say "x"', "it's", [[both ' and "]], "back\\slash", "\0\1\27[31m\127",
      "gr\xfc\xdfe", "Grüße 世界", "\u{202e}", "\a\b\f\v\r",
    }) do
      local shown = pretty.format(s)
      assert.is_nil(shown:find("%c"))
      assert.equal(s, load("return " .. shown)())
    end
  end)

  it("cuts long strings between characters, and says so", function()
    assert.equal('"aa"... 3 more bytes', pretty.format("aaaaa", { string = 2 }))
    assert.equal('"ü"... 2 more bytes', pretty.format("üü", { string = 3 }))
  end)

  it("puts the list first, then the other keys in order", function()
    assert.equal('{1, nil, a = 1, b = 2, [true] = 0}',
      (pretty.format({ 1, [true] = 0, b = 2, a = 1 }):gsub("1, a", "1, nil, a")))
    assert.equal('{[-1] = 1, [0] = 2, [1.5] = 3, ["a b"] = 4, ["end"] = 5, x = 6}',
      pretty.format({ x = 6, ["end"] = 5, ["a b"] = 4, [1.5] = 3, [0] = 2, [-1] = 1 }))
    assert.equal("{}", pretty.format({}))
  end)

  it("gives what is wider than the terminal several lines", function()
    assert.equal('{\n  a = {1, 2, 3},\n  b = {\n    c = "xxxxxxxx",\n    d = "yyyyyyyy",\n  },\n}',
      pretty.format({ a = { 1, 2, 3 }, b = { c = "xxxxxxxx", d = "yyyyyyyy" } }, { width = 24 }))
    assert.equal("{\n  10, 20, 30,\n  40, 50,\n}",
      pretty.format({ 10, 20, 30, 40, 50 }, { width = 15 }))
  end)

  it("keeps within the width", function()
    local list = {}
    for i = 1, 200 do list[i] = { id = i, name = ("n"):rep(i % 30), tags = { "a", i } } end
    for line in (pretty.format(list, { width = 60 }) .. "\n"):gmatch("([^\n]*)\n") do
      assert.is_true(#line <= 60, line)
    end
  end)

  it("says how much it leaves out", function()
    assert.equal("{1, 2, ... 3 more}", pretty.format({ 1, 2, 3, 4, 5 }, { items = 2 }))
    assert.equal("{a = 1, ... 1 more}", pretty.format({ a = 1, b = 2 }, { items = 1 }))
    assert.equal("{a = {b = {... 1 entry}}}",
      pretty.format({ a = { b = { c = 1 } } }, { depth = 2 }))
    assert.equal("{{... 2 entries}}", pretty.format({ { 1, 2 } }, { depth = 1 }))
    local wide = {}
    for i = 1, 100 do
      wide[i] = {}
      for j = 1, 100 do wide[i][j] = i * j end
    end
    assert.is_true(#pretty.format(wide, { total = 100 }) < 1000)
    assert.matches("... %d+ more", pretty.format(wide, { total = 100 }))
  end)

  it("marks cycles by their path, and shows what is there twice", function()
    local t = { a = { b = {} } }
    t.a.b.up, t.a.b.top = t.a, t
    assert.equal("{a = {b = {top = <cycle: value>, up = <cycle: value.a>}}}", pretty.format(t))
    local shared = { 1 }
    assert.equal("{{1}, {1}}", pretty.format({ shared, shared }))
  end)

  it("names what is no data", function()
    assert.equal("<function: built in>", pretty.format(print))
    assert.matches("^<function: .*pretty_spec.lua:%d+>$", pretty.format(function() end))
    assert.equal("<coroutine: suspended>", pretty.format(coroutine.create(print)))
    assert.matches("^<FILE%*: file %(0x%x+%)>$", pretty.format(io.stdout))
    assert.equal("{[<function: built in>] = 1}", pretty.format({ [print] = 1 }))
    local point = setmetatable({}, { __tostring = function() return "(1, 2)" end })
    assert.equal("<(1, 2)>", pretty.format(point))
    local broken = setmetatable({}, { __tostring = function() error("no") end })
    assert.equal("<table>", pretty.format(broken))
  end)

  it("never calls metamethods that read or iterate", function()
    local t = setmetatable({ 1 }, {
      __index = function() error("read") end, __pairs = function() error("pairs") end,
      __len = function() error("length") end,
    })
    assert.equal("{1}", pretty.format(t))
  end)

  it("colours, and is as wide then", function()
    local shown = pretty.format({ a = "x" }, { color = true })
    assert.matches("\27[32m\"x\"\27[0m", shown, 1, true)
    assert.equal('{a = "x"}', (shown:gsub("\27%[%d+m", "")))
  end)
end)

describe("pretty.error", function()
  local err = errors.new({
    kind = "raise", message = "a\27[31m", node = "n1", traceback = "stack traceback:\n\tx",
  })

  it("is the kind and the message, the traceback below", function()
    assert.equal("raise: a\\x1b[31m (node n1)\nstack traceback:\n  x", pretty.error(err))
    assert.equal(pretty.error(err), pretty.format(err))
    assert.equal("boom\nhere", pretty.error("boom", "here"))
    assert.equal("error: {1}", pretty.error({ 1 }))
    assert.equal("error: nil", pretty.error(nil))
  end)

  it("is one line inside of a table", function()
    assert.equal("{<raise: a\\x1b[31m>}", pretty.format({ err }))
  end)
end)

describe("pretty.values", function()
  it("are on one line when they fit", function()
    assert.equal('1, nil, "a"', pretty.values({ n = 3, 1, nil, "a" }))
    assert.equal("", pretty.values({ n = 0 }))
    assert.equal('"aaaa"\n"bbbb"', pretty.values({ n = 2, "aaaa", "bbbb" }, { width = 10 }))
  end)
end)

describe("pretty.is_name", function()
  it("knows names from keywords and other strings", function()
    assert.is_true(pretty.is_name("_a1"))
    for _, s in ipairs({ "end", "1a", "", "a b", 1 }) do assert.is_false(pretty.is_name(s)) end
  end)
end)

describe("pretty.line", function()
  it("has no line feed, and no more bytes than it may", function()
    assert.equal("{code = 3}", pretty.line({ code = 3 }, 100))
    local wide = {}
    for i = 1, 50 do wide[i] = ("x"):rep(150) end
    local line = pretty.line(wide, 1000)
    assert.equal(1003, #line)
    assert.matches('^{"x+", "x+", [^\n]*%.%.%.$', line)
  end)
end)
