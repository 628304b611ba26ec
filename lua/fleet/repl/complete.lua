-- SPDX-License-Identifier: MIT
-- Completion at the prompt: names of globals and keywords, fields and methods along a path such as
-- `a.b:c`, and the words of `:` commands. It only reads tables and never runs code of the user.

local check = require("fleet.base.check")
local pretty = require("fleet.base.pretty")

local complete = {}

--- @class fleet.CompleteContext
--- @field env table the globals
--- @field commands table<string, boolean|fun(): string[]> by name without the colon: whether
--- Lua code follows, or a function that returns the possible arguments

-- Tables that __index may lead through.
local MAX_INDEX = 20

-- The tables in which fields of `value` are looked up.
local function places(value)
  local list = {}
  for _ = 1, MAX_INDEX do
    if type(value) == "table" then list[#list + 1] = value end
    local meta = debug.getmetatable(value)
    local index = type(meta) == "table" and rawget(meta, "__index")
    if type(index) ~= "table" then break end
    value = index
  end
  return list
end

local function field(value, name)
  for _, place in ipairs(places(value)) do
    local found = rawget(place, name)
    if found ~= nil then return found end
  end
  return nil
end

local function is_callable(value)
  local meta = debug.getmetatable(value)
  return type(value) == "function" or type(meta) == "table" and rawget(meta, "__call") ~= nil
end

local function starting_with(prefix, names)
  local list, seen = {}, {}
  for _, name in ipairs(names) do
    if not seen[name] and name:sub(1, #prefix) == prefix then
      seen[name] = true
      list[#list + 1] = name
    end
  end
  table.sort(list)
  return list
end

local function field_names(value, callable_only)
  local names = {}
  for _, place in ipairs(places(value)) do
    for key, item in next, place do
      if pretty.is_name(key) and (not callable_only or is_callable(item)) then
        names[#names + 1] = key
      end
    end
  end
  return names
end

local function resolve(env, path)
  local value = env
  for name in path:gmatch("[^.]+") do value = field(value, name) end
  return value
end

local function expression(context, before)
  local word = before:match("[%w_.:]*$")
  local path, mark, name = word:match("^(.*)([.:])([%w_]*)$")
  if path then
    if not path:find("^[%a_][%w_.]*$") or path:find("%.%.") or path:find("%.$") then
      return {}, #before
    end
    local names = field_names(resolve(context.env, path), mark == ":")
    return starting_with(name, names), #before - #name
  elseif word:find("^%d") then
    return {}, #before
  end
  local names = field_names(context.env, false)
  table.move(pretty.keywords, 1, #pretty.keywords, #names + 1, names)
  return starting_with(word, names), #before - #word
end

local function command(context, before)
  local name, argument = before:match("^%s*:(%a*)%s+(.*)$")
  if name then
    local words = context.commands[name]
    if type(words) == "function" then
      return starting_with(argument, words()), #before - #argument
    end
    if words then return expression(context, before) end
    return {}, #before
  end
  local prefix = before:match("^%s*:(%a*)$")
  if not prefix then return {}, #before end
  return starting_with(prefix, check.sorted_keys(context.commands)), #before - #prefix
end

--- Returns the words that may stand at the cursor, sorted, and the number of bytes of the line
--- before them. Each begins with the text from there to the cursor.
---@param context fleet.CompleteContext
---@param line string
---@param cursor integer bytes of the line before the cursor
---@return string[] words
---@return integer start
function complete.at(context, line, cursor)
  local before = line:sub(1, cursor)
  if before:find("^%s*:") then return command(context, before) end
  return expression(context, before)
end

--- Returns the longest common prefix.
---@param words string[] at least one
---@return string
function complete.common(words)
  local common = words[1]
  for _, word in ipairs(words) do
    local n = 0
    while n < #common and common:byte(n + 1) == word:byte(n + 1) do n = n + 1 end
    common = common:sub(1, n)
  end
  return common
end

return complete
