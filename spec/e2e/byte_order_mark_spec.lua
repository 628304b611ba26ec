-- SPDX-License-Identifier: MIT
-- Editors may put a byte order mark before a text. Whatever moonfleet reads ignores it.
local config = require("fleet.cli.config")
local discovery = require("fleet.discovery.file")
local e2e = require("spec.support.e2e")
local release = require("fleet.discovery.release")

local MARK = "\u{FEFF}"

describe("a byte order mark", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function write(name, text) return world:write(name, MARK .. text) end

  local function output(words, options)
    local done = world:run(words, options)
    assert.equal(0, done.code, done.err)
    return done.out
  end

  it("is skipped in scripts and the modules that they require, before #! too", function()
    write("inner.lua", "return 7")
    assert.equal("7\n", output({ "run", write("driver.lua", "print((require('inner')))") }))
    assert.equal("8\n", output({ "run", write("driver.lua", "#!/usr/bin/env x\nprint(8)") }))
    local job = write("job.lua", "return { map = function(x) return require('inner') + x end }")
    assert.equal('{"item":1,"value":8}\n',
      output({ "run", job, "--input", "jsonl", write("items", "1\n") }))
  end)

  it("is skipped in items: lines, JSON Lines, and of each of several files", function()
    local job = world:write("job.lua", "return { map = function(x) return x end }")
    local one, two = write("one", "a\nb\n"), write("two", "c\n")
    local values = {}
    for i, row in ipairs(e2e.results(output({ "run", job, one, two }))) do values[i] = row.value end
    assert.same({ "a", "b", "c" }, values)
    assert.equal('{"item":{"a":1},"value":{"a":1}}\n',
      output({ "run", job, "--input", "jsonl", "-" }, { stdin = write("in", '{"a":1}\n') }))
    assert.equal('{"item":"","value":""}\n', output({ "run", job, write("in", "\n") }))
  end)

  it("is skipped by eval and :load", function()
    assert.equal("3\n", output({ "eval", "-" }, { stdin = write("code", "return 1 + 2") }))
    assert.equal("3\n", output({ "repl" }, {
      stdin = world:write("in", ":load " .. write("code.lua", "return 1 + 2") .. "\n"),
      env = { "MOONFLEET_HISTORY=" },
    }))
    for code, printed in pairs({ ["return 1\n"] = "1\n", ["1\n2\n"] = "1\n2\n", [""] = "" }) do
      assert.equal(printed, output({ "repl" }, { stdin = write("in", code) }))
    end
  end)

  it("is skipped in configurations, lists of peers and the release", function()
    assert.same({ workers = 2 }, config.read(write("c.lua", "return { workers = 2 }")))
    assert.same({ { id = "a:5", address = "a:5" } },
      discovery.new(write("list", "a\n"), discovery.addresses(5)):poll().members)
    assert.equal("r1", (release.find({ file = write("release", "r1\n") })))
  end)

  it("of UTF-16 is refused, with what to do", function()
    local job = world:write("job.lua", "return { map = function(x) return x end }")
    local fine = world:write("fine", "a\n")
    local function utf16(name, text, big)
      return world:write(name, big and "\xFE\xFF" .. text:gsub(".", "\0%0")
        or "\xFF\xFE" .. text:gsub(".", "%0\0"))
    end
    local function refused(code, words)
      local done = world:run(words)
      assert.equal(code, done.code, done.err)
      assert.equal("", done.out)
      assert.matches("the file is in UTF-16; save it as UTF-8\n", done.err, 1, true)
    end
    for _, big in ipairs({ false, true }) do
      refused(2, { "run", utf16("wide.lua", "return { map = print }", big), fine })
      refused(2, { "nodes", "--config", utf16("c.lua", "return {}", big) })
      refused(2, { "nodes", "--discover", "file:" .. utf16("list", "127.0.0.1:1\n", big) })
      refused(1, { "run", job, utf16("items", "a\r\nb\r\n", big) })
      refused(1, { "run", job, "--input", "jsonl", utf16("rows", "1\n", big) })
      refused(1, { "run", job, utf16("end", "a", big) })
    end
  end)

  it("stays where it is data", function()
    local job = world:write("job.lua", "return { map = function(x) return #x end }")
    local items = world:write("items", "a\n" .. MARK .. "b\n")
    assert.matches('"value":4}\n$', output({ "run", job, items }))
    assert.matches('"value":4}\n$', output({ "run", job, "--items", MARK .. "b" }))
  end)
end)
