-- SPDX-License-Identifier: MIT
-- Finds the functions in a text of Lua 5.4 or 5.5: where each begins and ends, which variables of
-- enclosing functions it uses, and which globals it reads. Texts have been compiled before, so an
-- error means that the text is not Lua.

local constant = require("fleet.ship.constant")
local lexer = require("fleet.ship.lexer")
local set = require("fleet.base.text").set

local parser = {}

local concat, sub = table.concat, string.sub

local UNARY, BINARY, UNKNOWN = constant.UNARY, constant.BINARY, constant.UNKNOWN
local LITERAL = set("nil true false number string")
local BLOCK_END = set("end else elseif until eof")

--- @class fleet.Variable a local variable, or a declaration of a global (`global x`)
--- @field name string
--- @field owner fleet.Extent the function that declares it
--- @field is_global boolean
--- @field constant fleet.Constant|nil its value, if it may be a compile-time constant
--- @field shadowed fleet.Variable|nil of the same name

--- @class fleet.Extent one function in a text
--- @field from integer first byte of its parameter list
--- @field to integer last byte of its `end`
--- @field line integer the line of the function for Lua: of `function` in a statement, else of the
---   parenthesis
--- @field paren_line integer of the parenthesis
--- @field end_line integer of `end`
--- @field method boolean whether it is `function a:b()`, which has a parameter self
--- @field has_parameters boolean besides self
--- @field name string|nil from the text: "a.b", "a:b"
--- @field outer fleet.Extent|nil the enclosing function; nil: this is the whole text
--- @field free table<string, fleet.Variable> variables of enclosing functions that it uses, by name
--- @field assigned table<string, boolean> names of those that it assigns to
--- @field globals table<string, boolean> names of the globals that it reads, also as fields of the
---   outer variable _ENV
--- @field takes_env boolean whether it uses that variable in other ways as well

--- @class fleet.Parser
--- @field text string
--- @field tokens fleet.Tokens
--- @field kinds string[]
--- @field at integer the next token
--- @field here fleet.Extent the function that is being parsed
--- @field list fleet.Extent[] found so far
--- @field visible table<string, fleet.Variable>
--- @field scope fleet.Variable[] all in scope, the innermost last
--- @field folds boolean whether the values of literals are needed
local function word_at(self, at)
  return sub(self.text, self.tokens.starts[at], self.tokens.stops[at])
end

--- Skips a token of that kind; raises at any other.
local function expect(self, kind)
  if self.kinds[self.at] ~= kind then
    error(("line %d: '%s' expected"):format(self.tokens.lines[self.at], kind), 0)
  end
  self.at = self.at + 1
end

local function accept(self, kind)
  if self.kinds[self.at] ~= kind then return false end
  self.at = self.at + 1
  return true
end

local function name(self)
  expect(self, "name")
  return word_at(self, self.at - 1)
end

-- ---- scopes ----

local function declare(self, word, is_global)
  local scope = self.scope
  local variable = {
    name = word, owner = self.here, is_global = is_global or false, shadowed = self.visible[word],
  }
  scope[#scope + 1], self.visible[word] = variable, variable
  return variable
end

--- Ends the scopes of all variables but the first `count`.
local function leave(self, count)
  local scope = self.scope
  for i = #scope, count + 1, -1 do
    self.visible[scope[i].name] = scope[i].shadowed
    scope[i] = nil
  end
end

--- Records a use of a variable. `how`: "read", "assigned".
local function use_variable(self, variable, how)
  local extent, word = self.here, variable.name
  while extent ~= variable.owner do
    extent.free[word] = variable
    if how == "assigned" then extent.assigned[word] = true end
    extent = extent.outer
  end
end

--- Records a use of a field of the variable _ENV; nil: of the variable itself.
local function use_env(self, field, how)
  local env = self.visible._ENV
  if env and env.is_global then env = nil end
  if env then use_variable(self, env, "read") end
  local extent = self.here
  while extent and not (env and extent == env.owner) do
    if not field then
      extent.takes_env = true
    elseif how == "read" then
      extent.globals[field] = true
    end
    extent = extent.outer
  end
end

local function use(self, word, how)
  local variable = self.visible[word]
  if word == "_ENV" then
    use_env(self)
    if variable and how == "assigned" then use_variable(self, variable, how) end
    if not variable and how == "assigned" then
      local extent = self.here
      while extent do
        extent.assigned._ENV = true
        extent = extent.outer
      end
    end
  elseif variable and not variable.is_global then
    use_variable(self, variable, how)
  else
    use_env(self, word, how)
  end
end

-- ---- expressions ----

local expression, block

--- Parses a list. Returns the number of expressions and the value of the last.
local function expressions(self)
  local n, value = 1, expression(self, 0)
  while accept(self, ",") do
    n, value = n + 1, expression(self, 0)
  end
  return n, value
end

local function new_extent(self, outer)
  return {
    from = self.tokens.starts[self.at], outer = outer, method = false, free = {}, assigned = {},
    globals = {}, takes_env = false,
  }
end

--- Parses a function from its parameters on.
local function body(self, title, method, line)
  local count, outer = #self.scope, self.here
  local here = new_extent(self, outer)
  self.here = here
  here.name, here.method = title, method
  here.paren_line = self.tokens.lines[self.at]
  here.line = line or here.paren_line
  if method then declare(self, "self") end
  expect(self, "(")
  here.has_parameters = self.kinds[self.at] ~= ")"
  while not accept(self, ")") do
    if accept(self, "...") then
      if self.kinds[self.at] == "name" then declare(self, name(self)) end
    else
      declare(self, name(self))
    end
    accept(self, ",")
  end
  block(self)
  here.to, here.end_line = self.tokens.stops[self.at], self.tokens.lines[self.at]
  expect(self, "end")
  leave(self, count)
  self.here = outer
  self.list[#self.list + 1] = here
end

--- The text of the variable that the function expression at a token is assigned to.
local function assigned_name(self, at)
  local kinds = self.kinds
  if kinds[at - 1] ~= "=" or kinds[at - 2] ~= "name" then return nil end
  local first = at - 2
  while kinds[first - 1] == "." and kinds[first - 2] == "name" do first = first - 2 end
  local words = {}
  for i = first, at - 2 do words[#words + 1] = word_at(self, i) end
  return concat(words)
end

local function table_constructor(self)
  expect(self, "{")
  while not accept(self, "}") do
    if accept(self, "[") then
      expression(self, 0)
      expect(self, "]")
      expect(self, "=")
    elseif self.kinds[self.at] == "name" and self.kinds[self.at + 1] == "=" then
      self.at = self.at + 2
    end
    expression(self, 0)
    if self.kinds[self.at] ~= "}" and not accept(self, ",") then expect(self, ";") end
  end
end

local function arguments(self)
  local kind = self.kinds[self.at]
  if kind == "string" then
    self.at = self.at + 1
  elseif kind == "{" then
    table_constructor(self)
  else
    expect(self, "(")
    if not accept(self, ")") then
      expressions(self)
      expect(self, ")")
    end
  end
end

local SUFFIX = {
  ["."] = function(self)
    self.at = self.at + 1
    name(self)
  end,
  ["["] = function(self)
    self.at = self.at + 1
    expression(self, 0)
    expect(self, "]")
  end,
  [":"] = function(self)
    self.at = self.at + 1
    name(self)
    arguments(self)
  end,
  ["("] = arguments, ["{"] = arguments, string = arguments,
}

--- Parses a name or parentheses, with all calls and fields behind it.
local function suffixed(self)
  local value = UNKNOWN
  if accept(self, "(") then
    value = expression(self, 0)
    expect(self, ")")
  else
    local word = name(self)
    if word == "_ENV" and self.kinds[self.at] == "." then
      self.at = self.at + 1
      use_env(self, name(self), "read")
    else
      use(self, word, "read")
      local variable = self.visible[word]
      value = variable and variable.constant or UNKNOWN
    end
  end
  while SUFFIX[self.kinds[self.at]] do
    SUFFIX[self.kinds[self.at]](self)
    value = UNKNOWN
  end
  return value
end

local function operand(self)
  local kind = self.kinds[self.at]
  if LITERAL[kind] then
    self.at = self.at + 1
    return self.folds and constant.known(lexer.value(word_at(self, self.at - 1))) or UNKNOWN
  elseif kind == "..." then
    self.at = self.at + 1
  elseif kind == "{" then
    table_constructor(self)
  elseif kind == "function" then
    self.at = self.at + 1
    body(self, assigned_name(self, self.at - 1), false)
  else
    return suffixed(self)
  end
  return UNKNOWN
end

--- Parses up to an operator whose `left` is not above `limit`. Returns the expression's value as a
--- fleet.Constant.
function expression(self, limit)
  local value
  local kinds = self.kinds
  local unary = UNARY[kinds[self.at]]
  if unary then
    self.at = self.at + 1
    value = unary(expression(self, constant.UNARY_PRIORITY))
  else
    value = operand(self)
  end
  while true do
    local operator = BINARY[kinds[self.at]]
    if not operator or operator.left <= limit then return value end
    self.at = self.at + 1
    value = operator.apply(value, expression(self, operator.right))
  end
end

-- ---- statements ----

local statements = {}

local function scoped_block(self)
  local count = #self.scope
  block(self)
  leave(self, count)
end

statements["do"] = function(self)
  scoped_block(self)
  expect(self, "end")
end

statements["while"] = function(self)
  expression(self, 0)
  expect(self, "do")
  scoped_block(self)
  expect(self, "end")
end

statements["repeat"] = function(self)
  local count = #self.scope
  block(self)
  expect(self, "until")
  expression(self, 0)
  leave(self, count)
end

statements["if"] = function(self)
  repeat
    expression(self, 0)
    expect(self, "then")
    scoped_block(self)
  until not accept(self, "elseif")
  if accept(self, "else") then scoped_block(self) end
  expect(self, "end")
end

statements["for"] = function(self)
  local words = {}
  repeat words[#words + 1] = name(self) until not accept(self, ",")
  if not accept(self, "=") then expect(self, "in") end
  expressions(self)
  expect(self, "do")
  local count = #self.scope
  for _, word in ipairs(words) do declare(self, word) end
  block(self)
  leave(self, count)
  expect(self, "end")
end

statements["return"] = function(self)
  if not BLOCK_END[self.kinds[self.at]] and self.kinds[self.at] ~= ";" then expressions(self) end
  accept(self, ";")
end

statements["goto"] = function(self) name(self) end
statements["break"] = function() end
statements[";"] = statements["break"]

statements["::"] = function(self)
  name(self)
  expect(self, "::")
end

statements["function"] = function(self)
  local line = self.tokens.lines[self.at - 1]
  local first, method = self.at, false
  local word = name(self)
  use(self, word, self.kinds[self.at] == "(" and "assigned" or "read")
  while self.kinds[self.at] == "." or self.kinds[self.at] == ":" do
    method = self.kinds[self.at] == ":"
    self.at = self.at + 1
    name(self)
  end
  local words = {}
  for i = first, self.at - 1 do words[#words + 1] = word_at(self, i) end
  body(self, concat(words), method, line)
end

--- Parses an attribute such as `<const>`, if there is one.
local function attribute(self)
  if not accept(self, "<") then return nil end
  local word = name(self)
  expect(self, ">")
  return word
end

--- Parses the names of a declaration. Returns them, and the attribute of the last.
local function declared_names(self)
  local words, common = {}, attribute(self)
  if common and accept(self, "*") then return words end
  while true do
    words[#words + 1] = name(self)
    local attrib = attribute(self) or common
    if not accept(self, ",") then return words, attrib end
  end
end

statements["local"] = function(self)
  if accept(self, "function") then
    local word = name(self)
    declare(self, word)
    return body(self, word, false)
  end
  local words, attrib = declared_names(self)
  local n, value, last
  if accept(self, "=") then
    local outer = self.folds
    self.folds = attrib == "const"
    n, value = expressions(self)
    self.folds = outer
  end
  for _, word in ipairs(words) do last = declare(self, word) end
  if n == #words and attrib == "const" and value.known then last.constant = value end
end

local function global(self)
  self.at = self.at + 1
  if accept(self, "function") then
    local word = name(self)
    declare(self, word, true)
    use(self, word, "assigned")
    return body(self, word, false)
  end
  if accept(self, "*") then return end
  local words = declared_names(self)
  if accept(self, "=") then expressions(self) end
  for _, word in ipairs(words) do declare(self, word, true) end
end

-- Tokens behind `global` in a declaration of Lua 5.5; no statement of 5.4 begins so.
local GLOBAL_NEXT = set("name function * <")

--- Parses a call or a variable that is assigned to.
local function target(self)
  local kinds, at = self.kinds, self.at
  local last = at
  if word_at(self, at) == "_ENV" and kinds[at + 1] == "." then last = at + 2 end
  if kinds[at] ~= "name" or kinds[last + 1] ~= "=" and kinds[last + 1] ~= "," then
    suffixed(self)
  else
    self.at = last + 1
    if last == at then
      use(self, word_at(self, at), "assigned")
    else
      use_env(self, word_at(self, last), "assigned")
    end
  end
end

local function other_statement(self)
  if self.kinds[self.at] == "name" and word_at(self, self.at) == "global"
    and GLOBAL_NEXT[self.kinds[self.at + 1]] then
    return global(self)
  end
  repeat target(self) until not accept(self, ",")
  if accept(self, "=") then expressions(self) end
end

function block(self)
  while not BLOCK_END[self.kinds[self.at]] do
    local statement = statements[self.kinds[self.at]]
    if statement then
      self.at = self.at + 1
      statement(self)
    else
      other_statement(self)
    end
  end
end

local function parse(text)
  local tokens = lexer.tokens(text)
  local self = {
    text = text, tokens = tokens, kinds = tokens.kinds, at = 1, list = {}, visible = {}, scope = {},
    folds = false,
  }
  self.here = new_extent(self, nil)
  block(self)
  expect(self, "eof")
  return { whole = self.here, list = self.list }
end

--- @class fleet.Functions
--- @field whole fleet.Extent the text as a function; of its positions only `from` is set
--- @field list fleet.Extent[] the functions in it, in the order of their ends

--- The functions of a text; nil and what is wrong with it.
---@param text string
---@return fleet.Functions|nil
---@return string|nil
function parser.functions(text)
  local ok, result = pcall(parse, text)
  if not ok then return nil, result end
  return result
end

return parser
