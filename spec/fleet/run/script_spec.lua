-- SPDX-License-Identifier: MIT
local script = require("fleet.run.script")

describe("script.examine", function()
  local function is_driver(text) return script.examine(text).is_driver end

  it("takes for a job what returns a value from its main chunk, anywhere", function()
    for _, text in ipairs({
      "return { map = print }", "local t = {} return t", "return f()", "return 1;",
      "if x then return { map = print } end print(1)", "do return {} end",
      "for i = 1, 2 do while true do return {} end end", "repeat return {} until true",
      "#!/bin/x\nreturn {}", "\u{FEFF}return {}", "return [[x]]", "return ...", "return -1",
      "local f = function() end return f", "while (function() do end end)() do end return {}",
    }) do
      assert.is_false(is_driver(text), text)
    end
  end)

  it("takes for a driver script what does not", function()
    for _, text in ipairs({
      "", "print(1)", "local function f() return {} end f()",
      "local t = { f = function() return 1 end }",
      "return", "return;", "if x then return end print(1)",
      "if x then return else return end",
      "repeat return until true", "-- return {}", "local s = 'return {}'",
      "local s = [[return {}]]",
      "#!/bin/x return {}", "t.returns = 1",
      "for i = 1, 2 do local g = function() return i end end",
      "while true do return end",
    }) do
      assert.is_true(is_driver(text), text)
    end
  end)

  it("leaves what is not Lua to who loads it", function()
    for _, text in ipairs({ "return {", "x =", "'", "end", string.dump(function() end) }) do
      assert.same({ is_driver = false, sees_words = true, builds_map = false },
        script.examine(text))
    end
  end)

  it("sees whether a script may look at its words", function()
    for text, sees in pairs({
      ["print(arg[1])"] = true, ["print(...)"] = true, ["f = function() return #arg end"] = true,
      ["local name = ... print(name)"] = true, ["require('my.options')"] = true,
      ["require(name)"] = true, ["dofile('x.lua')"] = true, ["print(_G['arg'])"] = true,
      ["require 'cli'"] = true, ["load('print(arg[1])')()"] = true,
      ["print(1)"] = false, ["f = function(...) print(...) end"] = false,
      ["require('fleet')"] = false, ["local json = require 'fleet.json'"] = false,
      ["print('arg')"] = false,
    }) do
      assert.equal(sees, script.examine(text).sees_words, text)
    end
  end)

  it("sees whether a script makes a map", function()
    for text, makes in pairs({
      ["t = { map = function() end }"] = true, ["function t.map() end"] = true,
      ["function map() end"] = true, ["local function map() end"] = true,
      ["map = function() end"] = true, ["fleet.pmap(f, l)"] = false, ["map(1)"] = false,
      ["t = { map = 1 }"] = false, ["t.map()"] = false,
    }) do
      assert.equal(makes, script.examine(text).builds_map, text)
    end
  end)
end)

describe("script.owns_words", function()
  it("is for driver scripts that can be read", function()
    local path = os.tmpname()
    local function write(text)
      local file = assert(io.open(path, "wb"))
      file:write(text)
      file:close()
    end
    write("print(1)")
    assert.is_true(script.owns_words(path))
    write("return {}")
    assert.is_false(script.owns_words(path))
    os.remove(path)
    assert.is_false(script.owns_words(path))
    assert.is_false(script.owns_words("/"))
  end)
end)
