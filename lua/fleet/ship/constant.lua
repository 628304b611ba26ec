-- SPDX-License-Identifier: MIT
-- The value of an initialiser that Lua may take for a compile-time constant: of literals, of other
-- such constants, and of what `not`, `and`, `or` and arithmetic make of them. Anything else has an
-- unknown value, which may not matter: `f() and false or 3` is 3, and Lua knows that, too. Nothing
-- of the text is run.
--
-- Lua knows no more than what is found here. Where it knows less, the variable is an upvalue.

local lexer = require("fleet.ship.lexer")

local constant = {}

--- @class fleet.Constant what is known of a value
--- @field known boolean
--- @field value nil|boolean|number|string when it is known
--- @field truth boolean|nil whether it is neither nil nor false; nil: that is unknown, too

local TRUTHY, FALSY = { known = false, truth = true }, { known = false, truth = false }
local UNKNOWN = { known = false }

local function known(value) return { known = true, value = value, truth = not not value } end

-- ---- operators ----

local function both(a, b)
  if a.truth == true then return b end
  if a.truth == false then return a end
  return b.truth == false and FALSY or UNKNOWN
end

local function either(a, b)
  if a.truth == true then return a end
  if a.truth == false then return b end
  return b.truth == true and TRUTHY or UNKNOWN
end

local function negation(a)
  if a.truth == nil then return UNKNOWN end
  return known(not a.truth)
end

local function unknown() return UNKNOWN end

--- An operator on numbers, which may raise.
local function numeric(f)
  return function(a, b)
    if not math.type(a.value) or b and not math.type(b.value) then return UNKNOWN end
    local ok, value = pcall(f, a.value, b and b.value)
    return ok and known(value) or UNKNOWN
  end
end

local UNARY = {
  ["not"] = negation,
  ["-"] = numeric(function(a) return -a end),
  ["~"] = numeric(function(a) return ~a end),
  ["#"] = unknown,
}

--- @class fleet.Operator it takes what is to its right until one whose `left` is not above its own
--- `right`
--- @field left integer
--- @field right integer
--- @field apply fun(a: fleet.Constant, b: fleet.Constant): fleet.Constant

local BINARY = {}

local function define(left, right, operators)
  for kind, apply in pairs(operators) do
    BINARY[kind] = { left = left, right = right, apply = apply }
  end
end

local UNARY_RIGHT = 12
define(1, 1, { ["or"] = either })
define(2, 2, { ["and"] = both })
define(3, 3, {
  ["<"] = unknown, [">"] = unknown, ["<="] = unknown, [">="] = unknown, ["~="] = unknown,
  ["=="] = unknown,
})
define(4, 4, { ["|"] = numeric(function(a, b) return a | b end) })
define(5, 5, { ["~"] = numeric(function(a, b) return a ~ b end) })
define(6, 6, { ["&"] = numeric(function(a, b) return a & b end) })
define(7, 7, {
  ["<<"] = numeric(function(a, b) return a << b end),
  [">>"] = numeric(function(a, b) return a >> b end),
})
define(9, 8, { [".."] = unknown })
define(10, 10, {
  ["+"] = numeric(function(a, b) return a + b end),
  ["-"] = numeric(function(a, b) return a - b end),
})
define(11, 11, {
  ["*"] = numeric(function(a, b) return a * b end),
  ["/"] = numeric(function(a, b) return a / b end),
  ["//"] = numeric(function(a, b) return a // b end),
  ["%"] = numeric(function(a, b) return a % b end),
})
define(14, 13, { ["^"] = numeric(function(a, b) return a ^ b end) })

-- ---- expressions ----

local function set(words)
  local members = {}
  for word in words:gmatch("%S+") do members[word] = true end
  return members
end

local LITERAL = set("nil true false number string")
-- A `while` and a `for` have a `do` each, which is counted.
local OPENS = set("( [ { function do if repeat")
local CLOSES = set(") ] } end until")

--- @class fleet.Initialiser
--- @field text string
--- @field tokens fleet.Tokens
--- @field at integer the next token
--- @field to integer its last token
--- @field visible table<string, fleet.Variable>

--- Goes on behind what is left of an operand; returns whether anything was.
local function skip(self)
  local from, depth = self.at, 0
  while self.at <= self.to do
    local kind = self.tokens.kinds[self.at]
    if depth == 0 and (BINARY[kind] or kind == ")") then break end
    if OPENS[kind] then depth = depth + 1 end
    if CLOSES[kind] then depth = depth - 1 end
    self.at = self.at + 1
  end
  return self.at > from
end

local expression

local function operand(self)
  local at, value = self.at, UNKNOWN
  local kind = self.tokens.kinds[at]
  local word = self.text:sub(self.tokens.starts[at], self.tokens.stops[at])
  if LITERAL[kind] then
    self.at = at + 1
    value = known(lexer.value(word))
  elseif kind == "name" then
    self.at = at + 1
    value = self.visible[word] and self.visible[word].constant or UNKNOWN
  elseif kind == "(" then
    self.at = at + 1
    value = expression(self, 0)
    self.at = self.at + 1
  end
  -- a call, a field, a table, a function, an argument
  if skip(self) then return UNKNOWN end
  return value
end

--- Reads up to an operator whose `left` is not above `limit`.
function expression(self, limit)
  local kinds = self.tokens.kinds
  local unary = UNARY[kinds[self.at]]
  local value
  if unary then
    self.at = self.at + 1
    value = unary(expression(self, UNARY_RIGHT))
  else
    value = operand(self)
  end
  while self.at <= self.to do
    local operator = BINARY[kinds[self.at]]
    if not operator or operator.left <= limit then break end
    self.at = self.at + 1
    value = operator.apply(value, expression(self, operator.right))
  end
  return value
end

--- The value of an expression; nil when that is unknown.
---@param text string
---@param tokens fleet.Tokens of the text
---@param from integer its first token
---@param to integer its last
---@param visible table<string, fleet.Variable> what its names stand for
---@return fleet.Constant|nil
function constant.of(text, tokens, from, to, visible)
  local self = { text = text, tokens = tokens, at = from, to = to, visible = visible }
  local value = expression(self, 0)
  return value.known and value or nil
end

--- An expression for a value, on one line.
---@param value nil|boolean|number|string
---@return string
function constant.literal(value)
  return (("%q"):format(value):gsub("\\\n", "\\n"))
end

return constant
