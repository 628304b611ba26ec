-- SPDX-License-Identifier: MIT
-- Completion of command lines by shells: what a word may be, according to the tables of commands
-- (fleet.cli.Flag and fleet.cli.Command). A module for each shell writes its script from that.

local completion = {}

--- @class fleet.cli.Completion
--- @field kind "words"|"files"|"folders"|"nodes"|"any" what the word is
--- @field words string[]|nil of kind "words"; of the others, words that are possible as well
--- @field list boolean|nil whether it may be several, separated by commas
--- @field suffix string|nil of kind "files": what their names end with, such as ".lua"

-- By the name of the value in the help.
local KINDS = { FILE = "files", DIR = "folders", DIRS = "folders" }

--- What the value of a flag may be; nil for a switch.
---@param flag fleet.cli.Flag
---@return fleet.cli.Completion|nil
function completion.of_flag(flag)
  if flag.type == "boolean" then return nil end
  local words = flag.choices or flag.words
  return {
    kind = flag.completes or words and "words" or KINDS[flag.value] or "any",
    words = words,
    list = flag.type == "list",
  }
end

--- What the `n`th argument of a command may be. The last entry of a command's `completes` is for
--- all that follow, unless it takes no more.
---@param command fleet.cli.Command
---@param n integer from 1
---@return fleet.cli.Completion
function completion.of_argument(command, n)
  local list = command.completes or {}
  if command.max_args and n > command.max_args then return { kind = "any" } end
  return list[n] or list[#list] or { kind = "any" }
end

--- The flags of a list that the help shows.
---@param flags fleet.cli.Flag[]
---@return fleet.cli.Flag[]
function completion.visible(flags)
  local list = {}
  for _, flag in ipairs(flags) do
    if not flag.hidden then list[#list + 1] = flag end
  end
  return list
end

--- The shells that there are scripts for.
completion.SHELLS = { "bash", "zsh", "fish" }

--- The script for a shell.
---@param shell string one of completion.SHELLS
---@param commands fleet.cli.Commands
---@return string
function completion.script(shell, commands)
  return require("fleet.cli.completion." .. shell)(commands)
end

return completion
