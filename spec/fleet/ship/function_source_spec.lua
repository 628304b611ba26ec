-- SPDX-License-Identifier: MIT
local function_source = require("fleet.ship.function_source")
local source_cache = require("fleet.ship.source_cache")

--- What a text returns, loaded as "@text.lua".
local function run(text, ...) return assert(source_cache.load(text, "@text.lua"))(...) end

--- The function that its source compiles to.
local function again(f)
  local found = assert(function_source.of(f))
  local maker = assert(function_source.compile(found.text, found.chunk, found.line, _G))
  return found.line > 0 and maker() or maker
end

local function lines_of(f)
  local info = debug.getinfo(f, "SL")
  local lines = {}
  for line in pairs(info.activelines) do lines[#lines + 1] = line end
  table.sort(lines)
  return { info.source, info.linedefined, info.lastlinedefined, lines }
end

describe("function_source.of", function()
  it("finds functions of every form, on their own lines", function()
    local list = run([[
      local list = {}
      local function a(x)
        return x
      end
      function list.b(x, ...) return x, ... end
      function list:c() return self end
      function list:d(x) return self, x end
      list.e = function()
        return function()
          return 1
        end
      end
      list[1], list[2] = a, list.e()
      return list
    ]])
    local names = {}
    for key, f in pairs(list) do
      names[key] = function_source.of(f).name or false
      assert.same(lines_of(f), lines_of(again(f)))
    end
    assert.same({ false, b = "list.b", c = "list:c", d = "list:d", e = "list.e" },
      { names[2], b = names.b, c = names.c, d = names.d, e = names.e })
    assert.equal("a", names[1])
    assert.equal(7, again(list.c)(7))
    assert.same({ 1, 2 }, { again(list.d)(1, 2) })
    assert.equal("text.lua:2", function_source.of(list[1]).place)
  end)

  it("tells functions on one line apart by their code", function()
    local list = run([[local u, v = 1, 2
      return { function() return 1 end, function() return 2 end, function() return u end,
        function() return v end, function() return 1 end, function() u = 1 end,
        function(a) return a end, function(...) return ... end, function() return x end,
        function() return function() return 1 end end, function() return function() end end }]])
    for i, f in ipairs(list) do
      local text = function_source.of(f).text
      assert.equal(({
        "return function() return 1 end", "return function() return 2 end",
        "local u;return function() return u end", "local v;return function() return v end",
        "return function() return 1 end", "local u;return function() u = 1 end",
        "return function(a) return a end", "return function(...) return ... end",
        "return function() return x end", "return function() return function() return 1 end end",
        "return function() return function() end end",
      })[i], text)
    end
  end)

  it("finds whole chunks: with a name, without one, from a file's first line on", function()
    for _, f in ipairs({ load("return ..."), load("return ...", "=name"),
      load("\n\nreturn ...", "@file") }) do
      local found = function_source.of(f)
      assert.equal(0, found.line)
      assert.equal("it", again(f)("it"))
    end
    local long = load("local a = 1 -- " .. ("x"):rep(100) .. "\nreturn function() error(a) end")
    assert.is_true(#function_source.of(long).chunk < 80)
    assert.equal(debug.getinfo(long, "S").short_src, debug.getinfo(again(long), "S").short_src)
    assert.equal(debug.getinfo(long(), "S").short_src, debug.getinfo(again(long()), "S").short_src)
  end)

  it("adds the compile-time constants that a function uses", function()
    local list = run([[
      local A <const> = 5; local B <const> = A * 2 + 1; local S <const> = "s"
      local LONG <const> = [=[
two
lines]=]
      local unused <const> = 7
      local list = { function() return A end, function() return B, S end,
        function() return function() return LONG end end }
      do
        local A <const> = "inner"
        list[4] = function() return A, B end
      end
      list[5] = function(A) return A end
      local A = tostring(6)
      list[6] = function() return A, B end
      return list]])
    assert.equal("local A <const> = 5;return function() return A end",
      function_source.of(list[1]).text)
    assert.equal("local B <const> = 11;local S <const> = \"s\";return function() return B, S end",
      function_source.of(list[2]).text)
    assert.equal(5, again(list[1])())
    assert.same({ 11, "s" }, { again(list[2])() })
    assert.equal("two\nlines", again(list[3])()())
    assert.same(lines_of(list[3]()), lines_of(again(list[3])()))
    assert.same({ "inner", 11 }, { again(list[4])() })
    assert.equal(8, again(list[5])(8))
    assert.same({ nil, 11 }, { again(list[6])() })
    assert.same({ "A" }, function_source.of(list[6]).names)
  end)

  it("knows a compile-time constant from a variable that is one only once", function()
    -- each text declares K, which the function returns, and says whether it is an upvalue
    for text, is_upvalue in pairs({
      ["local K <const> = 1"] = false,
      ["local v, K <const> = print, 2"] = false,
      ["local v, w <const>, K <const> = f, 1, 'x'"] = false,
      ["local v <const>, K <close> = 1, nil"] = true,
      ["local K <const>, v = 2, 3"] = true,
      ["local K <const>, b <close> = 4, nil"] = true,
      ["local v, K <const> = 1"] = true,
      ["local K <const>"] = true,
      ["local K <const> = 1, 2"] = true,
      ["local K <const> = false or 7"] = false,
      ["local K <const> = nil or false or 'x'"] = false,
      ["local K <const> = true and 1 and 'y'"] = false,
      ["local K <const> = nil and 1"] = true,
      ["local K <const> = 1 or 2"] = true,
      ["local D <const> = true local K <const> = D and 3"] = false,
      ["local D <const> = true local K <const> = D and 3 or 4"] = true,
      ["local K <const> = ((2)) --[[ comment ]] ^ -- and\n (3 // 1)"] = false,
      ["local K <const> = 1 / 0"] = true,
      ["local K <const> = 0.0"] = false,
      ["local K <const> = -0.0"] = true,
      ["local K <const> = 1e308 * 10"] = false,
      ["local K <const> = '10' + 1"] = true,
      ["local K <const> = not 'x'"] = false,
      ["local K <const> = 'a' .. 'b'"] = true,
      ["local K <const> = #'abc'"] = true,
      ["local K <const> = 1 < 2"] = true,
      ["local K <const> = ('x'):rep(3)"] = true,
      ["local K <const> = x"] = true,
      ["local A <const> = 1 local B <const> = A + 1 local A <const> = B local K <const> = A"]
        = false,
      ["local A <const> = 1 do local A <const> = 2 end local K < --[[]] const -- x\n > = A"]
        = false,
      ["local function A() end local K <const> = A and 1"] = true,
      -- what Lua knows although it does not know all of the initialiser
      ["local K <const> = f and false or 7"] = false,
      ["local v = {} local K <const> = (v.x == 1 or true) and 's'"] = false,
      ["local K <const> = (tostring(f) and nil or 3) + 2"] = false,
      ["local K <const> = -((f and 1 or 2) and 3)"] = false,
      ["local K <const> = not (f and false) and 3"] = false,
      ["local v, K <const> = 1, (function(a) return 1 or a end)() == {} and nil or 9"] = false,
      ["local D <const> = f and nil or 4 local K <const> = D * 2"] = false,
      ["local K <const> = f and false"] = true,
      ["local K <const> = not (f and false)"] = true,
      ["local K <const> = f or true and 3"] = true,
      ["local K <const> = f and 1 or 2"] = true,
    }) do
      for _, body in ipairs({ "function() return K end",
        "function() if x then return function() return K end end return K end" }) do
        local f = run(text .. "\nreturn " .. body)
        assert.equal(is_upvalue, debug.getupvalue(f, 1) == "K" or debug.getupvalue(f, 2) == "K")
        local copy = again(f)
        if not is_upvalue then assert.equal(f(), copy()) end
        assert.same(lines_of(f), lines_of(copy))
      end
    end
  end)

  it("leaves out what was called before a constant was known", function()
    local calls = 0
    local f = run([[
      local count = ...
      local K <const> = count() and false or 3
      local N <const> =
        (count() or true) and K + 1
      return function() return K, N end]], function() calls = calls + 1 end)
    assert.equal(2, calls)
    assert.equal("local K <const> = 3;local N <const> = 4;return function() return K, N end",
      function_source.of(f).text)
    assert.same({ 3, 4 }, { again(f)() })
    assert.same(lines_of(f), lines_of(again(f)))
    assert.equal(2, calls)
  end)

  it("takes comments and line ends anywhere", function()
    local list = run([=[
      local t, list = {}, {}
      function t --[[ a ]] . -- b
        u -- c
        ( --[==[ ) end ]==] ) return 1 end
      function t:m(--[[ nothing ]]) return self end
      function t:n(-- first
        a --[[,]], ...) return self, a, ... end
      local function
        f
        (a, --[[ b ]] b) return a, b end
      list[1], list[2], list[3], list[4] = t.u, t.m, t.n, f
      list[5] = function --[[ x ]] (
        --[[ y ]] ) --[[ ( ]] return 5 end
      return list]=])
    for _, f in ipairs(list) do assert.same(lines_of(f), lines_of(again(f))) end
    assert.same({ 2, 4 }, { debug.getinfo(again(list[1]), "S").linedefined,
      debug.getinfo(again(list[1]), "S").lastlinedefined })
    assert.same({ 1, 7, 5 }, { again(list[1])(), again(list[2])(7), again(list[5])() })
    assert.same({ 1, 2, 3 }, { again(list[3])(1, 2, 3) })
  end)

  if load("global x") then
    it("takes what Lua 5.5 adds", function()
      local list = run([[
        local list = {}
        local <const> A, B = f and 1, 2
        global <const> print, tostring
        global text
        global function make(a, ...rest) return function() return a, rest.n, A, B, text end end
        do
          local text <const> = "hidden"
          global text
          list[1] = function() return text, B end
        end
        for i = 1, 2 do list[i + 1] = function() return i, B, tostring(i) end end
        list[4] = make
        list[5] = function() global * return anything, print end
        global none = nil
        return list]])
      for _, f in ipairs(list) do assert.same(lines_of(f), lines_of(again(f))) end
      assert.same({ nil, 2 }, { again(list[1])() })
      assert.same({ text = true }, function_source.of(list[1]).globals)
      assert.same({ nil, 2, "nil" }, { again(list[2])() })
      assert.same({ "a", "rest", "A", "_ENV" }, function_source.of(list[4](1)).names)
      assert.same({ anything = true, print = true }, function_source.of(list[5]).globals)
    end)
  end

  it("runs nothing of a text to find out", function()
    hit = nil -- luacheck: ignore 111
    local f = run("local K <const> = 1 return function() return K end")
    source_cache.record("@other.lua", "local K <const> = (function() hit = true end)() "
      .. "return function() return K end")
    local g = source_cache.compile("local K <const> = 1 return function() return K end",
      "@other.lua")()
    assert.is_nil((function_source.of(g)))
    assert.is_nil(hit) -- luacheck: ignore 113
    assert.equal(1, again(f)())
  end)

  it("keeps lines, however they end", function()
    for _, ending in ipairs({ "\n", "\r", "\r\n", "\n\r" }) do
      local f = run(("local L <const> = [[a|b]]|local u = 1|return function(x)| local s = 'a\\|b'|"
        .. " return function()|  return s, L, u|end|end"):gsub("|", ending))
      assert.same(lines_of(f), lines_of(again(f)))
      assert.same(lines_of(f()), lines_of(again(f)()))
      assert.same({ "a\nb", "a\nb" }, { again(f)()() })
    end
  end)

  it("takes any number of upvalues", function()
    for _, count in ipairs({ 1, 179, 180, 181, 200, 254 }) do
      local declared, sum = {}, {}
      for i = 1, count do
        declared[#declared + 1] = ("local v%d "):format(i)
        sum[#sum + 1] = "v" .. i
      end
      -- no function may have so many locals: several, one in the other
      local text, ends = "", ""
      for from = 1, count, 100 do
        text = text .. table.concat(declared, "", from, math.min(from + 99, count))
          .. "return (function() "
        ends = ends .. " end)()"
      end
      local f = run(text .. "return function() return " .. table.concat(sum, "+") .. " end" .. ends)
      assert.equal(count, #function_source.of(f).names)
      assert.equal(count, debug.getinfo(again(f), "u").nups)
    end
  end)

  it("takes any number of constants beside them", function()
    for _, count in ipairs({ 1, 90, 100 }) do
      local text, sum = "", {}
      for depth = 1, 2 do
        for i = 1, count do
          local name = ("%d_%d"):format(depth, i)
          if i < 100 then
            text = ("%slocal v%s, K%s <const> = %d, %d "):format(text, name, name, i, 2 * i)
          end
          sum[#sum + 1] = ("v%s + K%s"):format(name, name)
        end
        if depth == 1 then text = text .. "return (function() " end
      end
      local f = run(("%s return function() return %s end end)()"):format(text,
        table.concat(sum, "+"):gsub("[vK]%d_100", "0")))
      assert.equal(2 * math.min(count, 99), #function_source.of(f).names)
      local copy = again(f)
      for i = 1, 2 * math.min(count, 99) do debug.upvaluejoin(copy, i, f, i) end
      assert.equal(f(), copy())
    end
  end)

  it("says which globals and modules a function uses", function()
    local found = function_source.of(run([[
      return function() count = f() + g; return require("one"), pcall(require, "two") end]]))
    assert.same({ f = true, g = true, require = true, pcall = true }, found.globals)
    assert.same({ "one", "two" }, found.requires)
    assert.equal("_ENV", found.names[found.env])
    found = function_source.of(run("return function(x) return x.y end"))
    assert.is_nil(found.env)
    assert.same({}, found.globals)
  end)

  it("knows a text again after another was loaded under its name", function()
    local first = run("return function() return 101 end")
    local second = run("return function() return 102 end")
    local third = run("return  function() return 101 end")
    assert.equal("return function() return 101 end", function_source.of(first).text)
    assert.equal("return function() return 102 end", function_source.of(second).text)
    assert.equal("return function() return 101 end", function_source.of(third).text)
  end)

  it("finds functions inside one that was compiled from its source", function()
    local f = again(run([[

      local K <const> = 3
      return function(x)
        return function(y)
          return x + y + K
        end
      end]]))
    local inner = again(f(1))
    assert.same({ "@text.lua", 4, 6 }, { table.unpack(lines_of(inner), 1, 3) })
    assert.same({ "y" }, { debug.getlocal(inner, 1) })
  end)

  it("remembers no text that it only tried", function()
    local list = run("return {function() return 1 end, function() return 2 end}")
    local before = #source_cache.find("@text.lua")
    assert.truthy(function_source.of(list[2]))
    assert.equal(before, #source_cache.find("@text.lua"))
  end)

  it("says why there is none", function()
    local function why(f)
      local found, message = function_source.of(f)
      assert.is_nil(found)
      return message
    end
    local stripped = load(string.dump(load("local u return function() return u end"), true))()
    assert.equal("it was loaded from bytecode", why(stripped))
    local host = require("fleet.scheduler").new
    assert.matches("^the text of .*scheduler/init.lua that it comes from is not known: it was not "
      .. "loaded by this program's load, loadfile, dofile or require, or so long ago that it was "
      .. "forgotten$", why(host))
    local dump = string.dump(load("return function() return 'before' end", "@text.lua"))
    local f = load((dump:gsub("before", "edited")))()
    assert.matches("forgotten; the text known by that name does not have this function at line 1$",
      why(f))
  end)

  it("blames no text for what another has", function()
    -- on one line, with the same upvalues; and where a file was edited and loaded again
    local list = run("local u = 1 return { function() return u end, function() return u + 1 end }")
    run("local u = 1 return { function() return u end, function() return u + 2 end }")
    local text = function_source.of(list[2]).text
    assert.equal(2, again(list[2]) and load("local u = 1 " .. text:sub(9))()())
    local old = run("\nreturn function(a) return a end")
    local new = run("\nreturn function(b) return b end")
    assert.equal("return function(a) return a end", function_source.of(old).text)
    assert.equal("return function(b) return b end", function_source.of(new).text)
  end)
end)
