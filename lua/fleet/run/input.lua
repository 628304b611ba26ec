-- SPDX-License-Identifier: MIT
-- Sources of items: lazy iterators over bytes, words and a job's own items.
--
-- A source is a function; each call returns one of
--   item          any value but nil
--   item, err     an item that cannot be used: it fails with `err`, of kind
--                 "input", without being run, and the source goes on
--   nil           the end, and nil from then on
--   nil, err      a premature end: the rest could not be read
-- A reader returns bytes in the same way: a chunk of any size, even empty; nil at
-- the end; nil and an error or a string when reading failed.

local check = require("fleet.base.check")
local errors = require("fleet.errors")
local pretty = require("fleet.base.pretty")
local text = require("fleet.base.text")

local input = {}

--- @alias fleet.ItemSource fun(): any, fleet.Error|nil
--- @alias fleet.Reader fun(): string|nil, any

-- Bytes. A longer line is an item that fails; only its head is kept.
local MAX_LINE = 16 * 1024 * 1024
local HEAD_KEPT = 200

local failure = errors.formatter("input")

--- The head that stands for a line that is too long, not cut inside a character.
local function head_of(line)
  return (line:sub(1, HEAD_KEPT):gsub("[\xC2-\xF4][\x80-\xBF]*$", ""))
end

--- A source of the lines that `read` returns: without the LF or CRLF at their end, any other bytes
--- kept. Empty lines are items, and so is an unterminated last line. A byte order mark at the
--- start is dropped, and a file in UTF-16 is refused. A line of more than 16 MiB is an item that
--- fails; its first 200 bytes stand for it.
---@param read fleet.Reader
---@param name string of the file, for errors
---@return fleet.ItemSource source
---@return fun(): integer line_number of the last item
function input.lines(read, name)
  local find, sub, byte = string.find, string.sub, string.byte
  local chunk, at = "", 1
  local pieces, size = {}, 0 -- of a line that began in an earlier chunk
  local number, ended = 0, false

  local function add(piece)
    if size <= MAX_LINE then pieces[#pieces + 1] = piece end
    size = size + #piece
  end

  local function fail(...)
    chunk, ended = "", true
    return nil, failure(...)
  end

  --- The item of the pieces.
  local function join()
    local line, bytes = table.concat(pieces), size
    pieces, size = {}, 0
    number = number + 1
    if number == 1 then
      local fault = text.utf16_fault(line)
      if fault then return fail("%s: %s", name, fault) end
      line = text.without_mark(line)
    end
    if bytes > MAX_LINE then
      return head_of(line), failure("%s:%d: the line has %d bytes, more than the limit of %d",
        name, number, bytes, MAX_LINE)
    end
    if byte(line, -1) == 13 then line = sub(line, 1, -2) end
    return line
  end

  local function finish(err)
    ended = true
    if err == nil and size == 0 then return nil end
    if err == nil then return join() end
    -- the piece of a line before the failure may be cut: it is no item
    local why = text.one_line(errors.is(err) and err.message or tostring(err))
    return fail("%s: cannot read%s: %s", name,
      number > 0 and (" on after line %d"):format(number) or "", why)
  end

  local function next_line()
    while not ended do
      local stop = find(chunk, "\n", at, true)
      if stop then
        local line = sub(chunk, at, stop - 1)
        at = stop + 1
        if size > 0 or #line > MAX_LINE or number == 0 then
          add(line)
          return join()
        end
        number = number + 1
        if byte(line, -1) == 13 then return sub(line, 1, -2) end
        return line
      end
      if at <= #chunk then add(sub(chunk, at)) end
      local err
      chunk, err = read()
      at = 1
      if not chunk then return finish(err) end
    end
    return nil
  end

  return next_line, function() return number end
end

--- A source of the values of JSON Lines. Blank lines are skipped. A line that is not JSON, or is
--- null (which is no item), is an item that fails; the line itself stands for it.
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
    return line, failure("%s:%d: %s", name, line_number(), message)
  end
end

--- A source of the elements of a list.
---@param list any[]
---@param n integer|nil its length; default: up to the first nil
---@return fleet.ItemSource
function input.words(list, n)
  local at, last = 0, n or math.maxinteger
  return function()
    at = at + 1
    if at > last then return nil end
    return list[at]
  end
end

-- A key of a list that is neither a position nor the length.
local function odd_key(list, n)
  local has_length = math.tointeger(list.n) == n
  for key in next, list do
    local position = math.type(key) == "integer" and key >= 1 and (key <= n or has_length)
    if not position and not (has_length and key == "n") then return key end
  end
  return nil
end

--- Returns what is wrong with a list of `n` items, or nil. It must have no other keys, but for a
--- field `n` that is the length, as in the results of fleet.pmap and table.pack.
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

--- A source of a job's `items`: a list, or a function that returns a list or what a generic `for`
--- takes (an iterator whose first value is the item). The function runs at the first call. If it
--- raises, the source ends with an error of kind "raise"; other mistakes give kind "usage".
---@param items any[]|fun(): any
---@return fleet.ItemSource
function input.from_job(items)
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
      ok, made, state, control = pcall(items)
      if not ok then return finish("raise", "items: %s", made) end
    end
    local call = type(made) ~= "function" and getmetatable(made)
    if type(made) == "function" or type(call) == "table" and call.__call then
      step, source = made, from_iterator
    elseif type(made) == "table" then
      local n = check.length(made)
      local fault = input.list_fault(made, n)
      if fault then return finish("usage", "items: %s", fault) end
      source = input.words(made, n)
    else
      return finish("usage", "items() must return a list or an iterator, got %s", type(made))
    end
    return source()
  end

  source = start
  return function() return source() end
end

--- A source of the items of several sources, one after the other. An error that ends one of them
--- ends the whole.
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

--- A source of the first `n` items of another source, from which it takes no more.
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

--- A source that passes on each item of another one with probability `fraction`.
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
