-- SPDX-License-Identifier: MIT
local lexer = require("fleet.ship.lexer")

--- The tokens of a text as their own texts, with the kinds of names and literals.
local function tokens(text)
  local t, list = lexer.tokens(text), {}
  for i, kind in ipairs(t.kinds) do
    local word = text:sub(t.starts[i], t.stops[i])
    list[i] = kind == word and word or kind == "eof" and "eof" or kind .. " " .. word
  end
  return table.concat(list, "|")
end

--- The functions of a text, each as "name line-end_line text".
local function functions(text)
  local list = {}
  for i, f in ipairs(assert(lexer.functions(text))) do
    list[i] = ("%s %d-%d %s"):format(f.name or "?", f.line, f.end_line, text:sub(f.from, f.to))
  end
  return list
end

local function constants(text)
  local list = {}
  for i, f in ipairs(assert(lexer.functions(text))) do
    local seen, constant = {}, f.constant
    while constant do
      table.insert(seen, 1, constant.text)
      constant = constant.before
    end
    list[i] = table.concat(seen)
  end
  return list
end

describe("lexer.tokens", function()
  it("tells names, keywords and operators", function()
    assert.equal("local|name a|=|name b_1|//|name ends|>=|name c|...|eof",
      tokens("local a=b_1//ends >= c ..."))
    assert.equal("::|name x|::|goto|name x|~|=|~=|name y|<<|>>|..|.|eof",
      tokens("::x:: goto x ~ = ~=y << >> .. ."))
  end)

  it("reads numerals to their end", function()
    for _, numeral in ipairs({ "0", "3.", ".5", "1e10", "1E-3", "2.5e+7", "0x1F", "0xA.8p-2",
      "0x.1P+4", "9007199254740993", "0xe" }) do
      assert.equal(("number %s|+|name x|eof"):format(numeral), tokens(numeral .. " + x"))
      assert.equal(("(|number %s|)|eof"):format(numeral), tokens("(" .. numeral .. ")"))
    end
    assert.equal("number 0xe|+|number 1|eof", tokens("0xe+1")) -- no exponent in hexadecimal
    assert.equal("name a|.|name b|..|number .5|eof", tokens("a.b .. .5"))
  end)

  it("reads strings with all their escapes", function()
    for _, literal in ipairs({ [["a"]], [['a"b']], [["a\"b"]], [["a\\"]], [['\'']], [["\z
      end"]], "'a\\\nb'", "[[a]]", "[==[ ]] ]=] ]==]", "[[\nfunction]]", [["\u{48}\x41\065"]],
      [["--"]], [["[["]] }) do
      assert.equal(("name x|=|string %s|;|eof"):format(literal), tokens("x=" .. literal .. ";"))
    end
  end)

  it("skips comments and the first line with #", function()
    assert.equal("name a|name b|name c|name d|eof",
      tokens("#!/usr/bin/lua end\na -- b end\nb --[[ c\nend ]] c --[==[ ]] ]==]d --[=x"))
    assert.equal("eof", tokens(""))
    assert.equal("eof", tokens("#only"))
    assert.equal("name a|eof", tokens("\u{FEFF}a"))
    assert.equal("#|name t|eof", tokens(" #t"))
  end)

  it("knows the line of each, however lines end", function()
    for _, ending in ipairs({ "\n", "\r", "\r\n", "\n\r" }) do
      local text = ("a|[[|]] b|'x\\|y'|--[[|]]--|c"):gsub("|", ending)
      assert.same({ 1, 3, 3, 5, 8, 8 }, lexer.tokens(text).lines)
    end
  end)

  it("raises for what is not Lua", function()
    for _, text in ipairs({ "'a", '"a\\', "[[a", "--[==[ a ]]" }) do
      assert.has_error(function() lexer.tokens(text) end)
      assert.is_nil((lexer.functions(text)))
    end
  end)
end)

describe("lexer.functions", function()
  it("finds each with its name and extent", function()
    assert.same({
      "f 1-1 () end", "a.b.c 1-1 (x) return x end", "a.b:m 2-2 (...) end", "g 2-2 () end",
      "h 3-3 () end", "t.x.y 3-3 () end", "? 4-4 () end", "k 4-4 () end", "? 4-4 () end",
    }, functions([[
local function f() end function a.b.c(x) return x end
function a.b:m(...) end local g = function() end
h = function() end t.x.y = function() end
call(function() end, {k = function() end, function() end})]]))
  end)

  it("gives inner ones before outer ones", function()
    assert.same({ "inner 2-3 ()\nend", "outer 1-4 ()\nlocal function inner()\nend\nend" },
      functions("function outer()\nlocal function inner()\nend\nend"))
  end)

  it("matches every block with its end", function()
    local body = [==[()
      if a then elseif b then else end
      while f(function() while x do end return y end) do break end
      for i = 1, 2 do do end end
      for k in pairs(t) do if k then goto next end ::next:: end
      repeat local x = 1 until (function() return x end)() == 1
      do local t = { ["end"] = "end", fend = 1 } --[[ end ]] end
      return function() end
    end]==]
    local found = functions("function f" .. body .. " do end")
    assert.equal(4, #found)
    assert.equal("f 1-9 " .. body, found[4])
  end)

  it("tells the line of function from that of the parenthesis, and methods", function()
    local f = lexer.functions("function\na\n:\nb\n(\n)\nend")[1]
    assert.same({ 1, 5, 7, true }, { f.line, f.paren_line, f.end_line, f.method })
    assert.is_false(lexer.functions("function a.b() end")[1].method)
    assert.is_false(lexer.functions("x = a:b(function() end)")[1].method)
  end)

  it("says what is wrong when blocks do not match", function()
    for _, text in ipairs({ "function f()", "end", "if x then", "until x", "function", "else" }) do
      local list, why = lexer.functions(text)
      assert.is_nil(list)
      assert.is_string(why)
    end
  end)

  it("agrees with the compiler on what is a function", function()
    -- every function of the library and of this suite, taken out, compiles
    local count = 0
    local root = arg[0]:match("^(.*)/spec/runner%.lua$") or "."
    for _, name in ipairs({ "scheduler/init", "map", "run/tabular", "ship/lexer", "ship/init",
      "check" }) do
      local file = assert(io.open(("%s/lua/fleet/%s.lua"):format(root, name)))
      local text = file:read("a")
      file:close()
      for _, f in ipairs(assert(lexer.functions(text))) do
        assert(load("return function" .. text:sub(f.from, f.to)))
        count = count + 1
      end
    end
    assert.is_true(count > 100)
  end)

  describe("knows the constants in sight:", function()
    it("literals and what is computed from them", function()
      assert.same({ "local A <const> = 5;" }, constants("local A <const> = 5 f(function() end)"))
      assert.same({ "local A <const> = - ( 1 + 0x2 );local B <const> = A << 2;" },
        constants("local A <const> = -(1 + 0x2) local B<const> =A<<2; return function() end"))
      assert.same({ "local S <const> = [[\n]];local N <const> = nil;local T <const> = not true;" },
        constants("local S <const> = [[\n]] local N <const> = nil local T <const> = not true "
          .. "return function() end"))
      assert.same({ "local B <const> = 2;" },
        constants("local a, B <const> = 1, 2 return function() end"))
      assert.same({ "local A <const> = 5;" },
        constants("local A <const> = 5 (f or g)(function() end)"))
    end)

    it("not what the compiler does not take for one", function()
      for _, text in ipairs({ "local A = 5", "local A <close> = nil", "local A <const> = f()",
        "local A <const> = {}", "local A <const> = x", "local A <const>, b = 1, 2",
        "local A <const> = 1, 2", "local a, A <const> = 1", "local A <const>",
        "local A <const> = 5 < 6", "local A <const> = 5 .. 6", "local A <const> = ('x'):rep(3)",
        "local A <const> = ('x').y", "local A <const> = #'x'", "local A <const> = x or 1" }) do
        assert.same({ "" }, constants(text .. " return function() end"))
      end
    end)

    it("within their block, from their declaration on", function()
      assert.same({ "", "local A <const> = 1;", "" }, constants([[
        do f(function() end) local A <const> = 1 f(function() end) end f(function() end)]]))
      assert.same({ "local A <const> = 1;", "", "" }, constants([[
        if x then local A <const> = 1 f(function() end) elseif y then f(function() end)
        else f(function() end) end]]))
      assert.same({ "local A <const> = 1;local B <const> = 2;", "local A <const> = 1;" },
        constants("local A <const> = 1 return function() local B <const> = 2 "
          .. "return function() end end"))
    end)
  end)
end)

describe("lexer.requires", function()
  it("finds the names that stand in the text", function()
    assert.same({ "a", "b.c", "d", "e\"f", "g" }, lexer.requires([==[
      local a = require("a") require 'b.c' require [[d]] local ok, x = pcall(require, "e\"f")
      return function() return require("g").x, require("a") end]==]))
  end)

  it("finds none where there is none", function()
    assert.same({}, lexer.requires([==[
      -- require("a")
      local s = [[require("b")]]
      require(name) require(x["y"]) local required = x["require"]
    ]==]))
    assert.same({}, lexer.requires("require 'unfinished"))
  end)
end)
