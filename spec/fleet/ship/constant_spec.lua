-- SPDX-License-Identifier: MIT
local constant = require("fleet.ship.constant")
local parser = require("fleet.ship.parser")

-- The constant that a function sees which uses a variable with this initialiser.
local function of(text)
  local found = assert(parser.functions([[
    local TWO <const> = 2
    local NO <const> = false
    local v
    local it <const> = ]] .. text .. [[

    local function user() return it end
  ]]))
  return found.list[#found.list].free.it.constant
end

describe("a constant", function()
  it("computes as Lua does", function()
    for _, text in ipairs({
      "nil", "true", "false", "'a\\x41\\u{48}\\65'", "[==[\n]]\n]==]", "0x1p4", ".5", "1e308 * 10",
      "2 ^ 3 ^ 2", "-2 ^ 2", "2 ^ -1", "- - 3", "not not nil", "~5 & 3 | 8 ~ 1", "1 << 2 + 3",
      "1 << 63 >> 1", "7 - 2 - 1", "7 // 2 * 3 % 4", "-7 % 3", "1 / 4 / 2", "1 + 2 * 3",
      "(1 + 2) * 3", "((((4))))", "not 1 == nil and 5 or 6", "1 or 2 and 3", "(1 or 2) and 3",
      "nil and 1 or 2", "false or nil", "nil or false and 1", "not (1 and nil) and - (3 - 1)",
      "math.mininteger", "-9223372036854775808", "9223372036854775807 + 1", "3 | 4.0",
    }) do
      local found, expected = of(text), load("return " .. text)()
      if found then
        assert.equal(expected, found.value)
        assert.equal(math.type(expected), math.type(found.value))
      else
        assert.truthy(text:find("==") or text:find("math"), text)
      end
    end
    assert.equal(5, of("TWO * 2 + 1").value)
    assert.equal("x", of("NO or 'x'").value)
  end)

  it("knows where an unknown value does not matter", function()
    for text, value in pairs({
      ["v and false or 3"] = 3,
      ["(v or true) and 3"] = 3,
      ["v.x:y(1, 'z') and nil or 3"] = 3,
      ["(v and 1 or 2) and 3"] = 3,
      ["not (v and NO) and 3"] = 3,
      ["not (v or TWO) or 3"] = 3,
      ["(v and false or 3) + TWO"] = 5,
      ["-(v and false or 3)"] = -3,
      ["v == 1 and v .. 'x' and false or 3"] = 3,
      ["v and 1 + nil and -{} and false or 3"] = 3,
      ["(v and 1 // 0 and 1 | 1.5 and nil) or 3"] = 3,
      ["f { 'x' } [1] 's' ((1)) and false or 3"] = 3,
      ["(#...) and false or 3"] = 3,
      ["{ { 1 or 2, 3 } } and false or 3"] = 3,
      ["function(a, b) while a do repeat until 1 or b end return 1 or 2 end and false or 3"] = 3,
      ["(function() if 1 then for i = 1, 2 do end else return 4 end end)() and NO or 3"] = 3,
      ["v and (v and 1 or v and false) and false or (v or 1) and 3"] = 3,
    }) do
      local found = of(text)
      assert.equal(value, found and found.value, text)
    end
  end)

  it("is nil where it does", function()
    for _, text in ipairs({
      "v", "f()", "...", "{}", "function() return 1 end", "5 < 6", "5 .. 6", "(#'x')",
      "('x'):rep(3)", "('x').y", "('x')[1]", "v or 1", "1 and v", "v and 1", "v and false",
      "not v", "-v", "v + 1", "v and 1 or 2", "v or true and 3", "v and (false or 3)",
      "1 == 1 or 2", "nil + 1", "'1' + 1", "-'1'", "1 // 0", "1 | 1.5", "~true",
      "(v and false) + 1", "(v or 1) + 1",
    }) do
      assert.is_nil(of(text), text)
    end
  end)

  it("runs nothing of the text", function()
    hit = nil -- luacheck: ignore 111
    assert.equal(3, of("(function() hit = true end)() and nil or 3").value)
    assert.is_nil(hit) -- luacheck: ignore 113
  end)
end)

describe("constant.literal", function()
  it("writes a value on one line", function()
    for _, value in ipairs({ false, true, 0, -3, math.mininteger, 0.1, -2.0, math.huge, -math.huge,
      "", "\0\1\r\n\\\n\\n\\\\\n'\"\xff\u{48}]]\026" }) do
      local text = constant.literal(value)
      assert.is_nil(text:find("[\r\n]"))
      local again = load("return " .. text)()
      assert.equal(value, again)
      assert.equal(math.type(value), math.type(again))
    end
    assert.equal("nil", constant.literal(nil))
  end)
end)
