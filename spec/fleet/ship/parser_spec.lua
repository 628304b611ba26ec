-- SPDX-License-Identifier: MIT
local check = require("fleet.base.check")
local parser = require("fleet.ship.parser")

--- The functions of a text, each as "name line-end_line text".
local function functions(text)
  local list = {}
  for i, f in ipairs(assert(parser.functions(text)).list) do
    list[i] = ("%s %d-%d %s"):format(f.name or "?", f.line, f.end_line, text:sub(f.from, f.to))
  end
  return list
end

local function keys(set) return table.concat(check.sorted_keys(set), " ") end

--- Of the function that ends last: names of the variables outside of it.
local function free(text)
  local list = assert(parser.functions(text)).list
  return keys(list[#list].free)
end

local function globals(text)
  local list = assert(parser.functions(text)).list
  return keys(list[#list].globals), list[#list].takes_env
end

describe("parser.functions", function()
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
    local f = parser.functions("function\na\n:\nb\n(\n)\nend").list[1]
    assert.same({ 1, 5, 7, true, false },
      { f.line, f.paren_line, f.end_line, f.method, f.has_parameters })
    f = parser.functions("local f =\nfunction\n(...)\nend").list[1]
    assert.same({ 3, 3, false, true }, { f.line, f.paren_line, f.method, f.has_parameters })
    assert.is_false(parser.functions("function a.b() end").list[1].method)
    assert.is_false(parser.functions("x = a:b(function() end)").list[1].method)
  end)

  it("says what is wrong with what is not Lua", function()
    for _, text in ipairs({ "function f()", "end", "if x then", "until x", "function", "else",
      "local", "x = ", "f(", "{", "'a", "for i do end", "x = 1 +", "local x <const", "::x" }) do
      local found, why = parser.functions(text)
      assert.is_nil(found)
      assert.is_string(why)
    end
  end)

  it("agrees with the compiler on what is a function", function()
    -- every function of the library and of this suite, taken out, compiles
    local count = 0
    local root = arg[0]:match("^(.*)/spec/runner%.lua$") or "."
    for _, name in ipairs({ "scheduler/init", "driver/map", "run/tabular", "ship/lexer",
      "ship/parser",
      "ship/init", "base/check" }) do
      local file = assert(io.open(("%s/lua/fleet/%s.lua"):format(root, name)))
      local text = file:read("a")
      file:close()
      for _, f in ipairs(assert(parser.functions(text)).list) do
        assert(load("return function" .. text:sub(f.from, f.to)))
        count = count + 1
      end
    end
    assert.is_true(count > 100)
  end)
end)

describe("the variables that a function uses", function()
  it("are those outside of it", function()
    assert.equal("a b", free("local a, b, c return function(c) a = b + c local a return a end"))
    assert.equal("a", free("local a return function() return function() return a end end"))
    assert.equal("", free("local a return function() return t.a, { a = 1 }, x:a() end"))
    assert.equal("a t", free("local a, t return function() t[a], t.x = 1 end"))
    assert.equal("t", free("local t return function() function t.x.y:z() return self end end"))
    assert.equal("f", free("local function f() return f() end"))
    assert.equal("", free("local f = function() return f() end"))
  end)

  it("are in scope", function()
    assert.equal("", free("do local a end return function() return a end"))
    assert.equal("a", free("local a do local a end return function() return a end"))
    assert.equal("", free("for a = 1, 2 do end return function() return a end"))
    assert.equal("a b", free("for a, b in x do f(function() return a, b end) end"))
    assert.equal("", free("for a = 1, (function() return a end)() do end"))
    assert.equal("a", free("repeat local a until (function() return a end)()"))
    assert.equal("", free("repeat local a until a f(function() return a end)"))
    assert.equal("", free("if x then local a else f(function() return a end) end"))
    assert.equal("", free("local a = function() return a end"))
    assert.equal("a", free("local a local a = function() return a end"))
  end)

  it("are known to be assigned to", function()
    local list = parser.functions("local a, b, c, d, e, t return function() a = b c, t.x = d "
      .. "function e() end function t.f() end end").list
    assert.equal("a c e", keys(list[#list].assigned))
    assert.equal("a b c d e t", keys(list[#list].free))
  end)

  it("may be declared as in Lua 5.5", function()
    assert.equal("t", free("f(function(...t) end) local t return function() return t end"))
    local inner = parser.functions("return function(a, ...t) return function() return t, a end end")
    assert.equal("a t", keys(inner.list[1].free))
    assert.equal("", free("local a global a return function() return a end"))
    assert.equal("", free("local a global function a() end return function() a = 1 end"))
    assert.equal("a", free("local a global * return function() return a end"))
    assert.equal("a", free("local a do global<const> a, b end return function() return a end"))
    assert.equal("global", free("local global return function() global = 1 global() end"))
    local text = "local <const> a, b = 1, 2 return function() return a, b end"
    local f = parser.functions(text).list[1]
    assert.is_nil(f.free.a.constant)
    assert.equal(2, f.free.b.constant.value)
  end)
end)

describe("constants", function()
  --- Whether A may be one, and its value.
  local function constant(text)
    local list = assert(parser.functions(text .. " return function() return A end")).list
    local variable = list[#list].free.A
    if not variable or not variable.constant then return false end
    return true, variable.constant.value
  end

  it("may be the last of as many variables as there are values", function()
    for text, value in pairs({
      ["local A <const> = 5"] = 5,
      ["local A <const> = -(1 --[[x]] + 0x2)"] = -3,
      ["local B <const> = 1 local A <const> = B<<2"] = 4,
      ["local B <const> = 1 do local B = 2 end local A <const> = B"] = 1,
      ["local A <const> = [[\n]]"] = "",
      ["local a, A <const> = f(), 2"] = 2,
      ["local a, A <const> = function(b) return 1, 2 end, g{3, 4}[5] and nil or 'x'"] = "x",
    }) do
      assert.same({ true, value }, { constant(text) }, text)
    end
  end)

  it("are nothing else", function()
    for _, text in ipairs({ "local A = 5", "local A <close> = nil", "local A <const> = f()",
      "local A <const>, b = 1, 2", "local A <const> = 1, 2", "local a, A <const> = 1",
      "local A <const>", "local B = 1 local A <const> = B",
      "local B <const> = 1 local A <const> = function() local B = f() return B end" }) do
      assert.is_false((constant(text)), text)
    end
  end)
end)

describe("the globals that a function reads", function()
  it("are those of functions inside, too", function()
    assert.equal("a b c", (globals("return function() local x = a b.y = 1 return function() return "
      .. "function() return c end end end")))
    assert.equal("count", (globals("return function() count = count + 1 end")))
    assert.equal("f", (globals("local up = 1 return function() up = f(up) end")))
    assert.equal("a b f", (globals("f(a)(function() end) return function() return f, a.x, b end")))
  end)

  it("are not what is only written, nor fields, nor locals", function()
    assert.equal("", (globals("return function() x = 1 function y() end _ENV.z = 1 end")))
    assert.equal("t", (globals("return function(a) local b = 1 return t.x, a.y, b end")))
    assert.equal("y", (globals("return function() function y.x() end end")))
  end)

  it("are those of no other table", function()
    for _, inner in ipairs({ "local _ENV <const> = {} return other",
      "return function(_ENV) return other end",
      "local _ENV = {} return function() return other end" }) do
      assert.equal("real", (globals("return function() real() " .. inner .. " end")))
    end
    assert.equal("a", (globals("local _ENV = {} return function() return a end")))
  end)

  it("may be any when their table is taken", function()
    assert.same({ "", true }, { globals("return function() return _ENV end") })
    assert.same({ "a", false }, { globals("return function() return _ENV.a end") })
    assert.same({ "k", true }, { globals("return function() return _ENV[k] end") })
    assert.same({ "", false }, { globals("return function(_ENV) return _ENV end") })
    local found = parser.functions("return function() _ENV = {} end").list[1]
    assert.is_true(found.assigned._ENV)
    assert.is_true(found.takes_env)
  end)
end)
