-- SPDX-License-Identifier: MIT
local cli = require("fleet.cli")
local config = require("fleet.cli.config")
local e2e = require("spec.support.e2e")

describe("fleet.cli.config", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function read(text) return config.read(world:write("c.lua", text)) end

  it("is a table that Lua code returns, which may compute", function()
    assert.same({ workers = 4, name = "n-x", filter = { "a=b" } }, read([[
      -- of this machine
      local n = 2 * 2
      return { workers = n, name = ("n-%s"):format("x"), filter = { "a=b" } }
    ]]))
    assert.same({ home = os.getenv("HOME") }, read("return { home = os.getenv('HOME') }"))
  end)

  it("may be missing where it is usual, not where it was named", function()
    assert.is_table(config.read())
    local values, err = config.read(world:path("none"))
    assert.is_nil(values)
    assert.equal("usage", err.kind)
    assert.matches("cannot read the configuration .*none: No such file or directory", err.message)
    assert.matches(": Is a directory$", select(2, config.read(world.dir)).message)
  end)

  it("says what is wrong with it, and where", function()
    for text, message in pairs({
      ["return {"] = "c.lua:1: unexpected symbol near <eof>",
      ["\n\nerror('no')"] = "c.lua:3: no",
      ["io.open('x')"] = "c.lua:1: attempt to index a nil value (global 'io')",
      ["\27Lua"] = "attempt to load a binary chunk",
      [""] = "c.lua: a configuration returns a table",
      ["return 1"] = "c.lua: a configuration returns a table",
    }) do
      local values, err = read(text)
      assert.is_nil(values)
      assert.equal("usage", err.kind)
      assert.is_truthy(err.message:find(message, 1, true), err.message)
    end
  end)
end)

describe("configured flags", function()
  local commands = {
    program = "p", summary = "s",
    flags = { { name = "config", type = "string" }, { name = "log-level", type = "string" } },
    { name = "go", flags = {
      { name = "count", type = "integer", min = 1, default = 7 },
      { name = "fast", type = "boolean" },
      { name = "peers", type = "list" },
      { name = "wait", type = "duration" },
    } },
    { name = "stop", flags = { { name = "now", type = "boolean" } } },
  }
  local asked
  local function parse(values, words, env)
    return cli.parse(commands, { "go", table.unpack(words or {}) },
      function(name) return (env or {})[name] end, function(path)
        asked = path
        return values
      end)
  end

  it("count less than the line and the environment, more than defaults", function()
    local values = { count = 2, log_level = "debug", now = true, wait = 1.5 }
    assert.same({ count = 2, log_level = "debug", wait = 1.5 }, parse(values).flags)
    assert.equal(3, parse(values, {}, { MOONFLEET_COUNT = "3" }).flags.count)
    assert.equal(4, parse(values, { "--count", "4" }, { MOONFLEET_COUNT = "3" }).flags.count)
    assert.equal(7, parse({}).flags.count)
  end)

  it("are told from what is said nearer", function()
    local invocation = parse({ count = 2, wait = 1, fast = true }, { "--count", "4" },
      { MOONFLEET_WAIT = "3" })
    assert.same({
      count = { precedence = 1, typed = true, name = "--count", of_command = true },
      wait = { precedence = 2, typed = false, name = "MOONFLEET_WAIT", of_command = true },
      fast = { precedence = 3, typed = false, name = "configured fast", of_command = true },
    }, invocation.origins)
  end)

  it("are of their own kind, or words as on the line", function()
    assert.same({ true, { "a", "b" }, 90 }, (function(f) return { f.fast, f.peers, f.wait } end)(
      parse({ fast = true, peers = { "a", "b" }, wait = "1.5m" }).flags))
    assert.same({ "a", "b" }, parse({ peers = "a,b", fast = "no" }).flags.peers)
  end)

  it("come from the file that is named", function()
    parse({})
    assert.is_nil(asked)
    assert.equal("f", parse({}, { "--config", "f" }).flags.config)
    assert.equal("f", asked)
    parse({}, {}, { MOONFLEET_CONFIG = "g" })
    assert.equal("g", asked)
  end)

  it("are refused when they are none, or of another kind", function()
    local function message(values)
      local invocation, err = parse(values)
      assert.is_nil(invocation)
      assert.equal("usage", err.kind)
      return err.message
    end
    assert.equal("the configuration has 'cuont', which is no flag of any command; did you mean "
      .. "count?", message({ cuont = 1 }))
    assert.equal("the configuration has a key that is a number, which is no flag of any command",
      message({ "x" }))
    assert.equal("configured count needs a whole number of at least 1, got '0'",
      message({ count = 0 }))
    assert.equal("configured count needs a number or a string, got table", message({ count = {} }))
    assert.equal("configured wait needs a number or a string, got boolean",
      message({ wait = true }))
    assert.equal("configured log_level needs a string, got number", message({ log_level = 1.10 }))
    assert.equal("configured peers needs a string or a list of strings, got number",
      message({ peers = 5 }))
    assert.equal("configured fast needs true or false, got number", message({ fast = 1 }))
    assert.equal("configured peers needs a list of strings, got number as number 2",
      message({ peers = { "a", 1 } }))
    assert.equal("configured peers needs a string or a list of strings, got boolean",
      message({ peers = true }))
  end)
end)
