-- SPDX-License-Identifier: MIT
-- Finds the functions in a text of Lua 5.4: where each begins and ends, its
-- lines, the compile-time constants it can see, and the modules it requires by
-- a literal name. Reads tokens and blocks, no expressions: the text has been
-- compiled before, so whatever is wrong in it means that it is not Lua.

local lexer = {}

local find, sub, byte = string.find, string.sub, string.byte
local load = load -- the one that remembers nothing

local KEYWORDS = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat
  return then true until while]]):gmatch("%a+") do
  KEYWORDS[word] = true
end

-- Operators of more than one character, longest first.
local LONG = { "...", "..", "==", "~=", "<=", ">=", "//", "::", "<<", ">>" }

--- How many lines `text` ends from its byte `from` to `to`: \n, \r, \r\n and \n\r each
--- end one.
local function count_lines(text, from, to)
  local n, at = 0, find(text, "[\r\n]", from)
  while at and at <= to do
    n = n + 1
    local pair = sub(text, at, at + 1)
    if at < to and (pair == "\r\n" or pair == "\n\r") then at = at + 1 end
    at = find(text, "[\r\n]", at + 1)
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
    stop = stop + 1 -- what is escaped; \z also skips white space, which no quote is
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

--- @class fleet.Tokens four lists of the same length; the last token has the kind "eof"
--- @field kinds string[] "name", "string", "number", else the token itself
--- @field starts integer[] first byte
--- @field stops integer[] last byte
--- @field lines integer[] line on which it ends, as Lua counts for messages

--- Where the first token may be: behind a byte order mark and a first line with #.
local function beginning(text)
  local at = sub(text, 1, 3) == "\u{FEFF}" and 4 or 1
  if sub(text, at, at) == "#" then at = find(text, "[\r\n]", at) or #text + 1 end
  return at
end

--- One token, at a byte that is neither white space nor in a comment: its kind and last byte.
local function token_at(text, at)
  local _, stop = find(text, "^[%a_][%w_]*", at)
  if stop then
    local word = sub(text, at, stop)
    return KEYWORDS[word] and word or "name", stop
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

--- Splits a text into tokens. Raises when that cannot be.
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

-- ---- constants ----

local UNARY = { ["-"] = true, ["not"] = true, ["~"] = true }
local BINARY = {}
for operator in ("+ - * / // % ^ & | ~ << >>"):gmatch("%S+") do BINARY[operator] = true end
-- What goes on with an expression and makes it no constant; and what does so behind a
-- parenthesis or a name, where else a statement would begin.
local OTHER, SUFFIX = {}, {}
for operator in (".. == ~= < > <= >= and or"):gmatch("%S+") do OTHER[operator] = true end
for token in ("( [ { . : string"):gmatch("%S+") do SUFFIX[token] = true end
local LITERAL = {
  ["nil"] = true, ["true"] = true, ["false"] = true, number = true, string = true,
}

--- @class fleet.Constant one compile-time constant, and those declared before it
--- @field name string
--- @field text string its declaration, a statement
--- @field before fleet.Constant|nil

local function is_constant(constant, name)
  while constant and constant.name ~= name do constant = constant.before end
  return constant ~= nil
end

--- The index behind an expression of literals, known constants, operators and parentheses
--- that begins at token `i`; nil when there is none.
local function constant_end(text, tokens, i, known)
  local kinds = tokens.kinds
  while true do
    while UNARY[kinds[i]] do i = i + 1 end
    if kinds[i] == "(" then
      i = constant_end(text, tokens, i + 1, known)
      if not i or kinds[i] ~= ")" then return nil end
    elseif kinds[i] == "name" then
      if not is_constant(known, sub(text, tokens.starts[i], tokens.stops[i])) then return nil end
    elseif not LITERAL[kinds[i]] then
      return nil
    end
    i = i + 1
    local last = kinds[i - 1]
    if OTHER[kinds[i]] or SUFFIX[kinds[i]] and (last == ")" or last == "name") then return nil end
    if not BINARY[kinds[i]] then return i end
    i = i + 1
  end
end

--- The names of a `local` statement at token `i`, whether the last has the attribute
--- const, and the index of the token behind them.
local function local_names(text, tokens, i)
  local kinds, names = tokens.kinds, {}
  local is_const
  repeat
    i = i + 1
    names[#names + 1] = sub(text, tokens.starts[i], tokens.stops[i])
    is_const = kinds[i + 1] == "<"
      and sub(text, tokens.starts[i + 2], tokens.stops[i + 2]) == "const"
    i = i + (kinds[i + 1] == "<" and 4 or 1)
  until kinds[i] ~= ","
  return names, is_const, i
end

--- The constant that the `local` at token `i` declares, as the compiler sees it: the last
--- variable, const, with an initialiser that is constant; or nil. Two kinds go unseen: where
--- variables before it have initialisers that are not constant, and in the condition of
--- `until` those of its block.
local function constant_at(text, tokens, i, known)
  local kinds, from = tokens.kinds, nil
  local names, is_const
  names, is_const, i = local_names(text, tokens, i)
  if not is_const or kinds[i] ~= "=" then return nil end
  for n = 1, #names do
    from = i + 1
    i = constant_end(text, tokens, from, known)
    if not i or (kinds[i] == ",") ~= (n < #names) then return nil end
  end
  local words = {}
  for token = from, i - 1 do
    words[#words + 1] = sub(text, tokens.starts[token], tokens.stops[token])
  end
  local name = names[#names]
  local declaration = ("local %s <const> = %s;"):format(name, table.concat(words, " "))
  return { name = name, text = declaration, before = known }
end

-- ---- functions ----

--- @class fleet.Extent one function in a text
--- @field from integer first byte of its parameter list
--- @field to integer last byte of its `end`
--- @field line integer of `function`
--- @field paren_line integer of the parenthesis behind it
--- @field end_line integer of `end`
--- @field method boolean `function a:b()`, which has a parameter self
--- @field name string|nil as it stands in the text: "a.b", "a:b"
--- @field constant fleet.Constant|nil the last constant that it sees

local function function_at(text, tokens, i)
  local kinds, starts, stops = tokens.kinds, tokens.starts, tokens.stops
  local paren, method = i + 1, false
  while kinds[paren] ~= "(" do
    if kinds[paren] == "eof" then error("unfinished function", 0) end
    method = method or kinds[paren] == ":"
    paren = paren + 1
  end
  local name
  if paren > i + 1 then
    name = sub(text, starts[i + 1], stops[paren - 1])
  elseif kinds[i - 1] == "=" and kinds[i - 2] == "name" then
    local first = i - 2
    while (kinds[first - 1] == "." or kinds[first - 1] == ":") and kinds[first - 2] == "name" do
      first = first - 2
    end
    name = sub(text, starts[first], stops[i - 2])
  end
  return {
    from = starts[paren], line = tokens.lines[i], paren_line = tokens.lines[paren],
    method = method, name = name and name:gsub("%s+", " "),
  }
end

--- What each keyword does to the blocks that are open: `state` has them in `blocks`, the
--- functions found in `list`, and the last constant in scope in `constant`.
local on = {}

local function open(state, block)
  block.constant = state.constant
  state.blocks[#state.blocks + 1] = block
end

local function close(state)
  local block = table.remove(state.blocks) or error("an end too many", 0)
  state.constant = block.constant
  return block
end

on["if"] = function(state) open(state, {}) end
on["repeat"] = on["if"]
on["until"] = close
on["while"] = function(state) open(state, { before_do = true }) end
on["for"] = on["while"]

on["do"] = function(state)
  local block = state.blocks[#state.blocks]
  if block and block.before_do then
    block.before_do = false
  else
    open(state, {})
  end
end

on["else"] = function(state)
  local block = state.blocks[#state.blocks] or error("an else too many", 0)
  state.constant = block.constant
end
on["elseif"] = on["else"]

on["function"] = function(state, i)
  local extent = function_at(state.text, state.tokens, i)
  extent.constant = state.constant
  open(state, { extent = extent })
end

on["end"] = function(state, i)
  local extent = close(state).extent
  if not extent then return end
  extent.to, extent.end_line = state.tokens.stops[i], state.tokens.lines[i]
  state.list[#state.list + 1] = extent
end

-- Its initialiser has no functions, so it can be in scope at once.
on["local"] = function(state, i)
  if state.tokens.kinds[i + 1] ~= "name" then return end
  state.constant = constant_at(state.text, state.tokens, i, state.constant) or state.constant
end

local function find_functions(text)
  local tokens = lexer.tokens(text)
  local state = { text = text, tokens = tokens, blocks = {}, list = {} }
  for i, kind in ipairs(tokens.kinds) do
    if on[kind] then on[kind](state, i) end
  end
  if #state.blocks > 0 then error("an end is missing", 0) end
  return state.list
end

--- The functions of a text, in the order in which they end; or nil and what is wrong.
---@param text string
---@return fleet.Extent[]|nil
---@return string|nil
function lexer.functions(text)
  local ok, result = pcall(find_functions, text)
  if not ok then return nil, result end
  return result
end

--- The modules that a text requires by a literal name, `require("x")` or
--- `pcall(require, "x")`, each once, in order.
---@param text string
---@return string[]
function lexer.requires(text)
  local list, seen = {}, {}
  local ok, tokens = pcall(lexer.tokens, text)
  if not ok then return list end
  local kinds = tokens.kinds
  for i, kind in ipairs(kinds) do
    if kind == "name" and sub(text, tokens.starts[i], tokens.stops[i]) == "require" then
      local at = (kinds[i + 1] == "(" or kinds[i + 1] == ",") and i + 2 or i + 1
      if kinds[at] == "string" then
        local name = load("return " .. sub(text, tokens.starts[at], tokens.stops[at]))()
        if not seen[name] then list[#list + 1] = name end
        seen[name] = true
      end
    end
  end
  return list
end

return lexer
