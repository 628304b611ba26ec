-- SPDX-License-Identifier: MIT
-- Explains errors about functions of Lua that jobs do not have. The fields are nil in a job, so
-- that `if io.open then` works as it should; a call of one fails with Lua's own message, which is
-- replaced before it reaches the driver.

local source_cache = require("fleet.ship.source_cache")

local absent = {}

local match = string.match

local FILES = "jobs have no files"
local PROGRAMS = "jobs start no programs"

-- Why globals, and fields of libraries, are missing. The reason of a library is for all those of
-- its fields that have none of their own.
local REASONS = {
  io = FILES, ["io.stdin"] = "jobs have no standard input", ["io.popen"] = PROGRAMS,
  os = FILES, ["os.execute"] = PROGRAMS,
  ["os.exit"] = "a job ends when its function returns or raises",
  ["os.getenv"] = "jobs have no environment variables", ["os.setlocale"] = "jobs have one locale",
  debug = "jobs have only traceback of debug", package = "jobs load modules only by require",
  ["package.loadlib"] = "jobs load modules in C by require alone, where serve --modules allows it",
  string = "jobs have no bytecode",
  dofile = FILES, loadfile = FILES, arg = "jobs have no command line",
  warn = "jobs have no warnings; there is fleet.log",
}

--- A line of a text; nil when it has fewer lines.
local function line_of(text, number)
  local n = 0
  for line in (text .. "\n"):gmatch("([^\n]*)\n") do
    n = n + 1
    if n == number then return line end
  end
  return nil
end

--- Whether the text at that place uses `name` as in `pattern`; for a local variable the use may be
--- anywhere in the text. False if there are several texts and one uses the name for something else.
local function is_use(place, line, name, pattern, anywhere)
  local found = false
  for _, prefix in ipairs({ "@", "=", "" }) do
    for _, chunk in ipairs(source_cache.find(prefix .. place)) do
      local text = anywhere and chunk.text or line_of(chunk.text, line)
      if text and text:find("%f[%w_]" .. name .. "%f[^%w_]") then
        if not text:find(pattern) then return false end
        found = true
      end
    end
  end
  return found
end

--- Explains an error of Lua, "file.lua:3: attempt to call a nil value (field 'open')", if it is
--- about something that jobs do not have: "file.lua:3: jobs have no files (io.open)". Other
--- messages are returned unchanged.
---@param message string
---@return string
function absent.explain(message)
  local place, line, kind, name = match(message,
    "^([^\n]*):(%d+): attempt to %l+ a nil value %((%l+) '([%w_]+)'%)$")
  if not place then return message end
  local anywhere = kind == "local" or kind == "upvalue"
  local function fits(pattern)
    return is_use(place, tonumber(line), name, "%f[%w_.:]" .. pattern .. "%f[^%w_]", anywhere)
  end
  for thing, reason in pairs(REASONS) do
    local module = package.loaded[thing]
    if not module and kind == "global" and thing == name and fits(name) then
      return ("%s:%s: %s (%s)"):format(place, line, reason, name)
    elseif module and module[name] ~= nil and fits(thing .. "%s*%.%s*" .. name) then
      reason = REASONS[thing .. "." .. name] or reason
      return ("%s:%s: %s (%s.%s)"):format(place, line, reason, thing, name)
    end
  end
  return message
end

return absent
