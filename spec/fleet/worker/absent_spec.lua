-- SPDX-License-Identifier: MIT
local absent = require("fleet.worker.absent")
local sandbox = require("fleet.worker.sandbox")
local source_cache = require("fleet.ship.source_cache")

describe("absent.explain", function()
  --- What becomes of the error that a text raises, of which line 2 is given.
  local function explain(line, name)
    local f = assert(source_cache.load("local _ENV = ...\n" .. line, name))
    local strings = debug.getmetatable("")
    local index = strings.__index
    local env = sandbox.new(print)
    strings.__index, strings.__metatable = index, nil
    local ok, message = pcall(f, env)
    assert.is_false(ok)
    return absent.explain(message)
  end

  it("says what jobs have not, by its whole name", function()
    local n = 0
    for line, expected in pairs({
      ["io.open('x')"] = "jobs have no files (io.open)",
      ["for l in io.lines('x') do end"] = "jobs have no files (io.lines)",
      ["io.popen('x')"] = "jobs start no programs (io.popen)",
      ["local a = io.stdin:read()"] = "jobs have no standard input (io.stdin)",
      ["return (os . getenv('HOME'))"] = "jobs have no environment variables (os.getenv)",
      ["os.execute('x')"] = "jobs start no programs (os.execute)",
      ["os.exit(1)"] = "a job ends when its function returns or raises (os.exit)",
      ["local open = io.open; open('x')"] = "jobs have no files (io.open)",
      ["local open = io.open; (function() open('x') end)()"] = "jobs have no files (io.open)",
      ["debug.getinfo(1)"] = "jobs have only traceback of debug (debug.getinfo)",
      ["string.dump(print)"] = "jobs have no bytecode (string.dump)",
      ["dofile('x')"] = "jobs have no files (dofile)",
      ["print(arg[1])"] = "jobs have no command line (arg)",
    }) do
      n = n + 1
      local file = ("job%d.lua"):format(n)
      assert.equal(file .. ":2: " .. expected, explain(line, "@" .. file))
    end
    assert.equal("stdin:2: jobs have no files (io.open)", explain("io.open('y')", "=stdin"))
  end)

  it("blames nothing else", function()
    for line, name in pairs({
      ["local t = {}; t.open('x')"] = "field 'open'", ["local t = {}; t.io.open()"] = "field 'io'",
      ["local f = { io = {} }; f.io.open()"] = "field 'open'", ["open('x')"] = "global 'open'",
      ["local s = {}; s:read()"] = "method 'read'", ["nothing()"] = "global 'nothing'",
    }) do
      assert.equal(name, explain(line, "@other.lua"):match(
        "^other.lua:2: attempt to %l+ a nil value %((.*)%)$"))
    end
    -- two texts of that name: either may be meant
    explain("io.open('x')", "@twice.lua")
    assert.matches("field 'open'", explain("local t = {}; t.open('x')", "@twice.lua"), 1, true)
    for _, message in ipairs({ "plain", "", "job.lua:2: attempt to call a nil value",
      "x:1: attempt to call a nil value (field 'open')",
      "y.lua:1: attempt to call a nil value (field 'open')\nmore" }) do
      assert.equal(message, absent.explain(message))
    end
  end)

  it("knows all that is missing of Lua", function()
    local env = sandbox.new(print)
    local strings = debug.getmetatable("")
    strings.__index, strings.__metatable = string, nil
    for _, library in ipairs({ "io", "os", "debug", "package", "string" }) do
      for name in pairs(_G[library]) do
        if env[library][name] == nil and _G[library][name] ~= nil then
          local full = library .. "." .. name
          source_cache.record("@" .. full, ("return %s()"):format(full))
          local message = absent.explain(
            ("%s:1: attempt to call a nil value (field '%s')"):format(full, name))
          assert.matches("^" .. full .. ":1: .* %(" .. full .. "%)$", message)
          assert.not_matches("attempt", message)
        end
      end
    end
  end)
end)
