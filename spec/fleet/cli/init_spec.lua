-- SPDX-License-Identifier: MIT
local cli = require("fleet.cli")
local commands = require("fleet.cli.commands")
local errors = require("fleet.errors")

-- One flag of every type, and a hidden one.
local EVERY = {
  program = "prog",
  summary = "prog does things.",
  flags = { { name = "common", type = "string", value = "S", help = "of all" } },
  {
    name = "go",
    summary = "go",
    text = { "Goes." },
    flags = {
      { name = "s", type = "string", value = "S", help = "x" },
      { name = "b", type = "boolean", help = "x" },
      { name = "i", type = "integer", value = "N", help = "x" },
      { name = "at-least", type = "integer", min = 0, max = 99, value = "N", help = "x" },
      { name = "positive", type = "integer", min = 1, value = "N", help = "x" },
      { name = "d", type = "duration", value = "S", help = "x" },
      { name = "z", type = "size", value = "BYTES", help = "x" },
      { name = "c", type = "choice", choices = { "red", "green", "blue" }, help = "x" },
      { name = "l", type = "list", value = "LIST", help = "x" },
      { name = "p", type = "percent", value = "P%", help = "x" },
      { name = "internal-fd", type = "integer", value = "FD", hidden = true, help = "secret" },
      { name = "now", type = "string", value = "S", typed_only = true, help = "x" },
      { name = "preset", type = "integer", value = "N", default = 7, help = "x" },
    },
  },
  { name = "phantom", summary = "unseen", text = { "Boo." }, hidden = true, flags = {} },
}

local function words(line)
  local list = {}
  for word in line:gmatch("%S+") do list[#list + 1] = word end
  return list
end

local function parse(line, env, tables)
  local argv = type(line) == "table" and line or words(line)
  return cli.parse(tables or EVERY, argv, function(name) return env and env[name] end)
end

local function value(line, name, env)
  local parsed, err = parse("go " .. line, env)
  assert.is_nil(err)
  return parsed.flags[name]
end

local function failure(line, env, tables)
  local parsed, err = parse(line, env, tables)
  assert.is_nil(parsed)
  assert.is_true(errors.is(err))
  assert.equal("usage", err.kind)
  assert.is_nil(err.message:find("\n"))
  return err.message
end

describe("cli.parse, the shape of a line", function()
  it("takes flags before, between and after the arguments", function()
    local expected = { command = "go", args = { "a", "b" } }
    for _, line in ipairs({ "go --s x --common y a b", "--common y go a --s x b",
        "go a b --s=x --common=y" }) do
      local parsed = parse(line)
      assert.equal(expected.command, parsed.command)
      assert.same(expected.args, parsed.args)
      assert.equal("x", parsed.flags.s)
      assert.equal("y", parsed.flags.common)
    end
  end)

  it("ends flags at -- and takes - for an argument", function()
    assert.same({ "-", "--s", "--", "-x" }, parse("go - -- --s -- -x").args)
  end)

  it("keeps what stands behind the first = as it is", function()
    assert.equal("a=b=", value("--s=a=b=", "s"))
    assert.equal("--x", value("--s=--x", "s"))
    assert.equal("-", value("--s -", "s"))
  end)

  it("joins lists, and takes a flag of one value twice only when it says the same", function()
    assert.same({ "a", "b", "c" }, value("--l a,b --l c", "l"))
    assert.equal("one", value("--s one --s=one", "s"))
    assert.equal("--s is given twice, as 'one' and 'two'", failure("go --s one --s two"))
    assert.equal("--b is given twice, as 'true' and 'false'", failure("go --b --b=no"))
    assert.equal("--common is given twice, as 'x' and 'y'", failure("--common x go --common y"))
  end)

  it("leaves words to the first argument that owns them", function()
    local tables = {
      program = "prog", summary = "", flags = EVERY.flags,
      {
        name = "start", summary = "", text = {},
        owns_words = function(first) return first == "it" end,
        flags = { { name = "b", type = "boolean", help = "x" } },
      },
    }
    local function args(line) return parse(line, nil, tables).args end
    assert.same({ "it", "--b", "--common", "x", "--help", "--", "-V" },
      args("start --common y it --b --common x --help -- -V"))
    assert.same({ "it", "--b" }, args("start it -- --b"))
    assert.same({ "--b" }, args("start -- --b"))
    assert.same({ "other" }, args("start other --b"))
    assert.equal("help", parse("start --help it", nil, tables).command)
    assert.equal("version", parse("start -V it", nil, tables).command)
    assert.equal("start", parse("start it --version", nil, tables).command)
  end)

  it("puts flags under their name with _ for -", function()
    assert.equal(3, value("--at-least 3", "at_least"))
  end)

  it("wants a value", function()
    assert.equal("--s needs a value", failure("go --s"))
    assert.equal("--s needs a value", failure("go --s --b"))
    assert.equal("--s needs a value", failure("go --s="))
    assert.equal("--b needs a value", failure("go --b="))
    assert.equal("--s needs a value", failure({ "go", "--s", "" }))
  end)

  it("accepts empty and odd arguments", function()
    assert.same({ "", "a b", "\n" }, parse({ "go", "", "a b", "\n" }).args)
  end)

  it("asks for a command", function()
    assert.equal("no command given; there are go (prog help)", failure("--common x"))
    assert.equal("no command given; there are go (prog help)", failure("--"))
    assert.same({ command = "help", flags = {}, args = {} }, parse(""))
  end)
end)

describe("cli.parse, values", function()
  local good = {
    { "--b", "b", true }, { "--b=false", "b", false }, { "--b=Yes", "b", true },
    { "--b=0", "b", false },
    { "--i 12", "i", 12 }, { "--i -5", "i", -5 }, { "--i=+3", "i", 3 },
    { "--at-least 0", "at_least", 0 },
    { "--d 30", "d", 30 }, { "--d 1.5s", "d", 1.5 }, { "--d .5", "d", 0.5 }, { "--d 2m", "d", 120 },
    { "--d 500ms", "d", 0.5 }, { "--d 1H", "d", 3600 },
    { "--z 4096", "z", 4096 }, { "--z 10k", "z", 10240 }, { "--z 64MiB", "z", 64 << 20 },
    { "--z 1.5K", "z", 1536 }, { "--z 2kB", "z", 2000 }, { "--z 1g", "z", 1 << 30 },
    { "--z 7b", "z", 7 },
    { "--c blue", "c", "blue" },
    { "--l a", "l", { "a" } }, { "--l a,b", "l", { "a", "b" } },
    { "--p 1%", "p", 0.01 }, { "--p 100%", "p", 1 }, { "--p 0.5%", "p", 0.005 },
  }
  for _, case in ipairs(good) do
    it("reads " .. case[1], function()
      assert.same(case[3], value(case[1], case[2]))
    end)
  end

  it("makes integers of sizes and whole numbers", function()
    assert.equal("integer", math.type(value("--z 1.5K", "z")))
    assert.equal("integer", math.type(value("--i 12", "i")))
  end)

  it("trims the entries of a list", function()
    assert.same({ "a", "b c" }, parse({ "go", "--l", " a , b c" }).flags.l)
  end)

  local bad = {
    ["--b=maybe"] = "--b needs true or false, got 'maybe'",
    ["--i x"] = "--i needs a whole number, got 'x'",
    ["--i 1.5"] = "--i needs a whole number, got '1.5'",
    ["--i 0x10"] = "--i needs a whole number, got '0x10'",
    ["--i 99999999999999999999"] = "--i needs a whole number, got '99999999999999999999'",
    ["--at-least -1"] = "--at-least needs a whole number from 0 to 99, got '-1'",
    ["--at-least 100"] = "--at-least needs a whole number from 0 to 99, got '100'",
    ["--positive 0"] = "--positive needs a whole number of at least 1, got '0'",
    ["--d 0"] = "--d needs a time above 0 such as 30, 1.5s, 2m or 500ms, got '0'",
    ["--d 5x"] = "--d needs a time above 0 such as 30, 1.5s, 2m or 500ms, got '5x'",
    ["--d -5"] = "--d needs a time above 0 such as 30, 1.5s, 2m or 500ms, got '-5'",
    ["--d 1.2.3"] = "--d needs a time above 0 such as 30, 1.5s, 2m or 500ms, got '1.2.3'",
    ["--z 10x"] = "--z needs a size such as 4096, 10k or 64MiB, got '10x'",
    ["--z 5ib"] = "--z needs a size such as 4096, 10k or 64MiB, got '5ib'",
    ["--z 0.3"] = "--z needs a size that is a whole number of bytes, got '0.3'",
    ["--c pink"] = "--c needs red, green or blue, got 'pink'",
    ["--c gren"] = "--c needs red, green or blue, got 'gren'; did you mean 'green'?",
    ["--l a,,b"] = "--l needs entries separated by single commas, got 'a,,b'",
    ["--l a,"] = "--l needs entries separated by single commas, got 'a,'",
    ["--p 1"] = "--p needs a share above 0% and up to 100%, such as 1%, got '1'",
    ["--p 0%"] = "--p needs a share above 0% and up to 100%, such as 1%, got '0%'",
    ["--p 101%"] = "--p needs a share above 0% and up to 100%, such as 1%, got '101%'",
  }
  for line, message in pairs(bad) do
    it("refuses " .. line, function()
      assert.equal(message, failure("go " .. line))
    end)
  end

  it("shows what was typed on one line, shortened", function()
    assert.equal("--i needs a whole number, got 'a\\nb\\x1b'", failure({ "go", "--i", "a\nb\27" }))
    assert.is_true(#failure("go --i " .. ("x"):rep(5000)) < 120)
  end)
end)

describe("cli.parse, words that are not known", function()
  it("names the nearest flag", function()
    assert.equal("unknown flag --comon; did you mean --common? (prog help go)",
      failure("go --comon x"))
    assert.equal("unknown flag --hepl; did you mean --help? (prog help go)", failure("go --hepl"))
    assert.equal("unknown flag --zzzz (prog help go)", failure("go --zzzz=1"))
  end)

  it("takes a flag that must be typed from the line alone", function()
    assert.equal("x", value("--now x", "now", { MOONFLEET_NOW = "y" }))
    assert.is_nil(value("", "now", { MOONFLEET_NOW = "y" }))
    assert.same({ "the variable MOONFLEET_NOW does not count: --now must be typed" },
      cli.unknown_variables(EVERY, { "MOONFLEET_NOW" }))
  end)

  it("never suggests what is hidden", function()
    assert.equal("unknown flag --internal-f (prog help go)", failure("go --internal-f 3"))
    assert.equal("unknown command 'phanto'; there are go (prog help)", failure("phanto"))
    assert.equal(3, value("--internal-fd 3", "internal_fd"))
    assert.equal("phantom", parse("phantom").command)
  end)

  it("explains the dash of an argument", function()
    assert.equal("unknown flag -5; write -- before arguments that begin with a dash (prog help go)",
      failure("go -5"))
    assert.matches("^unknown flag %-%-; write %-%- before", failure("go --=x"))
  end)

  it("tells whose flag it is", function()
    assert.equal("--items is a flag of run, not of nodes (moonfleet help nodes)",
      failure("nodes --items", nil, commands))
    assert.equal("--limit is a flag of run: write it after the command (moonfleet help run)",
      failure("--limit 5 run x", nil, commands))
  end)

  it("names the nearest command", function()
    assert.equal("unknown command 'rnu'; did you mean 'run'?", failure("rnu", nil, commands))
    assert.equal("unknown command 'xyz'; there are run, eval, repl, serve, web, nodes, doctor, "
      .. "keygen, completion, version, help (moonfleet help)", failure("xyz", nil, commands))
  end)
end)

describe("cli.parse, arguments", function()
  it("says what is missing or too much", function()
    assert.equal("run needs a job script: moonfleet run JOB.lua [FILE|-|ITEM]...",
      failure("run --items", nil, commands))
    assert.equal("nodes takes no arguments, got 'x' (moonfleet help nodes)",
      failure("nodes x", nil, commands))
    assert.equal("help takes at most 1 argument, got 'b' (moonfleet help help)",
      failure("help a b", nil, commands))
  end)
end)

describe("cli.parse, the environment", function()
  it("is the default of every flag, and the line wins", function()
    local env = { MOONFLEET_AT_LEAST = "4", MOONFLEET_COMMON = "c", MOONFLEET_L = "x,y" }
    assert.equal(4, value("", "at_least", env))
    assert.equal("c", value("", "common", env))
    assert.equal(5, value("--at-least 5", "at_least", env))
    assert.same({ "z" }, value("--l z", "l", env))
    assert.is_false(value("--b=false", "b", { MOONFLEET_B = "1" }))
  end)

  it("wins over the default of the flag", function()
    assert.equal(7, value("", "preset"))
    assert.equal(8, value("", "preset", { MOONFLEET_PRESET = "8" }))
    assert.equal(9, value("--preset 9", "preset", { MOONFLEET_PRESET = "8" }))
  end)

  it("counts as unset when empty, and is named when wrong", function()
    assert.is_nil(value("", "i", { MOONFLEET_I = "" }))
    assert.equal("MOONFLEET_AT_LEAST needs a whole number from 0 to 99, got 'x'",
      failure("go", { MOONFLEET_AT_LEAST = "x" }))
  end)
end)

describe("cli.parse, help and version", function()
  it("finds them anywhere, also on a line that is wrong", function()
    for _, line in ipairs({ "go --help", "--help go", "go -h --nonsense", "go --i x --help" }) do
      assert.same({ command = "help", flags = {}, args = { "go" } }, parse(line))
    end
    assert.same({ command = "help", flags = {}, args = {} }, parse("--help"))
    assert.equal("version", parse("--version").command)
    assert.equal("version", parse("go --version").command)
  end)

  it("leaves arguments behind -- alone", function()
    assert.same({ "--help" }, parse("go -- --help").args)
  end)
end)
