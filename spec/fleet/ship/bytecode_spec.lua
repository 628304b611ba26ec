-- SPDX-License-Identifier: MIT
local bytecode = require("fleet.ship.bytecode")

local function read(f) return bytecode.read(string.dump(f, true)) end

--- The function that a chunk returns.
local function compile(text) return assert(load(text, "=chunk"))() end

local function identity(text) return bytecode.identity(read(compile(text))) end

describe("bytecode.read", function()
  it("refuses what is no dump of this Lua", function()
    local dump = string.dump(function() end)
    for _, bad in ipairs({ "", "return 1", "\27Lua", "\27Lua\x53" .. dump:sub(6),
      dump:sub(1, 6) .. "x" .. dump:sub(8) }) do
      assert.has_error(function() bytecode.read(bad) end,
        "bytecode.read: not a dump of this machine's Lua 5.4")
    end
  end)

  it("reads dumps with debug information too", function()
    local f = compile("local a, b = 1, 2 return function(x) local y = x + a\n"
      .. "return function() return y, b end end")
    assert.equal(bytecode.identity(bytecode.read(string.dump(f, true))),
      bytecode.identity(bytecode.read(string.dump(f))))
  end)

  it("reads long functions: many constants, instructions, upvalues, inner functions", function()
    local lines = {}
    for i = 1, 1000 do
      lines[i] = ("t[%d.5] = 'string %d' f(function() return t end)"):format(i, i)
    end
    local p = read(load(table.concat(lines, "\n")))
    assert.equal(1000, #p.nested)
    assert.is_true(#p.constants > 2000)
    local long = ("x"):rep(1000)
    assert.equal(long, read(load(("return %q"):format(long))).constants[1])
  end)
end)

describe("bytecode.identity", function()
  it("is the same for the same code elsewhere", function()
    for _, code in ipairs({
      "function() return 1 end", "function(a, ...) return a, ... end",
      "function(x) local y <close> = x return y end",
      "function() for i = 1, 10 do if i > 5 then goto out end end ::out:: end",
      "function() return function() return function(a) return a .. 'x' end end end",
      "function() return global.field, {1, 2.5, 'x', nil, true, [3] = 4} end",
    }) do
      assert.equal(identity("return " .. code), identity("local a, b, c = 1 x = a return " .. code))
    end
    -- its own lines do not matter, nor where upvalues are, nor whether they are const
    assert.equal(identity("return function() end"), identity("\n\nreturn function() end"))
    assert.equal(identity("local u return function() return u end"),
      identity("local a, u <const> = f return function() return u end"))
    assert.equal(identity("local u return function() return function() u = 1 end end"), identity(
      "return (function() local u return function() return function() u = 1 end end end)()"))
  end)

  it("is another for other code", function()
    local all = {
      "function() end", "function(a) end", "function(...) end", "function() return 1 end",
      "function() return 1.0 end", "function() return 2 end", "function() return 'a' end",
      "function() return 'b' end", "function() return a end", "function() return -1 end",
      "function() return function() end end", "function() return function(x) end end",
      "function() return\nfunction() end end", "function() return function()\nend end",
      "function() return 0x7fffffffffff end", "function() return 0x7ffffffffffe end",
      "function() return true end", "function() return nil end", "function() return false end",
      "function() local a, b return function() return a end end",
      "function() local a, b return function() return b end end",
      "function() return up end", "function() local up = up return up end",
    }
    local seen = {}
    for _, code in ipairs(all) do
      local id = identity("local up return " .. code)
      assert.is_nil(seen[id], code)
      seen[id] = true
    end
  end)
end)

describe("bytecode.globals", function()
  local function globals(text)
    local f = compile(text)
    local env
    for i = 1, 255 do
      if debug.getupvalue(f, i) == "_ENV" then env = i end
    end
    return bytecode.globals(read(f), env)
  end

  it("has what is read, here and in functions inside", function()
    assert.same({ a = true, b = true, c = true },
      globals("return function() local x = a b.y = 1 return function() return function() "
        .. "return c end end end"))
    assert.same({ count = true }, globals("return function() count = count + 1 end"))
    assert.same({ f = true }, globals("local up = 1 return function() up = f(up) end"))
  end)

  it("has not what is only written, nor fields, nor locals", function()
    assert.same({}, globals("return function() x = 1 function y() end end"))
    assert.same({ t = true }, globals("return function(a) local b = 1 return t.x, a.y, b end"))
  end)

  it("follows no other table of that name", function()
    assert.same({ real = true },
      globals("return function() real() local _ENV = {} return other end"))
    assert.same({ real = true },
      globals("return function() real() return function(_ENV) return other end end"))
    assert.same({ real = true }, globals("return function() real() local _ENV = {} "
      .. "return function() return other end end"))
  end)

  it("has every string where it cannot know", function()
    local lines = {}
    for i = 1, 300 do lines[i] = ("x = 's%d'"):format(i) end
    local names = globals(("return function() first() %s last() end"):format(
      table.concat(lines, "\n")))
    assert.is_true(names.first)
    assert.is_false(names.last)
    assert.is_false(names.s7)
    names = globals("return function() return _ENV, 'maybe' end")
    assert.same({ maybe = false }, names)
  end)
end)
