-- SPDX-License-Identifier: MIT
local commands = require("fleet.cli.commands")
local completion = require("fleet.cli.completion")
local e2e = require("spec.support.e2e")
local run_completion = require("fleet.cli.command.completion")

describe("moonfleet completion", function()
  it("prints the script of each shell", function()
    local world = e2e.new()
    for _, shell in ipairs(completion.SHELLS) do
      local run = world:run({ "completion", shell })
      assert.same({ 0, "", completion.script(shell, commands) }, { run.code, run.err, run.out })
    end
    world:close()
  end)

  it("names the shells that there are", function()
    local code, err = run_completion({ args = { "bsh" } })
    assert.is_nil(code)
    assert.same({ "usage", "completion needs bash, zsh or fish, got 'bsh'; did you mean 'bash'?" },
      { err.kind, err.message })
  end)
end)
