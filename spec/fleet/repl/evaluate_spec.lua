-- SPDX-License-Identifier: MIT
local codec = require("host.codec")
local errors = require("fleet.errors")
local evaluate = require("fleet.repl.evaluate")

local function loader(text, chunkname)
  return load(text, chunkname, "t")
end

describe("evaluate.load", function()
  local function values(text, ...)
    return table.pack(assert(evaluate.load(text, "=x", loader))(...))
  end

  it("takes expressions, several too, and statements", function()
    assert.same({ n = 2, 2, "a" }, values("1 + 1, 'a'"))
    assert.same({ n = 1, 3 }, values("local x = 3 return x"))
    assert.same({ n = 0 }, values("local x = 3"))
    assert.same({ n = 2, 1, 2 }, values("...", 1, 2))
    assert.same({ n = 1, 1 }, values("1 -- a comment"))
    assert.same({ n = 1, 4 }, values("return 4"))
  end)

  it("takes an expression behind = as older prompts of Lua do", function()
    assert.same({ n = 2, 2, "a" }, values("= 1 + 1, 'a'"))
    assert.same({ n = 1, 2 }, values(" =2"))
    assert.is_nil((evaluate.load("== 1", "=x", loader)))
    local f, message, incomplete = evaluate.load("=", "=x", loader)
    assert.same({ nil, false }, { f, incomplete })
    assert.matches("^x:1: ", message)
    assert.is_true((select(3, evaluate.load("= 1 +", "=x", loader))))
  end)

  it("tells what is incomplete from what is wrong", function()
    for text, expected in pairs({
      ["if x then"] = true, ["f("] = true, ["x ="] = true, ["[[long"] = true, ["{1,"] = true,
      ["1 +"] = true, ["x = = 1"] = false, ["end"] = false, ["'open"] = false, ["f)"] = false,
    }) do
      local f, message, incomplete = evaluate.load(text, "=x", loader)
      assert.is_nil(f)
      assert.matches("^x:1: ", message)
      assert.equal(expected, incomplete, text)
    end
  end)

  it("counts lines and finds the prologue's locals", function()
    local f = evaluate.load("a +\n error('here')", "=x", loader, "local a = 1 ")
    local ok, message = pcall(f)
    assert.same({ false, "x:2: here" }, { ok, message })
  end)
end)

describe("evaluate.prologue", function()
  it("makes modules local that code reads and does not replace", function()
    local json = 'local json = require("fleet.json") '
    assert.equal(json, evaluate.prologue("json.encode(1)"))
    assert.equal(json, evaluate.prologue("x = json == nil"))
    assert.equal('local digest = require("fleet.digest") local fleet = require("fleet") ',
      evaluate.prologue("fleet.call(digest)"))
    -- names of fields, and keys, are no assignments; nor are arguments
    for _, code in ipairs({
      "{ json = json.encode(1) }", "{ 1, json = json.null; json = 2 }", "f(json, 2)", "{ json, 2 }",
      "return json, 2", "x = { f = function() return { json = json } end }", "t.json = json.x",
      "json.x = 1", "t[json] = 1", "json == x", "f { json = json }",
    }) do
      assert.equal(json, evaluate.prologue(code), code)
    end
    for _, code in ipairs({ "{ json = 1 }", "t.json = 1", "t:json()", "'json'", "-- json" }) do
      assert.equal("", evaluate.prologue(code), code)
    end
    for _, code in ipairs({
      "f(1) json, x = 2, 3", "x = { f = function() json = 1 end }", "if x then json = 1 end",
      "json = 1", "x, json = 1", "json, x = 1, 2", "function json() end", "my_json.x", "jsonx",
    }) do
      assert.equal("", evaluate.prologue(code), code)
    end
  end)
end)

describe("evaluate.run", function()
  it("gives values that travel, and the text of those that do not", function()
    local reply = evaluate.run(loader, "1, nil, {a = 1}, {print}", "=x")
    assert.equal(4, reply.n)
    local expected = { n = 4, 1, nil, { a = 1 }, shown = { [4] = "{<function: built in>}" } }
    assert.same(expected, reply)
    assert.same(expected, codec.decode(codec.encode(reply)))
    assert.equal("1\nnil\n{a = 1}\n{<function: built in>}", evaluate.format(reply))
  end)

  it("passes arguments, and raises what the code raises", function()
    assert.same({ n = 1, "abb" }, evaluate.run(loader,
      "arg[1] .. arg[2] .. select(2, ...)", "=x", "local arg = {...} ", "a", "b"))
    local ok, err = pcall(evaluate.run, loader, "error({ kind = 'k' })", "=x")
    assert.same({ false, { kind = "k" } }, { ok, err })
  end)
end)

describe("evaluate.format", function()
  it("writes values as the prompt does", function()
    assert.equal("", evaluate.format({ n = 0 }))
    assert.equal('1, "a"', evaluate.format({ n = 2, 1, "a" }))
    local err = errors.new({ kind = "dns", message = "no such host" })
    assert.equal("dns: no such host", evaluate.format({ n = 1, err }))
    assert.equal("nil, <dns: no such host>",
      evaluate.format({ n = 2, nil, { kind = "dns", message = "no such host" } }))
  end)
end)

describe("evaluate.remote", function()
  it("is a function of globals alone, whose text the loader was told", function()
    local told = {}
    local f = evaluate.remote(function(text, name)
      told[#told + 1] = { text, name }
      return load(text, name, "t")
    end)
    assert.equal(1, #told)
    assert.equal("_ENV", debug.getupvalue(f, 1))
    assert.is_nil(debug.getupvalue(f, 2))
    assert.same({ n = 1, 2 }, f("1 + 1", "=x"))
  end)
end)
