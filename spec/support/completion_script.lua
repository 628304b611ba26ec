-- SPDX-License-Identifier: MIT
-- What the completion script of each shell must be as text; spec/e2e/completion_spec.lua uses them
-- in the shells.

local assert = require("luassert")

local completion_script = {}

-- Everything in it that a script might misread.
local COMMANDS = {
  flags = {
    { name = "level", type = "choice", choices = { "low", "high" }, help = "it's [a]: $x \\ %s" },
    { name = "secret", type = "string", value = "S", help = "hidden", hidden = true },
  },
  { name = "go", summary = "goes: 'there'", flags = {
    { name = "to", type = "string", value = "FILE[:N]", help = "a `file`" },
    { name = "in", type = "list", value = "LIST", help = "lists", words = { "a:b", "c" } },
  }, completes = { { kind = "folders" } }, max_args = 1 },
  { name = "stop", summary = "stops", flags = {} },
}

local function script_of(shell) return require("fleet.cli.completion." .. shell)(COMMANDS) end

--- Checks that the shell can read its script.
---@param shell "bash"|"fish"|"zsh"
function completion_script.check_syntax(shell)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(script_of(shell))
  file:close()
  local ok = os.execute(("%s -n '%s'"):format(shell, path))
  os.remove(path)
  assert.is_true(ok)
end

--- Checks that a script has every flag but hidden ones.
---@param shell "bash"|"fish"|"zsh"
function completion_script.check_words(shell)
  local text = script_of(shell)
  for _, word in ipairs({ "level", "low", "high", "go", "to", "in", "stop" }) do
    assert.matches("%f[%w]" .. word .. "%f[%W]", text)
  end
  assert.is_nil(text:find("secret", 1, true))
  assert.is_nil(text:find("@%u+@"))
end

return completion_script
