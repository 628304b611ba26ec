-- SPDX-License-Identifier: MIT
local cli = require("fleet.cli")
local commands = require("fleet.cli.commands")

describe("the tables of commands", function()
  it("hold flags with distinct names, a help and a name for the value", function()
    for _, command in ipairs(commands) do
      local seen = {}
      for _, list in ipairs({ commands.flags, command.flags }) do
        for _, flag in ipairs(list) do
          -- one that must be typed may stand in the place of a common one
          assert.is_true(seen[flag.name] == nil or flag.typed_only)
          seen[flag.name] = true
          assert.is_string(flag.help)
          assert.is_true(flag.type == "boolean" or flag.value ~= nil or flag.choices ~= nil)
        end
      end
    end
  end)

  it("have no default that their own flag would not take", function()
    for _, command in ipairs(commands) do
      for _, list in ipairs({ commands.flags, command.flags }) do
        for _, flag in ipairs(list) do
          if flag.default ~= nil then
            local parsed, err = cli.parse(commands,
              { command.name, ("--%s=%s"):format(flag.name, flag.default),
                table.unpack(command.min_args and { "x" } or {}) }, function() end)
            assert.is_nil(err)
            assert.equal(flag.default, parsed.flags[flag.name:gsub("-", "_")])
          end
        end
      end
    end
  end)

  it("leave the options of a job to the job", function()
    local parsed = cli.parse(commands, { "run", "job.lua" }, function() end)
    for _, name in ipairs({ "retries", "timeout", "concurrency", "batch", "unordered" }) do
      assert.is_nil(parsed.flags[name])
    end
    assert.equal("lines", parsed.flags.input)
    assert.equal("jsonl", parsed.flags.format)
  end)
end)
