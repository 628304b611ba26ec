-- SPDX-License-Identifier: MIT
-- Checks of what users call and type. A mistake is raised at the line of the user's call, however
-- deep in the library it is found, and the message names the nearest thing that exists.

local where = require("host.task").where

local check = {}

-- Words with more typing errors are different words.
local MAX_DISTANCE = 2

--- Damerau-Levenshtein distance (adjacent swaps count 1), one row at a time.
local function distance(a, b)
  local before, previous, row = {}, {}, {}
  for j = 0, #b do previous[j] = j end
  for i = 1, #a do
    row[0] = i
    local x, last_x = a:byte(i), a:byte(i - 1)
    for j = 1, #b do
      local y = b:byte(j)
      local best = math.min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (x == y and 0 or 1))
      if i > 1 and j > 1 and x == b:byte(j - 1) and last_x == y then
        best = math.min(best, before[j - 2] + 1)
      end
      row[j] = best
    end
    before, previous, row = previous, row, before
  end
  return previous[#b]
end

--- Returns the word of `list` that `word` was probably meant to be, or nil: one that begins with
--- it, or else the nearest within two typing errors (fewer for short words). Case does not matter.
---@param word string
---@param list string[]
---@return string|nil
function check.nearest(word, list)
  local typed = word:lower()
  local limit = math.min(MAX_DISTANCE, #typed // 2)
  local found, found_at
  for _, candidate in ipairs(list) do
    local name, at = candidate:lower(), nil
    if #typed >= 2 and name:sub(1, #typed) == typed then
      at = 0
    elseif math.abs(#name - #typed) <= limit then
      at = distance(typed, name)
    end
    if at and at <= limit and (not found_at or at < found_at) then
      found, found_at = candidate, at
    end
  end
  return found
end

--- Returns "; did you mean 'WORD'?" with the word that `check.nearest` finds, or nil.
---@param word any
---@param list string[]
---@param format string|nil how to write the word; default: "'%s'"
---@return string|nil
function check.hint(word, list, format)
  local nearest = type(word) == "string" and check.nearest(word, list)
  return nearest and "; did you mean " .. (format or "'%s'"):format(nearest) .. "?"
end

--- Returns the keys of a table, sorted: all strings, or all numbers.
---@generic K
---@param t table<K, any>
---@return K[]
function check.sorted_keys(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

local function article(type_name)
  return (type_name:find("^[aeiou]") and "an " or "a ") .. type_name
end

local function quoted(value)
  if type(value) == "string" then return "'" .. value .. "'" end
  if type(value) == "number" or type(value) == "boolean" then return tostring(value) end
  return type(value)
end

--- Returns "a, b or c".
---@param allowed any[]
---@param show fun(value: any): string
---@return string
function check.one_of(allowed, show)
  local names = {}
  for i, name in ipairs(allowed) do names[i] = show(name) end
  local last = table.remove(names)
  if #names == 0 then return last end
  return table.concat(names, ", ") .. " or " .. last
end

-- The value of a number, the type of anything else.
local function described(value)
  return type(value) == "number" and tostring(value) or type(value)
end

--- Returns the accepted value (a float with an integer's value becomes the integer), or nil and
--- what is wrong, worded to follow "option 'x' ".
local function accept(value, rule)
  if type(rule) == "function" then
    local ok, message = rule(value)
    if not ok then return nil, message or "is not valid" end
    return value
  elseif type(rule) == "table" then
    for _, allowed in ipairs(rule) do
      if value == allowed then return value end
    end
    return nil, ("must be %s, got %s"):format(check.one_of(rule, quoted), quoted(value))
  elseif rule == "integer" then
    local integer = type(value) == "number" and math.tointeger(value)
    if integer then return integer end
    return nil, "must be an integer, got " .. described(value)
  elseif rule == "any" or type(value) == rule then
    return value
  end
  return nil, ("must be %s, got %s"):format(article(rule), type(value))
end

local function unknown(key, schema)
  local known = check.sorted_keys(schema)
  local text = "unknown option " .. quoted(key)
  if #known == 0 then return text .. "; there are none" end
  return text .. (check.hint(key, known) or "; known are " .. table.concat(known, ", "))
end

--- Raises an error about wrong use of the library, at the line of the user's call: the innermost
--- one that is not in the library.
---@param format string as for string.format
---@param ... any
function check.misuse(format, ...)
  error(where() .. format:format(...), 0)
end

local misuse = check.misuse

--- Makes a module raise when a missing field is read, so that a mistyped name is reported there and
--- not where nil is called.
---@generic T
---@param name string as users require it
---@param module T
---@return T module
function check.module(name, module)
  return setmetatable(module, {
    __index = function(_, key)
      misuse("%s has no field %s%s", name, quoted(key),
        check.hint(key, check.sorted_keys(module), name .. ".%s") or "")
    end,
    __metatable = false,
  })
end

--- Returns a traceback without the library's frames and their tail calls, for errors in the user's
--- code. Tracebacks of tasks are without them already.
---@param traceback string
---@return string
function check.own_frames(traceback)
  return (traceback:gsub("\n\tlua/fleet/[^\n]*\n\t%(%.%.%.tail calls%.%.%.%)", "")
    :gsub("\n\tlua/fleet/[^\n]*", ""))
end

--- Checks the options of a call and returns a copy of them (nil gives {}), so that the callee may
--- fill in defaults. `what` is the called function's name; the values of `schema` are a type name
--- ("number", "integer", "string", "boolean", "table", "function", "any"), a list of allowed
--- strings, or a function(value) that returns true, or nil and a message such as "must be even". A
--- mistake is raised as misuse.
---@param what string
---@param opts table|nil
---@param schema table<string, string|string[]|fun(value: any): boolean|nil, string|nil>
---@return table
function check.options(what, opts, schema)
  local checked = {}
  if opts == nil then return checked end
  if type(opts) ~= "table" then
    misuse("%s: options must be a table, got %s", what, type(opts))
  end
  for key, value in pairs(opts) do
    local rule = schema[key]
    if rule == nil then misuse("%s: %s", what, unknown(key, schema)) end
    local accepted, message = accept(value, rule)
    if message then misuse("%s: option '%s' %s", what, key, message) end
    checked[key] = accepted
  end
  return checked
end

local function number_rule(description, holds)
  return function(value)
    if type(value) == "number" and holds(value) then return true end
    return nil, ("must be %s, got %s"):format(description, described(value))
  end
end

--- Returns the length of a user's list: its field `n`, or the index of its last element. The
--- operator # returns any border of a list with holes, which differs between versions of Lua.
---@param list table
---@return integer
function check.length(list)
  local n = math.tointeger(list.n)
  if n then return n end
  n = #list
  for key in next, list do
    if math.type(key) == "integer" and key > n then n = key end
  end
  return n
end

--- Schema rule: an integer from `min` to `max`.
---@param min integer
---@param max integer|nil default: no limit
---@return fun(value: any): boolean|nil, string|nil
function check.integer(min, max)
  local description = max and ("an integer from %d to %d"):format(min, max)
    or ("an integer of at least %d"):format(min)
  return number_rule(description, function(n)
    return math.type(n) == "integer" and n >= min and n <= (max or n)
  end)
end

--- Schema rule: a number above 0 (infinity is one, NaN is none).
check.positive = number_rule("a positive number", function(n) return n > 0 end)

--- Schema rule: a number of at least 0 (infinity is one, NaN is none).
check.non_negative = number_rule("a number of at least 0", function(n) return n >= 0 end)

--- Raises misuse of `what` unless an argument is a function.
---@param what string the called function's name
---@param f any
function check.callable(what, f)
  if type(f) ~= "function" then misuse("%s: a function expected, got %s", what, type(f)) end
end

return check
