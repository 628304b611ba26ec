-- SPDX-License-Identifier: MIT
-- The help of a program, of its commands and of the flags of every command, from the tables of
-- fleet.cli: lists of lines of at most 80 columns.

local text = require("fleet.base.text")

local help = {}

local WIDTH = 80
local LABEL_MAX = 26

--- The row of a flag in the help: {"--format jsonl|csv|table", what it does and its default}.
local function row_of(flag)
  local value = flag.value or flag.choices and table.concat(flag.choices, "|")
  local default = flag.default ~= nil and (" (default: %s)"):format(flag.default)
  return { "--" .. flag.name .. (value and " " .. value or ""), flag.help .. (default or "") }
end

--- Returns the sections of the flags in the help, in the order of the first flag of each.
---@param flags fleet.cli.Flag[]
---@param title string of the section of flags that name none
---@return table[] sections {title, rows}, a row is {label, meaning}
function help.sections(flags, title)
  local sections, rows = {}, {}
  for _, flag in ipairs(flags) do
    if not flag.hidden then
      local name = flag.section or title
      if not rows[name] then
        rows[name] = {}
        sections[#sections + 1] = { name, rows[name] }
      end
      table.insert(rows[name], row_of(flag))
    end
  end
  return sections
end

local function add_paragraph(out, s)
  out[#out + 1] = ""
  for _, line in ipairs(text.wrap(s, WIDTH)) do out[#out + 1] = line end
end

--- Adds a row {label, meaning}, the meaning in a column of its own; a label that is too long for
--- its column has a line to itself.
local function add_row(out, row, column)
  local label = "  " .. row[1]
  if text.width(label) + 2 > column then
    out[#out + 1] = label
    label = ""
  end
  for _, line in ipairs(text.wrap(row[2], WIDTH - column)) do
    out[#out + 1] = text.pad(label, column) .. line
    label = ""
  end
end

--- Adds the sections {title, rows} with one common column.
local function add_sections(out, sections)
  local column = 0
  for _, section in ipairs(sections) do
    for _, row in ipairs(section[2]) do
      local width = text.width(row[1])
      if width <= LABEL_MAX then column = math.max(column, width + 4) end
    end
  end
  for _, section in ipairs(sections) do
    table.move({ "", section[1] .. ":" }, 1, 2, #out + 1, out)
    for _, row in ipairs(section[2]) do add_row(out, row, column) end
  end
end

--- The word that asks for the flags of every command.
help.FLAGS = "flags"

--- The help of the flags of every command, and of the environment variables.
---@param commands fleet.cli.Commands
---@return string[]
function help.of_flags(commands)
  local out = { ("%s COMMAND [FLAG]..."):format(commands.program) }
  add_paragraph(out, "Every command takes these flags. They, and most flags of single commands, "
    .. "can also be set in the environment (MOONFLEET_LOG_LEVEL is --log-level) or in the "
    .. "configuration file (log_level = \"debug\"). The command line wins over the environment, "
    .. "and the environment over the file.")
  local sections = help.sections(commands.flags, "Flags of every command")
  if commands.variables then
    sections[#sections + 1] = { "Other environment variables", commands.variables }
  end
  add_sections(out, sections)
  return out
end

--- The help of a command.
---@param commands fleet.cli.Commands
---@param command fleet.cli.Command
---@return string[]
function help.of_command(commands, command)
  local sections = help.sections(command.flags, "Flags")
  local out = { ("%s %s%s%s"):format(commands.program, command.name, sections[1] and " [FLAG]..."
    or "", command.usage and " " .. command.usage or "") }
  for _, paragraph in ipairs(command.text) do add_paragraph(out, paragraph) end
  for _, note in ipairs(command.notes or {}) do sections[#sections + 1] = { note.title, note } end
  add_sections(out, sections)
  for i, example in ipairs(command.examples or {}) do
    if i == 1 then table.move({ "", "Examples:" }, 1, 2, #out + 1, out) end
    out[#out + 1] = ("  # %s"):format(example[2])
    out[#out + 1] = ("  %s %s"):format(commands.program, example[1])
  end
  add_paragraph(out, ("'%s help %s' lists the flags that every command has, such as those that "
    .. "select the nodes."):format(commands.program, help.FLAGS))
  return out
end

--- The list of commands.
---@param commands fleet.cli.Commands
---@return string[]
function help.of_program(commands)
  local program = commands.program
  local out = { ("%s COMMAND [FLAG]... [ARG]..."):format(program) }
  add_paragraph(out, commands.summary)
  local rows = {}
  for _, command in ipairs(commands) do
    if not command.hidden then rows[#rows + 1] = { command.name, command.summary } end
  end
  add_sections(out, { { "Commands", rows } })
  add_paragraph(out, ("'%s help COMMAND' shows the flags of a command and examples, '%s help %s' "
    .. "the flags that every command has."):format(program, program, help.FLAGS))
  return out
end

return help
