-- SPDX-License-Identifier: MIT
-- Splits Lua code into tokens, and finds the modules that it requires by a literal name.

local compile = require("fleet.ship.source_cache").compile
local keywords = require("fleet.base.pretty").keywords
local set = require("fleet.base.text").set

local lexer = {}

local find, sub, byte = string.find, string.sub, string.byte

-- Operators of more than one character, longest first.
local LONG = { "...", "..", "==", "~=", "<=", ">=", "//", "::", "<<", ">>" }

--- Counts the ends of lines from byte `from` to byte `to`: \n, \r, \r\n and \n\r.
---@param text string
---@param from integer
---@param to integer
---@return integer
local function count_lines(text, from, to)
  if to < from then return 0 end
  local part = sub(text, from, to) -- so that the search ends there
  local n, at = 0, find(part, "[\r\n]")
  while at do
    n = n + 1
    local pair = sub(part, at, at + 1)
    if pair == "\r\n" or pair == "\n\r" then at = at + 1 end
    at = find(part, "[\r\n]", at + 1)
  end
  return n
end

--- The last byte of the long bracket that opens at `at`; nil when none does.
local function long_bracket(text, at)
  local level = text:match("^%[(=*)%[", at)
  if not level then return nil end
  local _, stop = find(text, "]" .. level .. "]", at, true)
  return stop or error("unfinished long bracket", 0)
end

--- The last byte of the string whose quote stands at `at`.
local function short_string(text, at)
  local quote = sub(text, at, at)
  local stop = at
  while true do
    stop = find(text, "[\\" .. quote .. "]", stop + 1) or error("unfinished string", 0)
    if sub(text, stop, stop) == quote then return stop end
    stop = stop + 1 -- the escaped character; \z also skips white space, but no quote
  end
end

--- The last byte of the numeral at `at`.
local function numeral(text, at)
  local sign = find(text, "^0[xX]", at) and "^[pP][+-]" or "^[eE][+-]"
  local stop = at
  while true do
    if find(text, sign, stop) then
      stop = stop + 2
    elseif find(text, "^[%w_.]", stop) then
      stop = stop + 1
    else
      return stop - 1
    end
  end
end

--- @class fleet.Tokens four lists of equal length; the kind of the last token is "eof"
--- @field kinds string[] "name", "string", "number", else the token itself
--- @field starts integer[] first byte
--- @field stops integer[] last byte
--- @field lines integer[] line on which the token ends, as in Lua's messages

--- The position behind a byte order mark and a first line with #.
local function beginning(text)
  local at = sub(text, 1, 3) == "\u{FEFF}" and 4 or 1
  if sub(text, at, at) == "#" then at = find(text, "[\r\n]", at) or #text + 1 end
  return at
end

--- The kind and the last byte of the token at a byte that is not white space or in a comment.
local function token_at(text, at)
  local _, stop = find(text, "^[%a_][%w_]*", at)
  if stop then
    local word = sub(text, at, stop)
    return keywords[word] and word or "name", stop
  end
  local c = sub(text, at, at)
  if c == '"' or c == "'" then return "string", short_string(text, at) end
  if find(text, "^%.?%d", at) then return "number", numeral(text, at) end
  stop = c == "[" and long_bracket(text, at)
  if stop then return "string", stop end
  for _, operator in ipairs(LONG) do
    if sub(text, at, at + #operator - 1) == operator then
      return operator, at + #operator - 1
    end
  end
  return c, at
end

--- Splits a text into tokens. Raises when it is not Lua.
---@param text string
---@return fleet.Tokens
function lexer.tokens(text)
  local kinds, starts, stops, lines = {}, {}, {}, {}
  local at, line, n = beginning(text), 1, 0
  while true do
    local start = find(text, "%S", at) or #text + 1
    line = line + count_lines(text, at, start - 1)
    at = start
    if at > #text then break end
    if byte(text, at) == 45 and byte(text, at + 1) == 45 then -- a comment
      local stop = long_bracket(text, at + 2) or (find(text, "[\r\n]", at) or #text + 1) - 1
      line = line + count_lines(text, at, stop)
      at = stop + 1
    else
      local kind, stop = token_at(text, at)
      if kind == "string" then line = line + count_lines(text, at, stop) end
      n = n + 1
      kinds[n], starts[n], stops[n], lines[n] = kind, at, stop, line
      at = stop + 1
    end
  end
  kinds[n + 1], starts[n + 1], stops[n + 1], lines[n + 1] = "eof", #text + 1, #text, line
  return { kinds = kinds, starts = starts, stops = stops, lines = lines }
end

local OPENS, CLOSES = set("do for function if repeat while ( { ["), set("end until ) } ]")

--- Calls visit(i, open, functions) for each token: `open` is the opening bracket or word of the
--- innermost block around it, nil outside of all, and `functions` the number of functions around
--- it. The parameters and the closing token of a block are inside it.
---@param tokens fleet.Tokens
---@param visit fun(i: integer, open: string|nil, functions: integer)
function lexer.walk(tokens, visit)
  local blocks, functions = {}, 0
  for i, kind in ipairs(tokens.kinds) do
    local within = blocks[#blocks]
    visit(i, within, functions)
    if kind == "function" then functions = functions + 1 end
    if kind == "do" and (within == "while" or within == "for") then
      blocks[#blocks] = "do" -- the block of the loop
    elseif OPENS[kind] then
      blocks[#blocks + 1] = kind
    elseif CLOSES[kind] then
      if table.remove(blocks) == "function" then functions = functions - 1 end
    end
  end
end

--- The value of a literal.
---@param word string its text
---@return nil|boolean|number|string
function lexer.value(word) return compile("return " .. word)() end

-- The tokens of a text; none when it is not Lua.
local function tokens_of(text)
  local ok, tokens = pcall(lexer.tokens, text)
  return ok and tokens or { kinds = {} }
end

--- The modules that a text requires by a literal name, `require("x")` or `pcall(require, "x")`, in
--- order and without repetition.
---@param text string
---@return string[]
function lexer.requires(text)
  local list, seen, tokens = {}, {}, tokens_of(text)
  local kinds = tokens.kinds
  for i, kind in ipairs(kinds) do
    if kind == "name" and sub(text, tokens.starts[i], tokens.stops[i]) == "require" then
      local at = (kinds[i + 1] == "(" or kinds[i + 1] == ",") and i + 2 or i + 1
      if kinds[at] == "string" then
        local name = lexer.value(sub(text, tokens.starts[at], tokens.stops[at]))
        if not seen[name] then list[#list + 1] = name end
        seen[name] = true
      end
    end
  end
  return list
end

--- All names, and the values of all strings, in a text.
---@param text string
---@return string[]
function lexer.words(text)
  local list, tokens = {}, tokens_of(text)
  for i, kind in ipairs(tokens.kinds) do
    local word = sub(text, tokens.starts[i], tokens.stops[i])
    if kind == "name" then list[#list + 1] = word end
    if kind == "string" then list[#list + 1] = lexer.value(word) end
  end
  return list
end

return lexer
