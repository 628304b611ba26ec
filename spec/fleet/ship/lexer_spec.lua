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
    end
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

describe("lexer.tokens", function()
  it("takes as long as a text is, also when that is one line", function()
    local before = os.clock()
    assert.equal(400001, #lexer.tokens(("<a>%"):rep(100000)).kinds)
    assert.is_true(os.clock() - before < 20) -- of looking for a line's end each time: minutes
  end)
end)

describe("lexer.words", function()
  it("has names and what strings are, wherever they stand", function()
    assert.same({ "a", "b", "two words", "x", "long" },
      lexer.words("a.b = 'two words' -- comment\nand x[ [[long]] ]"))
    assert.same({}, lexer.words("'unfinished"))
  end)
end)
