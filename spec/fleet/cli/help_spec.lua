-- SPDX-License-Identifier: MIT
local cli = require("fleet.cli")
local commands = require("fleet.cli.commands")
local text = require("fleet.base.text")

local PROGRAM = {
  program = "prog",
  summary = "prog does things.",
  flags = { { name = "common", type = "string", value = "S", help = "of all" } },
  {
    name = "go", summary = "go", text = { "Goes." },
    flags = {
      { name = "s", type = "string", value = "S", help = "x" },
      { name = "at-least", type = "integer", min = 0, max = 99, value = "N", help = "x" },
      { name = "c", type = "choice", choices = { "red", "green", "blue" }, help = "x" },
      { name = "internal-fd", type = "integer", value = "FD", hidden = true, help = "secret" },
      { name = "preset", type = "integer", value = "N", default = 7, help = "x" },
    },
  },
  { name = "phantom", summary = "unseen", text = { "Boo." }, hidden = true, flags = {} },
}

describe("cli.help", function()
  local function each_help(tables, f)
    f(assert(cli.help(tables)))
    for _, command in ipairs(tables) do f(assert(cli.help(tables, command.name))) end
  end

  it("fits 80 columns and ends its last line", function()
    each_help(commands, function(help)
      assert.matches("[^\n]\n$", help)
      for line in help:gmatch("[^\n]+") do
        assert.is_true(text.width(line) <= 80, line)
        assert.is_nil(line:find("%s$"), line)
      end
    end)
  end)

  it("has every flag of the command with its default", function()
    local help = cli.help(commands, "run")
    for _, command in ipairs(commands) do
      if command.name == "run" then
        for _, flag in ipairs(command.flags) do
          assert.is_truthy(help:find("\n  --" .. flag.name, 1, true), flag.name)
        end
      end
    end
    assert.is_truthy(help:find("(default: jsonl)", 1, true))
    assert.is_truthy(help:find("moonfleet help flags", 1, true))
    assert.is_truthy(help:find("130 +interrupted"))
  end)

  it("has the flags of every command in one place", function()
    local help = cli.help(commands, "flags")
    for _, flag in ipairs(commands.flags) do
      local found = help:find("\n  --" .. flag.name, 1, true)
      assert.equal(not flag.hidden, found ~= nil, flag.name)
    end
    assert.is_truthy(help:find("MOONFLEET_HISTORY", 1, true))
    for _, command in ipairs(commands) do
      assert.is_nil(cli.help(commands, command.name):find("\n  --peers", 1, true))
    end
    assert.is_nil(cli.help(commands):find("\n  --", 1, true))
    assert.is_true(select(2, cli.help(commands):gsub("\n", "")) <= 24)
  end)

  it("has examples for every command, which the command line takes", function()
    for _, command in ipairs(commands) do
      if not command.hidden then
        assert.is_true(#command.examples > 0, command.name)
        for _, example in ipairs(command.examples) do
          local line = {}
          for word in example[1]:gsub("'[^']*'", "CODE"):gsub(" [<>].*", ""):gmatch("%S+") do
            line[#line + 1] = word
          end
          local parsed, err = cli.parse(commands, line, function() end)
          assert.is_nil(err and example[1] .. ": " .. err.message)
          assert.equal(command.name, parsed.command)
          assert.is_truthy(cli.help(commands, command.name):find("\n  moonfleet " .. example[1],
            1, true))
        end
      end
    end
  end)

  it("aligns the meanings", function()
    local column
    for line in cli.help(PROGRAM, "go"):gmatch("[^\n]+") do
      local at = line:match("^  %-%-.-%s%s+()")
      column = column or at
      assert.equal(column, at or column)
    end
    assert.is_number(column)
  end)

  it("hides what is hidden", function()
    assert.is_nil(cli.help(PROGRAM, "go"):find("internal", 1, true))
    assert.is_nil(cli.help(PROGRAM):find("phantom", 1, true))
  end)

  it("refuses a command that is not there", function()
    local help, err = cli.help(commands, "srve")
    assert.is_nil(help)
    assert.equal("usage", err.kind)
    assert.equal("unknown command 'srve'; did you mean 'serve'?", err.message)
  end)
end)
