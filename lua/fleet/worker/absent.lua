-- SPDX-License-Identifier: MIT
-- What Lua has and jobs have not, in the words of an error. The fields are nil in
-- a job, so that `if io.open then` means what it should; a call of one fails with
-- Lua's own words, which this explains when they reach the driver.

local chunks = require("fleet.ship.chunks")

local absent = {}

local match = string.match

local FILES = "jobs have no files"
local PROGRAMS = "jobs start no programs"

-- Why what a table of Lua has is not there; some fields have reasons of their own.
local WHY = {
  io = FILES, os = FILES, debug = "jobs have no more of debug than traceback",
  package = "jobs load modules by require alone", string = "jobs have no bytecode",
}
local WHY_FIELD = {
  io = { stdin = "jobs have no standard input", popen = PROGRAMS },
  os = {
    execute = PROGRAMS, exit = "a job ends when its function returns or raises",
    getenv = "jobs have no environment variables", setlocale = "jobs have one locale",
  },
  package = { loadlib = "jobs have no libraries written in C" },
}
local WHY_GLOBAL = {
  dofile = FILES, loadfile = FILES, arg = "jobs have no command line",
  warn = "jobs have no warnings; there is fleet.log",
}

--- The line of a text; nil when it has not so many.
local function line_of(text, number)
  local n = 0
  for line in (text .. "\n"):gmatch("([^\n]*)\n") do
    n = n + 1
    if n == number then return line end
  end
  return nil
end

--- Whether the text at that place names the field by `pattern`. Of a local variable it may do so
--- anywhere. Where several texts may be meant, and one has the name for something else, it does
--- not.
local function names_it(place, line, name, pattern, anywhere)
  local found = false
  for _, prefix in ipairs({ "@", "=", "" }) do
    for _, chunk in ipairs(chunks.find(prefix .. place)) do
      local text = anywhere and chunk.text or line_of(chunk.text, line)
      if text and text:find("%f[%w_]" .. name .. "%f[^%w_]") then
        if not text:find(pattern) then return false end
        found = true
      end
    end
  end
  return found
end

--- Explains an error of Lua, "file.lua:3: attempt to call a nil value (field 'open')", where it is
--- about something that Lua has and jobs have not: "file.lua:3: jobs have no files (io.open)".
--- Other messages are returned as they are.
---@param message string
---@return string
function absent.explain(message)
  local place, line, kind, name = match(message,
    "^([^\n]*):(%d+): attempt to %l+ a nil value %((%l+) '([%w_]+)'%)$")
  if not place then return message end
  local anywhere = kind == "local" or kind == "upvalue"
  local function fits(pattern)
    return names_it(place, tonumber(line), name, "%f[%w_.:]" .. pattern .. "%f[^%w_]", anywhere)
  end
  if kind == "global" and WHY_GLOBAL[name] and fits(name) then
    return ("%s:%s: %s (%s)"):format(place, line, WHY_GLOBAL[name], name)
  end
  for library, why in pairs(WHY) do
    if _G[library][name] ~= nil and fits(library .. "%s*%.%s*" .. name) then
      why = WHY_FIELD[library] and WHY_FIELD[library][name] or why
      return ("%s:%s: %s (%s.%s)"):format(place, line, why, library, name)
    end
  end
  return message
end

return absent
