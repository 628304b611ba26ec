-- SPDX-License-Identifier: MIT
-- Where items come from: lazy sources over bytes, words and a job's own items.
--
-- A source is a function; each call gives the next of
--   item          any value but nil
--   item, err     an item that cannot be used: it fails with `err`, kind
--                 "input", without being run, and the source goes on
--   nil           the end, and nil for good
--   nil, err      the end too soon: what follows could not be read
-- A reader gives bytes the same way: a chunk of any size (also none); nil at
-- the end; nil and an error or a string when reading failed.

local check = require("fleet.base.check")
local errors = require("fleet.errors")
local pretty = require("fleet.base.pretty")
local text = require("fleet.base.text")

local input = {}

--- @alias fleet.ItemSource fun(): any, fleet.Error|nil
--- @alias fleet.Reader fun(): string|nil, any

-- A longer line is no item; only its beginning is kept.
local MAX_LINE = 16 * 1024 * 1024
local HEAD_KEPT = 200

--- Beginnings and pieces of the line that the chunks read so far have not
--- ended. What is over the limit is counted and dropped.
local function new_carry()
  local carry = { count = 0, size = 0 }

  function carry.add(piece)
    local kept = carry.size
    carry.size = kept + #piece
    if kept <= MAX_LINE then
      carry.count = carry.count + 1
      carry[carry.count] = piece
    end
  end

  --- The whole line, and its size when that is over the limit.
  function carry.take()
    local line, size = table.concat(carry, "", 1, carry.count), carry.size
    for i = carry.count, 1, -1 do carry[i] = nil end
    carry.count, carry.size = 0, 0
    return line, size > MAX_LINE and size or nil
  end

  return carry
end

--- The beginning that stands for a line too long, not cut inside a character.
local function head_of(line)
  return (line:sub(1, HEAD_KEPT):gsub("[\xC2-\xF4][\x80-\xBF]*$", ""))
end

--- A source of the lines that `read` gives: without the LF or CRLF at their end,
--- any other bytes kept; empty lines are items, and so is a last line that
--- nothing ends. A byte order mark at the start is dropped, and a file in UTF-16
--- refused. A line of more than 16 MiB is an item that fails; its first 200 bytes stand for it.
---@param read fleet.Reader
---@param name string of the file, for errors
---@return fleet.ItemSource source
---@return fun(): integer line_number of the last item
function input.lines(read, name)
  local find, sub, byte = string.find, string.sub, string.byte
  local chunk, at = "", 1
  local carry = new_carry()
  local number, ended = 0, false

  --- The item of the carried line.
  local function take()
    local line, size = carry.take()
    number = number + 1
    if number == 1 then
      local fault = text.utf16_fault(line)
      if fault then
        chunk, ended = "", true
        return nil, errors.format("input", "%s: %s", name, fault)
      end
      line = text.without_mark(line)
    end
    if size then
      return head_of(line), errors.format("input", "%s:%d: the line has %d bytes, more than the "
        .. "limit of %d", name, number, size, MAX_LINE)
    end
    if byte(line, -1) == 13 then line = sub(line, 1, -2) end
    return line
  end

  local function finish(err)
    chunk, ended = "", true
    if err ~= nil then
      -- The piece of a line before the failure may be cut: it is no item.
      local why = text.one_line(errors.is(err) and err.message or tostring(err))
      local where = number > 0 and (" on after line %d"):format(number) or ""
      return nil, errors.format("input", "%s: cannot read%s: %s", name, where, why)
    end
    if carry.size > 0 then return take() end
    return nil
  end

  local function next_line()
    while not ended do
      local stop = find(chunk, "\n", at, true)
      if stop then
        local line = sub(chunk, at, stop - 1)
        at = stop + 1
        if carry.size > 0 or #line > MAX_LINE or number == 0 then
          carry.add(line)
          return take()
        end
        number = number + 1
        if byte(line, -1) == 13 then return sub(line, 1, -2) end
        return line
      end
      if at <= #chunk then carry.add(sub(chunk, at)) end
      local err
      chunk, err = read()
      at = 1
      if not chunk then return finish(err) end
    end
    return nil
  end

  return next_line, function() return number end
end

--- A source of the values of JSON Lines. Lines of nothing but blanks are
--- skipped. A line that is not JSON, or is null (no value stands for it here),
--- is an item that fails; the line itself stands for it.
---@param read fleet.Reader
---@param name string of the file, for errors
---@param decode fun(text: string): any, fleet.Error|nil as fleet.json.decode
---@return fleet.ItemSource
function input.jsonl(read, name, decode)
  local next_line, line_number = input.lines(read, name)
  return function()
    local line, err = next_line()
    while line and not err and not line:find("%S") do line, err = next_line() end
    if line == nil or err then return line, err end
    local value, why = decode(line)
    if value ~= nil then return value end
    local message = why and why.message:gsub("^line 1 ", "") or "null cannot be an item"
    return line, errors.format("input", "%s:%d: %s", name, line_number(), message)
  end
end

--- A source of the elements of a list.
---@param list any[]
---@return fleet.ItemSource
function input.words(list)
  local at = 0
  return function()
    at = at + 1
    return list[at]
  end
end

-- The first key of a list that is neither a position nor the length.
local function odd_key(list, n)
  local says_length = math.tointeger(list.n) == n
  for key in next, list do
    local position = math.type(key) == "integer" and key >= 1 and (key <= n or says_length)
    if not position and not (says_length and key == "n") then return key end
  end
  return nil
end

--- What is wrong with a list of `n` items, or nil: there are no others, and a field `n` may tell
--- how many there are, as in what fleet.pmap and table.pack give.
---@param list table
---@param n integer
---@return string|nil
function input.list_fault(list, n)
  local count = 0
  for _ in next, list do count = count + 1 end
  local key = count ~= n and odd_key(list, n) -- most lists are fine, and long
  if key then
    return ("the list has a key that is no position: %s"):format(
      type(key) == "string" and text.quote(key) or tostring(key))
  end
  for i = 1, n do
    if list[i] == nil then return ("the list has a hole at %d"):format(i) end
  end
  return nil
end

--- A source of a job's `items`: a list, or a function that returns a list or
--- what a generic `for` takes (an iterator whose first value is the item). The
--- function runs at the first call, with the extra arguments. What it raises
--- ends the source with an error of kind "raise", what else is wrong "usage".
---@param items any[]|fun(...): any
---@param ... any
---@return fleet.ItemSource
function input.from_job(items, ...)
  local args = table.pack(...)
  local source, step, state, control

  local function finish(kind, format, value)
    source = function() return nil end
    if not kind then return nil end
    return nil, errors.format(kind, format, text.one_line(pretty.message(value)))
  end

  local function from_iterator()
    local ok, item = pcall(step, state, control)
    if not ok then return finish("raise", "items: %s", item) end
    if item == nil then return finish() end
    control = item
    return item
  end

  local function start()
    local made = items
    if type(items) == "function" then
      local ok
      ok, made, state, control = pcall(items, table.unpack(args, 1, args.n))
      if not ok then return finish("raise", "items: %s", made) end
    end
    local call = type(made) ~= "function" and getmetatable(made)
    if type(made) == "function" or type(call) == "table" and call.__call then
      step, source = made, from_iterator
    elseif type(made) == "table" then
      local n = check.length(made)
      local fault = input.list_fault(made, n)
      if fault then return finish("usage", "items: %s", fault) end
      source = input.limit(input.words(made), n)
    else
      return finish("usage", "items() must return a list or an iterator, got %s", type(made))
    end
    return source()
  end

  source = start
  return function() return source() end
end

--- A source of the items of several sources, one after the other. An error
--- that ends one of them ends it as well.
---@param sources fleet.ItemSource[]
---@return fleet.ItemSource
function input.chain(sources)
  if #sources == 1 then return sources[1] end
  local at = 1
  return function()
    while sources[at] do
      local item, err = sources[at]()
      if item ~= nil then return item, err end
      at = err and #sources + 1 or at + 1
      if err then return nil, err end
    end
    return nil
  end
end

--- A source of the first `n` items of another, which is not asked for more.
---@param source fleet.ItemSource
---@param n integer
---@return fleet.ItemSource
function input.limit(source, n)
  local left = n
  return function()
    if left <= 0 then return nil end
    left = left - 1
    return source()
  end
end

--- A source that gives each item of another with probability `fraction`.
---@param source fleet.ItemSource
---@param fraction number 0 to 1
---@param random fun(item: any): number at least 0, below 1
---@return fleet.ItemSource
function input.sample(source, fraction, random)
  return function()
    while true do
      local item, err = source()
      if item == nil or random(item) < fraction then return item, err end
    end
  end
end

return input
