-- SPDX-License-Identifier: MIT
-- Computes the values of initialisers that Lua may treat as compile-time constants: literals, other
-- constants, and `not`, `and`, `or` and arithmetic on these. Other values are unknown, which may
-- not matter: `f() and false or 3` is 3, also to Lua. No code is run.
--
-- Lua computes no more than this. Where it computes less, the variable is an upvalue.

local constant = {}

--- @class fleet.Constant
--- @field known boolean
--- @field value nil|boolean|number|string if it is known
--- @field truth boolean|nil whether it is neither nil nor false; nil: unknown

local TRUTHY, FALSY = { known = false, truth = true }, { known = false, truth = false }
local UNKNOWN = { known = false }

constant.UNKNOWN = UNKNOWN

--- Makes a constant of a known value.
---@param value nil|boolean|number|string
---@return fleet.Constant
function constant.known(value)
  return { known = true, value = value, truth = not not value }
end

local known = constant.known

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

--- Applies an operator, which may raise, to numbers.
local function numeric(f)
  return function(a, b)
    if not math.type(a.value) or b and not math.type(b.value) then return UNKNOWN end
    local ok, value = pcall(f, a.value, b and b.value)
    return ok and known(value) or UNKNOWN
  end
end

--- The operators with one operand, by token; each binds its operand as tightly as
--- UNARY_PRIORITY says.
constant.UNARY = {
  ["not"] = negation,
  ["-"] = numeric(function(a) return -a end),
  ["~"] = numeric(function(a) return ~a end),
  ["#"] = unknown,
}

--- @class fleet.Operator the right operand ends before an operator whose `left` <= `right`
--- @field left integer
--- @field right integer
--- @field apply fun(a: fleet.Constant, b: fleet.Constant): fleet.Constant

--- The operators with two operands, by token.
constant.BINARY = {}

constant.UNARY_PRIORITY = 12

local function define(left, right, operators)
  for kind, apply in pairs(operators) do
    constant.BINARY[kind] = { left = left, right = right, apply = apply }
  end
end

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

--- An expression for a value, on one line.
---@param value nil|boolean|number|string
---@return string
function constant.literal(value)
  return (("%q"):format(value):gsub("\\\n", "\\n"))
end

return constant
