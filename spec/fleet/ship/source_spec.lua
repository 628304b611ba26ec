-- SPDX-License-Identifier: MIT
local chunks = require("fleet.ship.chunks")
local source = require("fleet.ship.source")

--- What a text returns, loaded as "@text.lua".
local function run(text, ...) return assert(chunks.load(text, "@text.lua"))(...) end

--- The function that its source compiles to.
local function again(f)
  local found = assert(source.of(f))
  local maker = assert(source.compile(found.text, found.chunk, found.line, found.names,
    found.constants, _G))
  return found.line > 0 and maker() or maker
end

local function lines_of(f)
  local info = debug.getinfo(f, "SL")
  local lines = {}
  for line in pairs(info.activelines) do lines[#lines + 1] = line end
  table.sort(lines)
  return { info.source, info.linedefined, info.lastlinedefined, lines }
end

describe("source.of", function()
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
      names[key] = source.of(f).name or false
      assert.same(lines_of(f), lines_of(again(f)))
    end
    assert.same({ false, b = "list.b", c = "list:c", d = "list:d", e = "list.e" },
      { names[2], b = names.b, c = names.c, d = names.d, e = names.e })
    assert.equal("a", names[1])
    assert.equal(7, again(list.c)(7) and again(list.c)(7))
    assert.same({ 1, 2 }, { again(list.d)(1, 2) })
    assert.equal("text.lua:2", source.of(list[1]).place)
  end)

  it("tells functions on one line apart by their code", function()
    local list = run([[local u, v = 1, 2
      return { function() return 1 end, function() return 2 end, function() return u end,
        function() return v end, function() return 1 end, function() u = 1 end,
        function(a) return a end, function(...) return ... end, function() return x end,
        function() return function() return 1 end end, function() return function() end end }]])
    for i, f in ipairs(list) do
      local text = source.of(f).text
      assert.equal(({
        "() return 1 end", "() return 2 end", "() return u end", "() return v end",
        "() return 1 end", "() u = 1 end", "(a) return a end", "(...) return ... end",
        "() return x end", "() return function() return 1 end end",
        "() return function() end end",
      })[i], text)
    end
  end)

  it("finds whole chunks: with a name, without one, from a file's first line on", function()
    for _, f in ipairs({ load("return ..."), load("return ...", "=name"),
      load("\n\nreturn ...", "@file") }) do
      local found = source.of(f)
      assert.equal(0, found.line)
      assert.equal("it", again(f)("it"))
    end
    local long = load("local a = 1 -- " .. ("x"):rep(100) .. "\nreturn function() error(a) end")
    assert.is_true(#source.of(long).chunk < 80)
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
    assert.equal("local A <const> = 5;", source.of(list[1]).constants)
    assert.equal(5, again(list[1])())
    assert.same({ 11, "s" }, { again(list[2])() })
    assert.equal("two\nlines", again(list[3])()())
    assert.same(lines_of(list[3]()), lines_of(again(list[3])()))
    assert.same({ "inner", 11 }, { again(list[4])() })
    assert.equal(8, again(list[5])(8))
    assert.same({ nil, 11 }, { again(list[6])() })
    assert.same({ "A" }, source.of(list[6]).names)
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
    for _, count in ipairs({ 1, 189, 190, 191, 254 }) do
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
      assert.equal(count, #source.of(f).names)
      assert.equal(count, debug.getinfo(again(f), "u").nups)
    end
  end)

  it("says which globals and modules a function uses", function()
    local found = source.of(run([[
      return function() count = f() + g; return require("one"), pcall(require, "two") end]]))
    assert.same({ f = true, g = true, require = true, pcall = true }, found.globals)
    assert.same({ "one", "two" }, found.requires)
    assert.equal("_ENV", found.names[found.env])
    found = source.of(run("return function(x) return x.y end"))
    assert.is_nil(found.env)
    assert.same({}, found.globals)
  end)

  it("knows a text again after another was loaded under its name", function()
    local first = run("return function() return 1 end")
    local second = run("return function() return 2 end")
    local third = run("return  function() return 1 end")
    assert.equal("() return 1 end", source.of(first).text)
    assert.equal("() return 2 end", source.of(second).text)
    assert.equal("() return 1 end", source.of(third).text)
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
    local before = #chunks.find("@text.lua")
    assert.truthy(source.of(list[2]))
    assert.equal(before, #chunks.find("@text.lua"))
  end)

  it("says why there is none", function()
    local function why(f)
      local found, message = source.of(f)
      assert.is_nil(found)
      return message
    end
    local stripped = load(string.dump(load("local u return function() return u end"), true))()
    assert.equal("it was loaded from bytecode", why(stripped))
    local host = require("fleet.scheduler").new
    assert.matches("^the text of .*scheduler/init.lua is not known: it was not loaded by",
      why(host))
    local dump = string.dump(load("return function() return 'before' end", "@text.lua"))
    local f = load((dump:gsub("before", "edited")))()
    assert.equal("nothing at line 1 of text.lua, as it was loaded, has its code: it comes from "
      .. "another text of that name", why(f))
  end)
end)
