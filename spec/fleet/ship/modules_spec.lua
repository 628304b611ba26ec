-- SPDX-License-Identifier: MIT
local check = require("fleet.base.check")
local digest = require("fleet.digest")
local modules = require("fleet.ship.modules")
local ship = require("fleet.ship")
local shipping = require("spec.support.shipping")

local names = check.sorted_keys

--- Opens a folder with these files for one test.
local function folder(files)
  local made = shipping.folder(files)
  finally(function() made:close() end)
  return made
end

describe("a driver's require", function()
  it("finds modules of package.path as Lua does, and remembers them", function()
    local dir = folder({ ["mod_a.lua"] = "#!/usr/bin/lua\nlocal name, file = ...\n"
      .. "return { name = name, file = file, line = debug.getinfo(1, 'l').currentline }" })
    local value, file = require("mod_a")
    assert.same({ name = "mod_a", file = dir.path .. "/mod_a.lua", line = 3 }, value)
    assert.equal(dir.path .. "/mod_a.lua", file)
    assert.equal(value, require("mod_a"))
    local module = modules.find("mod_a")
    assert.equal("@" .. file, module.chunkname)
    assert.equal(digest.sha256(module.blob), module.hash)
    assert.equal(module.blob, (modules.blob(module.hash)))
  end)

  it("says what is wrong as Lua does", function()
    local dir = folder({ ["mod_bad.lua"] = "return return", ["mod_raise.lua"] = "error('no')" })
    local ok, message = pcall(require, "mod_bad")
    assert.is_false(ok)
    assert.equal(("error loading module 'mod_bad' from file '%s/mod_bad.lua':\n\t%s/mod_bad.lua:1: "
      .. "unexpected symbol near 'return'"):format(dir.path, dir.path), message)
    ok, message = pcall(require, "mod_raise")
    assert.is_false(ok)
    assert.equal(dir.path .. "/mod_raise.lua:1: no", message)
    ok, message = pcall(require, "mod_none")
    assert.is_false(ok)
    assert.matches("module 'mod_none' not found:\n\tno field package.preload%['mod_none'%]\n"
      .. "[^\n]+\n\tno file '" .. dir.path:gsub("%p", "%%%0") .. "/mod_none.lua'\n", message)
    assert.is_nil(modules.find("mod_none"))
  end)
end)

describe("what travels with a module", function()
  it("is what it requires, in turn, by a literal name or when it was loaded", function()
    folder({
      ["mod_top.lua"] = "local m = require('mod_mid') for _, n in ipairs({ 'mod_dyn' }) do "
        .. "require(n) end return m",
      ["mod_mid.lua"] = "local ok, o = pcall(require, 'mod_opt') return function() "
        .. "return require('mod_lazy') end",
      ["mod_opt.lua"] = "return {}", ["mod_dyn.lua"] = "return {}", ["mod_lazy.lua"] = "return {}",
      ["mod_other.lua"] = "return {}",
    })
    require("mod_top")
    require("mod_other")
    local hashes = {}
    modules.add("mod_top", hashes)
    assert.same({ "mod_dyn", "mod_lazy", "mod_mid", "mod_opt", "mod_top" }, names(hashes))
    assert.is_nil(package.loaded.mod_lazy) -- read, not loaded
    assert.same({ "mod_lazy", "mod_mid", "mod_opt" },
      names(modules.required_by("require 'mod_mid' require 'fleet' require 'lfs'")))
    assert.same({}, modules.required_by("return 1"))
  end)

  it("is not what is of the library, of Lua, or written in C", function()
    local hashes = {}
    for _, name in ipairs({ "fleet", "fleet.http", "string", "lfs", "host.task", "mod_none" }) do
      modules.add(name, hashes)
    end
    assert.same({}, hashes)
  end)

  it("is found where package.path has it when something else has loaded it", function()
    local dir = folder({ ["mod_rock.lua"] = "return { rock = true }" })
    local function search(name)
      return name == "mod_rock" and function() return dofile(dir.path .. "/mod_rock.lua") end or nil
    end
    table.insert(package.searchers, 1, search)
    local m = require("mod_rock")
    table.remove(package.searchers, 1)
    assert.is_true(shipping.send(function() return m.rock end)())
  end)

  it("is the text as it was loaded, and the new one once it was loaded again", function()
    local dir = folder({ ["mod_edit.lua"] = "return { 1 }" })
    require("mod_edit")
    local first = modules.find("mod_edit").hash
    dir:write("mod_edit.lua", "return { 2 }")
    assert.equal(first, modules.find("mod_edit").hash)
    package.loaded.mod_edit = nil
    require("mod_edit")
    local second = modules.find("mod_edit").hash
    assert.not_equal(first, second)
    assert.matches("return { 1 }", modules.blob(first), 1, true)
    assert.matches("return { 2 }", modules.blob(second), 1, true)
    assert.is_nil(modules.blob("unknown"))
  end)
end)

describe("a shipped function's modules", function()
  it("are loaded in the globals of the place, once", function()
    local dir = folder({ ["mod_count.lua"] = "loads = (loads or 0) + 1\n"
      .. "local n = 0 return { name = ..., add = function() n = n + 1 return n end, env = _ENV,\n"
      .. "fail = function() error('in module') end }" })
    local m = require("mod_count")
    m.add()
    local place = shipping.place()
    local f = place:send(function() return m, m.add() end)
    local there, n = f()
    assert.equal("mod_count", there.name)
    assert.equal(place.env, there.env)
    assert.equal(1, n)
    assert.equal(there, place:send(function() return m end)())
    assert.equal(2, place:send(function() return m.add() end)())
    assert.equal(there, place:send(function() return require("mod_count") end)())
    assert.equal(1, place.env.loads)
    assert.equal(there, place.env.package.loaded.mod_count)
    assert.same({ false, dir.path .. "/mod_count.lua:3: in module" }, { pcall(there.fail) })
    _G.loads = nil -- luacheck: ignore 122
  end)

  it("come with what is taken out of them", function()
    folder({ ["mod_parts.lua"] = [[
      local n = 0
      local Point = setmetatable({}, { __call = function(self, x) return { x = x } end })
      return { add = function() n = n + 1 return n end, get = function() return n end,
        Point = Point, limits = { 1 } }]] })
    local m = require("mod_parts")
    local add, Point, limits = m.add, m.Point, m.limits
    limits[1] = 5
    local f = shipping.send(function()
      add()
      return m.get(), add == m.add, Point(3).x, limits[1], m.limits[1]
    end)
    assert.same({ 1, true, 3, 5, 1 }, { f() }) -- plain data is a copy of what it was here
    -- the function itself goes alone, with its variables as they are
    m.add()
    assert.equal(2, shipping.send(m.add)())
    assert.same({}, ship.pack(m.add).modules)
  end)

  it("may require each other when they run, not while they are loaded", function()
    folder({
      ["mod_x.lua"] = "local x = {} function x.y() return require('mod_y') end return x",
      ["mod_y.lua"] = "return { x = require('mod_x') }",
      ["mod_p.lua"] = "return { q = function() return require('mod_q') end }",
      ["mod_q.lua"] = "return { r = require('mod_r') }",
      ["mod_r.lua"] = "return { q = require('mod_q') }",
    })
    local x = require("mod_x")
    local f = shipping.send(function() return x.y().x == x end)
    assert.is_true(f())
    local p = require("mod_p")
    local ok, message = pcall(shipping.send(function() return p.q() end))
    assert.is_false(ok)
    assert.matches("mod_r.lua:1: module 'mod_q' cannot be required in a job: modules require each "
      .. "other in a circle, mod_q -> mod_r -> mod_q",
      message, 1, true)
  end)

  it("give any value, true for none", function()
    folder({ ["mod_nil.lua"] = "mark = 'loaded'", ["mod_false.lua"] = "return false",
      ["mod_f.lua"] = "return function() return 'f' end",
      ["mod_self.lua"] = "package.loaded[...] = 'own'" })
    local place = shipping.place()
    local g = require("mod_f")
    assert.equal("f", place:send(function() return g() end)())
    local f = place:send(function()
      return require("mod_nil"), require("mod_false"), require("mod_self"),
        mark -- luacheck: ignore 113
    end)
    assert.same({ true, false, "own", "loaded" }, { f() })
    assert.equal("f", place:send(g)())
  end)

  it("that raise say so, and are tried again", function()
    local dir = folder({
      ["mod_raises.lua"] = "if not allowed then error('not yet') end return {}",
    })
    local place = shipping.place()
    local f = place:send(function() return require("mod_raises") end)
    assert.same({ false, dir.path .. "/mod_raises.lua:1: not yet" }, { pcall(f) })
    assert.same({ false, dir.path .. "/mod_raises.lua:1: not yet" }, { pcall(f) })
    place.env.allowed = true
    assert.same({}, f())
    _G.allowed = true -- luacheck: ignore 122
    local m = require("mod_raises")
    _G.allowed = nil -- luacheck: ignore 122
    local ok, err = pcall(shipping.send, function() return m end)
    assert.is_false(ok)
    assert.equal("raise", err.kind)
    assert.equal(("module 'mod_raises', which the function captures, cannot be loaded here: "
      .. "%s/mod_raises.lua:1: not yet"):format(dir.path), err.message)
  end)

  it("are loaded anew when another text comes under the name", function()
    local dir = folder({ ["mod_new.lua"] = "return { 1 }" })
    local place = shipping.place()
    local m = require("mod_new")
    local old = place:send(function() return m[1], require("mod_new")[1] end)
    assert.same({ 1, 1 }, { old() })
    dir:write("mod_new.lua", "return { 2 }")
    package.loaded.mod_new = nil
    m = require("mod_new")
    assert.same({ 2, 2 }, { place:send(function() return m[1], require("mod_new")[1] end)() })
    assert.same({ 1, 2 }, { old() })
  end)

  it("travel on from there", function()
    folder({ ["mod_on.lua"] = "return { name = ..., up = require('mod_up') }",
      ["mod_up.lua"] = "return { helper = function(x) return x + 1 end }" })
    local m = require("mod_on")
    local f = shipping.send(function(x)
      local up = m.up
      return function() return m.name, up.helper(x) end
    end)
    package.loaded.mod_on, package.loaded.mod_up = nil, nil
    local g = shipping.send(f(4))
    assert.same({ "mod_on", 5 }, { g() })
  end)
end)

describe("a sandbox's require", function()
  it("refuses what was not shipped, at the caller's line", function()
    local place = shipping.place()
    local ok, message = pcall(place.env.load("\nlocal none = require('mod_none')", "=job"))
    assert.is_false(ok)
    assert.matches("^job:2: module 'mod_none' cannot be required in a job: it is not in the "
      .. "library %(fleet, .*fleet.xml%) and was not shipped; modules written in Lua are shipped "
      .. "when a script or a function that is sent requires them by a literal name, those written "
      .. "in C must be installed on the node and named by its %-%-modules$", message)
    ok, message = pcall(place.env.load("\nlocal lfs = require('lfs')", "=job"))
    assert.is_false(ok)
    assert.equal("job:2: module 'lfs' cannot be required in a job: it is written in C; jobs may "
      .. "require it only on nodes that allow it: moonfleet serve --modules lfs, or run, eval or "
      .. "repl --modules lfs for a private node or --ssh", message)
  end)

  it("says when a text is missing", function()
    folder({ ["mod_gone.lua"] = "return 1" })
    local place = shipping.place()
    local f = place:send(function() return require("mod_gone") end)
    for hash in pairs(place.texts) do place.texts[hash] = nil end
    local ok, message = pcall(f)
    assert.is_false(ok)
    assert.matches("module 'mod_gone' cannot be required in a job: its text did not reach this "
      .. "worker", message, 1, true)
  end)

  it("lets nothing wait while a module is loaded", function()
    folder({ ["mod_wait.lua"] = "require('fleet').sleep(0.001) return 1",
      ["mod_yield.lua"] = "coroutine.yield() return 1" })
    local place = shipping.place()
    local f = place:send(function(name)
      return pcall(name == 1 and function() return require("mod_wait") end
        or coroutine.wrap(function() return require("mod_yield") end))
    end)
    local ok, message = f(1)
    assert.is_false(ok)
    assert.matches("sleep cannot wait here", message, 1, true)
    ok, message = f(2)
    assert.is_false(ok)
    assert.matches("attempt to yield across a C-call boundary", message, 1, true)
  end)
end)
