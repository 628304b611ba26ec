-- SPDX-License-Identifier: MIT
-- Random texts of Lua that make functions: with shadowed names, attributes, constants,
-- closures, methods, varargs, goto, every kind of loop, comments and line ends between any two
-- tokens, several functions on a line, and the same function at several places. Most functions
-- return values; some raise. `random_lua.globals` has the globals that the texts need.

local random_lua = {}

local concat = table.concat

-- Additions of Lua 5.5.
local has_globals = load("global x") ~= nil

-- Few names, so that they shadow each other.
local NAMES = { "a", "b", "c", "d", "x" }

--- Globals that the functions read and write.
function random_lua.globals()
  return { g1 = 5, g2 = { 1, k = "v" }, g3 = function(n) return n, 3 end }
end

--- @class fleet.RandomLua
--- @field n fun(limit: integer): integer 1..limit
--- @field scopes table[] of name -> "plain"|"const", the innermost last
--- @field functions string[] texts of functions so far
--- @field labels integer
--- @field budget integer statements that may still come
local Random = {}
Random.__index = Random

function Random:pick(list) return list[self.n(#list)] end

function Random:chance(percent) return self.n(100) <= percent end

-- A blank inside a string: at all others a token ends.
local BLANK = "\1"

function Random:declare(name, kind) self.scopes[#self.scopes][name] = kind or "plain" end

function Random:scoped(f, ...)
  self.scopes[#self.scopes + 1] = {}
  local text = f(self, ...)
  self.scopes[#self.scopes] = nil
  return text
end

function Random:assignable()
  for _ = 1, 5 do
    local name = self:pick(NAMES)
    for i = #self.scopes, 1, -1 do
      local kind = self.scopes[i][name]
      if kind == "plain" then return name end
      if kind then break end
    end
  end
  return self:pick({ "g1", "g4", "_ENV . g1", "t . k" })
end

-- ---- expressions ----

function Random:literal()
  return self:pick({
    function() return tostring(self.n(9) - 1) end,
    function() return self:pick({ "1.5", "0x1p4", ".5", "1e2", "0xff", "3.0", "- 3" }) end,
    function()
      return self:pick({
        "'s'", '"d\\n"', "[[l\n]]", "[==[]]\1end]==]", "'--'", "'end'",
        "'\\z\n\1\1z'", "'\\x41\\u{48}\\65'", '"function(a)"', "[[\n\n]]", "'\\\n'",
      })
    end,
    function() return self:pick({ "nil", "true", "false" }) end,
  })()
end

-- Expressions that a compiler may treat as constants, or parts of such.
function Random:constant(depth)
  local kind = depth <= 0 and self.n(4) or self.n(9)
  if kind <= 2 then return self:literal() end
  if kind == 3 then return self:pick({ "nil", "true", "false" }) end
  if kind == 4 then
    return self:pick({ self:pick(NAMES), "g1", "t . k", "# g2", "g3 ( 1 )", "{ g1 or 1 , 2 }",
      "( function ( x ) if x then return 1 or 2 end end ) ( )" })
  end
  if kind == 5 then return "( " .. self:constant(depth - 1) .. " )" end
  if kind == 6 then return self:pick({ "- ", "not ", "~ " }) .. self:constant(depth - 1) end
  if kind == 7 then -- the first value may be any
    return self:pick({ "( %s and false or %s )", "( %s and nil or %s )", "( %s or true ) and %s",
      "( not %s or 1 ) and %s" }):format(self:constant(depth - 1), self:constant(depth - 1))
  end
  return self:constant(depth - 1) .. " " .. self:pick({
    "+", "-", "*", "/", "//", "%", "^", "&", "|", "~", "<<", ">>", "and", "or", "and", "or",
  }) .. " " .. self:constant(depth - 1)
end

function Random:call(depth)
  local argument = self:expression(depth - 1)
  return self:pick({
    function() return ("tonumber ( %s )"):format(argument) end,
    function() return ("select ( '#' , %s )"):format(argument) end,
    function() return ("t : m ( %s )"):format(argument) end,
    function() return ("( t . f or g3 ) ( %s )"):format(argument) end,
    function() return ("g3 ( %s )"):format(argument) end,
    function() return "type { }" end,
    function() return "( 's' ) : upper ( )" end,
    function() return ("math . type ( %s )"):format(argument) end,
    function() return "string . rep ( 's' , 3 )" end,
    function() return ("pcall ( %s , %s )"):format(self:function_text(depth - 1), argument) end,
    function() return ("( %s ) ( %s )"):format(self:function_text(depth - 1), argument) end,
  })()
end

function Random:table(depth)
  local fields = {}
  for i = 1, self.n(3) do
    local value = self:expression(depth - 1)
    fields[i] = self:pick({
      value, self:pick(NAMES) .. " = " .. value, ("[ %d ] = %s"):format(i, value),
    })
  end
  return "{ " .. concat(fields, self:pick({ " , ", " ; " })) .. self:pick({ " }", " , }" })
end

function Random:expression(depth)
  local kind = depth <= 0 and self.n(5) or self.n(15)
  if kind <= 3 then return self:pick(NAMES) end
  if kind == 4 then return self:literal() end
  if kind == 5 then
    return self:pick({ "g1", "g2 . k", "t . k", "_ENV . g1", "# g2", "t [ 1 ]", "( _ENV ~= nil )" })
  end
  if kind == 6 then return "( " .. self:expression(depth - 1) .. " )" end
  if kind == 7 then
    -- the length of a table that contains nil is undefined
    return self:pick({ "- %s", "not %s", "# type ( %s )", "~ %s" }):format(
      self:expression(depth - 1))
  end
  if kind == 8 then return self:function_text(depth - 1) end
  if kind == 9 then return self:table(depth) end
  if kind <= 11 then return self:call(depth) end
  return self:expression(depth - 1) .. " " .. self:pick({
    "+", "-", "*", "//", "%", "..", "==", "~=", "<", ">=", "and", "or", "and", "or", "|", "&", "/",
  }) .. " " .. self:expression(depth - 1)
end

function Random:expressions(depth, n)
  local list = {}
  for i = 1, n do list[i] = self:expression(depth) end
  return concat(list, " , ")
end

-- ---- functions ----

function Random:parameters()
  local list = {}
  for i = 1, self.n(4) - 1 do
    list[i] = self:pick(NAMES)
    self:declare(list[i])
  end
  local vararg = self:chance(30)
  if vararg then list[#list + 1] = "..." end
  if vararg and has_globals and self:chance(50) then
    local name = self:pick(NAMES)
    list[#list] = "... " .. name
    self:declare(name, "const")
  end
  return concat(list, " , "), vararg
end

--- From the parameters on.
function Random:body(depth)
  return self:scoped(function()
    local outer_loop, outer_vararg = self.in_loop, self.has_vararg
    self.in_loop = false
    local parameters
    parameters, self.has_vararg = self:parameters()
    local text = ("( %s ) %s %s end"):format(parameters, self:block(depth, 3),
      self:return_statement(depth))
    self.in_loop, self.has_vararg = outer_loop, outer_vararg
    return text
  end)
end

function Random:function_text(depth)
  if #self.functions > 0 and self:chance(10) then return self:pick(self.functions) end
  local text = "function " .. self:body(depth)
  -- where it occurs again, its names may be different, and constants
  if #text < 400 and not text:find(" [=,] ") then self.functions[#self.functions + 1] = text end
  return text
end

function Random:return_statement(depth)
  if self.has_vararg and self:chance(30) then return "return ... , " .. self:expression(depth) end
  if self:chance(5) then return "" end
  return ("return %s%s"):format(self:expressions(depth, self.n(3)), self:pick({ "", "", " ;" }))
end

-- ---- statements ----

function Random:local_statement(depth)
  local kind, name = self.n(7), self:pick(NAMES)
  if kind <= 2 then -- constants, of which some are none for the compiler
    local before, values = "", ""
    if self:chance(40) then
      before, values = self:pick(NAMES) .. " , ", self:expression(depth) .. " , "
    end
    if self:chance(5) then values = values .. "1 , " end
    local text = ("local %s%s <const> = %s%s"):format(before, name, values,
      self:constant(2 + self.n(2)))
    if before ~= "" then self:declare(before:sub(1, 1)) end
    self:declare(name, "const")
    return text
  elseif kind == 3 and has_globals and self:chance(50) then
    local other = self:pick(NAMES)
    self:declare(name, "const")
    self:declare(other, "const")
    return ("local <const> %s , %s = %s , %s"):format(name, other, self:constant(1),
      self:constant(2))
  elseif kind == 3 then
    local other = self:pick(NAMES)
    local text = ("local %s <const> , %s <close> = %s , %s"):format(name, other,
      self:constant(1), self:pick({ "nil", "false" }))
    self:declare(name, "const")
    self:declare(other, "const")
    return text
  elseif kind == 4 then
    self:declare(name)
    return ("local function %s %s"):format(name, self:body(depth))
  elseif kind == 5 then
    local text = ("local %s <const> = %s"):format(name, self:expression(depth))
    self:declare(name, "const")
    return text
  end
  local other = self:pick(NAMES)
  local text = ("local %s , %s"):format(name, other)
  if self:chance(70) then text = text .. " = " .. self:expressions(depth, self.n(3)) end
  self:declare(name)
  self:declare(other)
  return text
end

function Random:function_statement(depth)
  return self:pick({
    function() return "function t . f " .. self:body(depth) end,
    function() return "function t . u . f " .. self:body(depth) end,
    function() return "function t : m " .. self:body(depth) end,
    function() return "function t . u : m " .. self:body(depth) end,
    function() return "t . f = function " .. self:body(depth) end,
    function() return "function g4 " .. self:body(depth) end,
  })()
end

function Random:loop_block(depth, scope)
  return self:scoped(function()
    for _, name in ipairs(scope) do self:declare(name, "const") end -- as in Lua 5.5
    local outer = self.in_loop
    self.in_loop = true
    local text = self:block(depth, 2)
    self.in_loop = outer
    if self:chance(20) then
      self.labels = self.labels + 1
      text = ("if %s then goto l%d end do %s end :: l%d ::"):format(self:expression(0), self.labels,
        text, self.labels)
    end
    return text
  end)
end

local LOOPS = {
  function(self, depth)
    local name = self:pick(NAMES)
    return ("for %s = 1 , %d do %s end"):format(name, self.n(3), self:loop_block(depth, { name }))
  end,
  function(self, depth)
    local key, value = self:pick(NAMES), self:pick(NAMES)
    return ("for %s , %s in ipairs %s do %s end"):format(key, value, self:table(1),
      self:loop_block(depth, { key, value }))
  end,
  function(self, depth)
    return ("while %s do %s break end"):format(self:expression(1), self:loop_block(depth, {}))
  end,
  function(self, depth) -- what the block declares is in scope in the condition
    return self:scoped(function()
      return ("repeat %s until true or %s"):format(self:block(depth, 2), self:expression(depth))
    end)
  end,
}

local STATEMENTS = {
  Random.local_statement, Random.local_statement, Random.local_statement,
  function(self, depth)
    local name = self:assignable()
    return ("%s = %s"):format(name, self:expression(depth))
  end,
  function(self, depth)
    return ("%s , t . k = %s"):format(self:assignable(), self:expressions(depth, 2))
  end,
  Random.function_statement,
  function(self, depth) return self:pick(LOOPS)(self, depth) end,
  function(self, depth)
    return ("if %s then %s elseif %s then %s else %s end"):format(self:expression(1),
      self:scoped(self.block, depth, 2), self:expression(1), self:scoped(self.block, depth, 2),
      self:scoped(self.block, depth, 1))
  end,
  function(self, depth) return "do " .. self:scoped(self.block, depth, 2) .. " end" end,
  function(self)
    self.labels = self.labels + 1
    return ("do goto l%d ; :: l%d :: end"):format(self.labels, self.labels)
  end,
  function(self, depth) return "g3 ( " .. self:expression(depth) .. " )" end,
  function(self)
    return self:scoped(function()
      return ("do local _ENV%s = %s g5 = %s end"):format(self:pick({ "", " <const>" }),
        self:pick({ "{ g1 = g1 , g3 = g3 , type = type }", "_ENV" }), self:expression(1))
    end)
  end,
  function(self, depth)
    return ("do local z <close> = setmetatable ( { } , { __close = function ( ) %s ( function %s )"
      .. " ( 1 ) end } ) end"):format(self:pick({ "", ";" }), self:body(depth))
  end,
}

if has_globals then
  STATEMENTS[#STATEMENTS + 1] = function(self)
    return self:pick({ "global g1 , g3 ; global *", "global < const > g2 ; global *", "global *" })
  end
end

function Random:block(depth, limit)
  local list = {}
  if depth <= 0 then return "" end
  for _ = 1, self.n(limit + 1) - 1 do
    if self.budget <= 0 then break end
    self.budget = self.budget - 1
    list[#list + 1] = self:pick(STATEMENTS)(self, depth - 1)
  end
  if self.in_loop and self:chance(10) then list[#list + 1] = "do break end" end
  return concat(list, self:pick({ " ; ", " ; ", " ;; " }))
end

-- ---- texts ----

-- Separators for texts on one line, on several lines, and with comments in every place.
local SEPARATORS = {
  { " " },
  { " ", " ", " ", " ", " ", "\n", "\n  " },
  { " ", "  ", "\n", "\t", "\r\n", " --[[ end ]] ", " --[==[\n]] ]==] ", " -- function()\n", "\n\n",
    " --\n", " " },
}

local function generator(seed)
  local state = seed * 2654435761 + 12345
  return function(limit)
    state = state * 6364136223846793005 + 1442695040888963407
    return (state >> 33) % limit + 1
  end
end

--- Returns a text that adds functions to the list that it receives, until it ends or raises. The
--- same seed gives the same text.
---@param seed integer
---@return string
function random_lua.text(seed)
  local self = setmetatable({
    n = generator(seed), scopes = { {} }, functions = {}, labels = 0, budget = 25,
    has_vararg = true, in_loop = false,
  }, Random)
  local parts = { "local R , t = ... , { k = 1 , 2 , u = { } } ;" }
  for _ = 1, 2 + self.n(4) do
    if self:chance(40) then
      parts[#parts + 1] = self:local_statement(2) .. " ;"
    elseif self:chance(40) then
      local add = ("R [ # R + 1 ] = function %s ;"):format(self:body(2))
      parts[#parts + 1] = self:pick({
        function() return add end,
        function()
          local name = self:pick(NAMES)
          return self:scoped(function()
            self:declare(name, "const")
            return ("for %s = 1 , 2 do R [ # R + 1 ] = function %s end ;"):format(name,
              self:body(2))
          end)
        end,
        function()
          return self:scoped(function()
            return ("repeat %s ; R [ # R + 1 ] = function %s until true ;"):format(
              self:local_statement(1), self:body(1))
          end)
        end,
        function()
          return self:scoped(function()
            return ("( function ( ... ) %s ; R [ # R + 1 ] = function %s end ) ( 1 , 2 ) ;"):format(
              self:local_statement(1), self:body(2))
          end)
        end,
      })()
    else
      parts[#parts + 1] = self:function_statement(2)
        .. " ; R [ # R + 1 ] = t . f or t . m or t . u . f ;"
    end
  end
  parts[#parts + 1] = ("R [ # R + 1 ] = function %s "):format(self:body(3))
  local separators = self:pick(SEPARATORS)
  local text = concat(parts, " "):gsub(" +", function() return self:pick(separators) end)
  return (text:gsub(BLANK, " "))
end

return random_lua
