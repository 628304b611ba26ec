-- SPDX-License-Identifier: MIT
-- Trusted modules in a sandbox of this process; spec/e2e/modules_spec.lua has them in workers.

local modules = require("fleet.ship.modules")
local ship = require("fleet.ship")
local shipping = require("spec.support.shipping")
local trusted = require("fleet.ship.trusted")

local VERSION = _VERSION:match("%d+%.%d+")

--- Runs a test only where this Lua has the modules.
local function needs(names, f)
  return function()
    for name in names:gmatch("%S+") do
      if not trusted.find(name) then
        return pending(("there is no %s for %s"):format(name, _VERSION))
      end
    end
    f()
  end
end

local folder
after_each(function()
  modules.allow({})
  if folder then folder:close() end
  folder = nil
end)

describe("the name of a trusted module", function()
  it("admits its submodules, and nothing else", function()
    local names = { "cjson", "socket.core" }
    for _, name in ipairs({ "cjson", "cjson.safe", "socket.core", "socket.core.x" }) do
      assert.is_true(trusted.has(names, name), name)
    end
    for _, name in ipairs({ "cjso", "cjsonx", "socket", "socket.http", "", "c" }) do
      assert.is_false(trusted.has(names, name), name)
    end
  end)

  it("is checked where it is given", needs("lpeg cjson", function()
    assert.is_true(trusted.check({ "lpeg", "cjson", "cjson.safe" }))
    local form = "--modules takes names as in require, such as lpeg or cjson.safe, got '%s'"
    for name, message in pairs({
      ["../lpeg"] = form:format("../lpeg"), ["a..b"] = form:format("a..b"),
      [".so"] = form:format(".so"), ["/lpeg"] = form:format("/lpeg"),
      ["host.http"] = "--modules: 'host.http' is no module in C of this machine; the library and "
        .. "what jobs have of Lua need no permission",
      ["io"] = "--modules: 'io' is no module in C of this machine; the library and what jobs have "
        .. "of Lua need no permission",
      ["no_such"] = ("--modules: there is no module 'no_such' on this machine; install it, or add "
        .. "its folder to LUA_CPATH (now %s)"):format(package.cpath),
    }) do
      local ok, err = trusted.check({ "lpeg", name })
      assert.is_nil(ok)
      assert.same({ "usage", message }, { err.kind, err.message })
    end
  end))

  it("is not enough when the module is for another version of Lua", function()
    folder = shipping.folder({})
    local cpath, other = package.cpath, VERSION == "5.1" and "5.2" or "5.1"
    assert(os.execute(("mkdir -p %s/%s"):format(folder.path, other)))
    folder:write(other .. "/mod_old.so", "")
    package.cpath = ("%s/%s/?.so"):format(folder.path, VERSION)
    local ok, err = trusted.check({ "mod_old" })
    package.cpath = cpath
    assert.is_nil(ok)
    assert.equal(("--modules: 'mod_old' is installed for Lua %s (%s/%s/mod_old.so), and this "
      .. "program has Lua %s; install it for that version"):format(other, folder.path, other,
      VERSION), err.message)
  end)
end)

describe("a trusted module", function()
  it("can be required", needs("lpeg cjson.safe", function()
    local place = shipping.place({ "lpeg", "cjson" })
    local run = place.env.load([[
      local lpeg, safe = require("lpeg"), require("cjson.safe")
      return lpeg.match(lpeg.C(lpeg.P("a") ^ 1), "aab"), safe.encode({ 1 }), safe.decode("{"),
        require("lpeg") == lpeg]])
    local first, second, third, same = run()
    assert.same({ "aa", "[1]", nil, true }, { first, second, third, same })
  end))

  it("can be required only where it is named", needs("lpeg cjson", function()
    local place = shipping.place({ "cjson.safe" })
    for _, name in ipairs({ "lpeg", "cjson" }) do
      local ok, message = pcall(place.env.load("require(...)", "=job"), name)
      assert.is_false(ok)
      assert.equal(("job:1: module '%s' cannot be required in a job: it is written in C; jobs may "
        .. "require it only on nodes that allow it: moonfleet serve --modules %s, or run, eval or "
        .. "repl --modules %s for a private node or --ssh"):format(name, name, name), message)
    end
  end))

  it("is another one in each sandbox", needs("cjson", function()
    local one, other = shipping.place({ "cjson" }), shipping.place({ "cjson" })
    one.env.require("cjson").mark = true
    assert.is_nil(other.env.require("cjson").mark)
    assert.is_nil(package.loaded.cjson and package.loaded.cjson.mark)
  end))

  it("may have files in Lua, with the globals of the sandbox", function()
    folder = shipping.folder({
      ["mod_t.lua"] = "return { name = (...), open = io.open, inner = require('mod_t.inner'), "
        .. "require = require }",
    })
    assert(os.execute("mkdir " .. folder.path .. "/mod_t"))
    folder:write("mod_t/inner.lua", "return { path = select(2, ...) }")
    local place = shipping.place({ "mod_t" })
    local m = place.env.require("mod_t")
    assert.same({ "mod_t", nil, folder.path .. "/mod_t/inner.lua" },
      { m.name, m.open, m.inner.path })
    assert.equal(place.env.require, m.require)
  end)

  it("is replaced by one that was shipped", function()
    folder = shipping.folder({ ["mod_s.lua"] = "return 'shipped'" })
    local place = shipping.place({ "mod_s" })
    local f = place:send(function() return require("mod_s") end)
    folder:write("mod_s.lua", "return 'file'")
    assert.equal("shipped", f())
    assert.equal("file", shipping.place({ "mod_s" }).env.require("mod_s"))
  end)

  it("that cannot be loaded says why", function()
    folder = shipping.folder({
      ["mod_bad.so"] = "no library", ["mod_syntax.lua"] = "return return",
      ["mod_c1.lua"] = "return require('mod_c2')", ["mod_c2.lua"] = "return require('mod_c1')",
    })
    local cpath = package.cpath
    package.cpath = folder.path .. "/?.so"
    local place = shipping.place({ "mod_bad", "mod_syntax", "mod_none", "mod_c1", "mod_c2" })
    local function fails(name, pattern)
      local ok, message = pcall(place.env.load("require(...)", "=job"), name)
      assert.is_false(ok)
      assert.matches(pattern, message)
    end
    fails("mod_bad", "error loading module 'mod_bad' from file '.*/mod_bad.so':\n\t.*too short")
    fails("mod_syntax", "error loading module 'mod_syntax':\n\t.*mod_syntax.lua:1: ")
    fails("mod_none", "^job:1: module 'mod_none' cannot be required in a job: this node trusts it, "
      .. "but does not have it$")
    fails("mod_c1", "modules require each other in a circle, mod_c1 %-> mod_c2 %-> mod_c1")
    package.cpath = cpath
  end)

  it("of another version of Lua says so", function()
    local path
    for _, version in ipairs({ "5.1", "5.2", "5.3", "5.4" }) do
      path = path or version ~= VERSION
        and trusted.find_c("lpeg", package.cpath:gsub(VERSION, version))
    end
    if not path then return pending("there is no lpeg for another version of Lua") end
    local ok, message = pcall(trusted.open_c, "lpeg", path)
    assert.is_false(ok)
    for _, said in ipairs({ "error loading module 'lpeg' from file '" .. path .. "':\n\t",
      ("is it built for Lua %s, as this program is?"):format(VERSION) }) do
      assert.matches(said, message, 1, true)
    end
  end)
end)

describe("a function that captures a trusted module", function()
  it("is shipped, with the module's name alone", needs("lpeg", function()
    local lpeg = require("lpeg")
    local match, P = lpeg.match, lpeg.P
    local function f(s) return match(P("a") ^ 1, s), lpeg.type(P("a")) end
    assert.matches("upvalue 'match' (C function lpeg.match) cannot be shipped: function 'f' ",
      select(2, ship.pack(f)).message, 1, true)
    for _, allowed in ipairs({ { "lpeg" }, true }) do
      modules.allow(allowed)
      assert.same({}, assert(ship.pack(f)).modules)
      assert.same({ 3, "pattern" }, { assert(shipping.place({ "lpeg" }):send(f))("aab") })
      -- itself is one of its functions
      assert.equal(3, shipping.place({ "lpeg" }):send(match)(P("a") ^ 1, "aab"))
    end
  end))

  it("names the module that a node does not trust", needs("lpeg", function()
    local lpeg = require("lpeg")
    modules.allow(true)
    local ok, err = pcall(shipping.send, function() return lpeg end)
    assert.is_false(ok)
    assert.equal("raise", err.kind)
    assert.matches("^module 'lpeg', which the function captures, cannot be loaded here: .*module "
      .. "'lpeg' cannot be required in a job: it is written in C; .* moonfleet serve %-%-modules "
      .. "lpeg", err.message)
  end))

  it("does not make modules of the host shippable", function()
    local task = require("host.task")
    modules.allow(true)
    assert.matches("(module 'host.task') cannot be shipped", select(2, ship.pack(function()
      return task
    end)).message, 1, true)
  end)
end)
