-- SPDX-License-Identifier: MIT
-- `moonfleet completion`: a shell's script, from the tables of commands.

local check = require("fleet.base.check")
local commands = require("fleet.cli.commands")
local completion = require("fleet.cli.completion")
local errors = require("fleet.errors")
local program = require("fleet.cli.program")
local text = require("fleet.base.text")

---@param invocation fleet.cli.Invocation
---@return integer|nil exit code
---@return fleet.Error|nil
return function(invocation)
  local shell = invocation.args[1]
  for _, known in ipairs(completion.SHELLS) do
    if shell == known then
      io.write(completion.script(shell, commands))
      return program.OK
    end
  end
  return nil, errors.format("usage", "completion needs %s, got %s%s",
    check.one_of(completion.SHELLS, tostring), text.quote(shell),
    check.hint(shell, completion.SHELLS) or "")
end
