-- SPDX-License-Identifier: MIT
local shipping = require("spec.support.shipping")
local source_cache = require("fleet.ship.source_cache")

--- The texts known under a name, sorted.
local function texts(name)
  local list = {}
  for i, chunk in ipairs(source_cache.find(name)) do list[i] = chunk.text end
  table.sort(list)
  return list
end

local function with_file(text, f)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  f(path)
  os.remove(path)
end

describe("source_cache.find", function()
  it("has every text of a name, the same one once", function()
    source_cache.record("=several", "return 1")
    source_cache.record("=several", "return 2")
    source_cache.record("=several", "return 1")
    assert.same({ "return 1", "return 2" }, texts("=several"))
    assert.same({}, texts("=none"))
  end)

  it("has the text of a chunk without a name: it is the name", function()
    assert.same({ "return function() end" }, texts("return function() end"))
  end)

  it("has no bytecode", function()
    source_cache.record("=code", string.dump(function() end))
    assert.same({}, texts("=code"))
  end)

  it("forgets what was not used for long, files and the rest apart", function()
    source_cache.record("=old", "return 'old'")
    source_cache.record("=used", "return 'used'")
    source_cache.record("@file", "return 'file'")
    local big = ("-"):rep(128 * 1024)
    for i = 1, 40 do
      source_cache.record("=big", big .. i)
      assert.same({ "return 'used'" }, texts("=used"))
    end
    assert.same({}, texts("=old"))
    assert.same({ "return 'file'" }, texts("@file"))
    local bytes = 0
    for _, text in ipairs(texts("=big")) do bytes = bytes + #text end
    assert.is_true(bytes > 6 * 128 * 1024 and bytes <= 1024 * 1024)
    -- one that is larger than all there may be is still known while it is the newest
    local huge = ("-"):rep(3 * 1024 * 1024)
    source_cache.record("=huge", huge)
    assert.same({ huge }, texts("=huge"))
    source_cache.record("=small", "")
    assert.same({}, texts("=huge"))
    assert.same({}, texts("=big"))
  end)

  it("counts what holds the texts, however short they are", function()
    collectgarbage()
    local before = collectgarbage("count")
    for i = 1, 50000 do
      source_cache.record("=name" .. i, "return " .. i)
      source_cache.record("=one name", "return " .. i)
    end
    collectgarbage()
    assert.is_true(collectgarbage("count") - before < 1.5 * 1024)
    assert.is_true(#source_cache.find("=one name") > 500)
  end)

  it("has a text for as long as what was compiled from it is there", function()
    local kept = assert(source_cache.load("return 'kept'", "=kept"))
    assert(source_cache.load("return 'dropped'", "=dropped"))
    for i = 1, 10000 do source_cache.record("=others", "return " .. i) end
    collectgarbage()
    assert.same({}, texts("=kept"))
    assert.same({}, texts("=dropped"))
    assert.equal("return 'kept'", source_cache.find("=kept", kept)[1].text)
    assert.equal("kept", kept())
    assert.equal("kept", shipping.send(kept)())
  end)
end)

describe("source_cache.load", function()
  it("is Lua's own", function()
    assert.equal(3, source_cache.load("return ...", "=x")(3))
    assert.equal(5, source_cache.load("return y", "=x", "t", { y = 5 })())
    assert.equal(print, source_cache.load("return print", "=x", "t")())
    assert.is_nil(source_cache.load("return _ENV", "=x", "t", nil)())
    assert.same({ n = 2, nil, "x:1: syntax error near <eof>" },
      table.pack(source_cache.load("x", "=x")))
    assert.equal(7, source_cache.load(string.dump(function() return 7 end), "=x", "b")())
    assert.is_nil((source_cache.load(string.dump(function() end), "=x", "t")))
    assert.has_error(function() source_cache.load({}) end,
      "bad argument #1 to 'load' (function expected, got table)")
    assert.has_error(function() source_cache.load() end)
  end)

  it("takes a function that gives pieces", function()
    local function reader(...)
      local pieces, at = { ... }, 0
      return function()
        at = at + 1
        return pieces[at]
      end
    end
    assert.equal(12, source_cache.load(reader("return ", "1", "2"), "=pieces")())
    assert.same({ "return 12" }, texts("=pieces"))
    assert.equal(1, source_cache.load(reader("return 1", "", "2"))())
    assert.equal("=(load)", debug.getinfo(source_cache.load(reader("return 3")), "S").source)
    assert.same({ n = 2, nil, "reader function must return a string" },
      table.pack(source_cache.load(reader("return ", {}))))
    assert.same({ n = 2, nil, "broken" },
      table.pack(source_cache.load(function() error("broken", 0) end)))
    assert.equal(4, source_cache.load(reader(string.dump(function() return 4 end)))())
  end)

  it("remembers what has a name and compiles", function()
    source_cache.load("return 'good'", "=remembered")
    source_cache.load("return 'bad", "=remembered")
    source_cache.load("return 'plain'", "plain name")
    assert.same({ "return 'good'" }, texts("=remembered"))
    assert.same({ "plain name", "return 'plain'" }, texts("plain name"))
  end)
end)

describe("source_cache.loadfile", function()
  it("is Lua's own, and remembers", function()
    with_file("#!/usr/bin/lua\nreturn debug.getinfo(1, 'l').currentline, ...", function(path)
      local f = assert(source_cache.loadfile(path))
      assert.same({ 2, "x" }, { f("x") })
      assert.same({ "\nreturn debug.getinfo(1, 'l').currentline, ..." }, texts("@" .. path))
      assert.equal("@" .. path, debug.getinfo(f, "S").source)
    end)
    with_file("\u{FEFF}return y", function(path)
      assert.equal(5, source_cache.loadfile(path, "t", { y = 5 })())
    end)
    with_file(string.dump(function() return 6 end), function(path)
      assert.equal(6, source_cache.loadfile(path)())
      assert.is_nil((source_cache.loadfile(path, "t")))
    end)
    assert.same({ n = 2, nil, "cannot open no/such/file: No such file or directory" },
      table.pack(source_cache.loadfile("no/such/file")))
    assert.same({ n = 2, nil, "cannot read ." }, table.pack(source_cache.loadfile(".")))
  end)
end)

describe("source_cache.dofile", function()
  it("runs a file", function()
    with_file("return 1, 'two'", function(path)
      assert.same({ 1, "two" }, { source_cache.dofile(path) })
    end)
    with_file("return return", function(path)
      local ok, message = pcall(source_cache.dofile, path)
      assert.is_false(ok)
      assert.matches(":1: unexpected symbol near 'return'", message, 1, true)
    end)
    assert.has_error(function() source_cache.dofile("no/such/file") end,
      "cannot open no/such/file: No such file or directory")
  end)
end)

describe("source_cache.install", function()
  it("was done for this driver, before the specs", function()
    assert.equal(source_cache.load, load)
    assert.equal(source_cache.loadfile, loadfile)
    assert.equal(source_cache.dofile, dofile)
    local name = debug.getinfo(1, "S").source
    assert.matches("source_cache_spec.lua$", name)
    assert.equal(1, #source_cache.find(name))
  end)
end)
