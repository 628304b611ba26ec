-- SPDX-License-Identifier: MIT
-- Reads the annotations of a Lua source (those of the Lua language server, LuaCATS): the blocks
-- of `---` lines, and the definition that stands below each. Plain Lua; knows only the forms that
-- this tree uses.

local annotations = {}

-- ---- types ----

local function skip_spaces(s, at)
  return s:match("^ *()", at)
end

local read_type

-- One alternative of a union: a name, a quoted word, a table or a function type, with [] and ?.
local function read_part(s, at)
  local to
  if s:find("^fun%(", at) then
    to = select(2, s:find("^%b()", at + 3)) + 1
    local colon = s:match("^: *()", to)
    if colon then
      to = read_type(s, colon)
      local comma = s:match("^, *()", to)
      while comma do
        to = read_type(s, comma)
        comma = s:match("^, *()", to)
      end
    end
  else
    to = s:match("^%b{}()", at) or s:match("^%b()()", at) or s:match('^"[^"]*"()', at)
      or s:match("^[%w_.*]+%b<>()", at) or s:match("^[%w_.*]+()", at)
  end
  if not to then error(("no type at '%s'"):format(s:sub(at)), 0) end
  while s:find("^%[%]", to) do to = to + 2 end
  return s:match("^%?()", to) or to
end

-- The position behind the type that begins at `at`.
function read_type(s, at)
  local to = read_part(s, at)
  local bar = s:match("^ ?| ?()", to)
  while bar do
    to = read_part(s, bar)
    bar = s:match("^ ?| ?()", to)
  end
  return to
end

-- "TYPE rest" -> type, rest
local function split_type(s)
  local to = read_type(s, 1)
  return s:sub(1, to - 1), s:sub(skip_spaces(s, to))
end

-- ---- blocks ----

--- @class docs.Value a parameter, a returned value or a field
--- @field name? string
--- @field type string
--- @field text string
--- @field optional? boolean

--- @class docs.Block
--- @field line integer of the definition below it
--- @field text string[] lines before the first tag
--- @field params docs.Value[]
--- @field returns docs.Value[]
--- @field class? {name: string, parent: string|nil, text: string[], fields: docs.Value[]}
--- @field type? string of @type

local tags = {}

function tags.param(block, rest)
  local name, optional, after = rest:match("^([%w_.]+)(%??) +()")
  local kind, text = split_type(rest:sub(after))
  local value = { name = name, type = kind, text = text, optional = optional == "?" }
  table.insert(block.params, value)
  return value
end

-- Several types may stand in one line: "A|nil, B|nil".
tags["return"] = function(block, rest)
  local value
  repeat
    local kind, text = split_type(rest)
    local more = text:match("^, *(.*)")
    value = { type = kind, text = more and "" or text }
    table.insert(block.returns, value)
    rest = more
  until not rest
  return value
end

function tags.class(block, rest)
  local name, parent, text = rest:match("^([%w_.]+):? *([%w_.]*)(.*)")
  if not rest:find("^[%w_.]+:") then parent, text = "", rest:match("^[%w_.]+ *(.*)") end
  block.class = {
    name = name, parent = parent ~= "" and parent or nil, text = { text ~= "" and text or nil },
    fields = {},
  }
end

function tags.field(block, rest)
  local name, optional, after = rest:match("^([%w_.]+)(%??) +()")
  local kind, text = split_type(rest:sub(after))
  local value = { name = name, type = kind, text = text, optional = optional == "?" }
  table.insert(block.class.fields, value)
  return value
end

function tags.type(block, rest)
  block.type = split_type(rest)
end

function tags.meta() end
function tags.generic() end

local function new_block()
  return { text = {}, params = {}, returns = {} }
end

-- Adds one line of a block, without its dashes. `open` is the value that the last tag made: text
-- below it goes on with it.
local function add_line(block, line, open)
  local tag, rest = line:match("^ ?@(%a+) ?(.*)")
  if tag then
    local handler = tags[tag] or error("unknown tag @" .. tag, 0)
    return handler(block, rest)
  elseif open then
    open.text = open.text .. " " .. line:match("^ *(.*)")
  elseif block.class and #block.class.fields == 0 then
    table.insert(block.class.text, (line:gsub("^ ", "")))
  else
    table.insert(block.text, (line:gsub("^ ", "")))
  end
  return open
end

-- ---- definitions ----

--- @class docs.Definition what stands below a block
--- @field name string as it stands in the source: "fleet.call", "Future:wait"
--- @field signature? string[] names of the parameters, when it is a function written out
--- @field alias? string what is assigned, when that is a name: "host.sha256"
--- @field gives? boolean whether its body returns a value
--- @field block? docs.Block
--- @field line integer

local function words(list)
  local names = {}
  for name in list:gmatch("[^,%s]+") do names[#names + 1] = name end
  return names
end

-- Whether the function that begins at lines[first] returns a value: one of its own, not of a
-- function inside it. Lines are indented as they are nested.
local function gives_value(lines, first)
  local indent = lines[first]:match("^ *")
  if lines[first]:find("%f[%w]end$") then return lines[first]:find("%f[%w]return +[^e]") ~= nil end
  local inner -- indentation of a function inside
  for i = first + 1, #lines do
    local line = lines[i]:gsub("%f[%w_]function%b().-%f[%w]end%f[%W]", "nil")
    if inner then
      if line:find("^" .. inner .. "end%f[%W]") or line == inner .. "end" then inner = nil end
    elseif line:find("^" .. indent .. "end%f[%W]") or line == indent .. "end" then
      return false
    elseif line:find("%f[%w_]function[ %w_.:]*%(") then
      if line:find("^ *return function") then return true end
      inner = line:match("^ *")
    elseif line:find("%f[%w]return +[^%s;]") and not line:find("return +end") then
      return true
    end
  end
  return false
end

local function definitions_of(lines, i)
  local line = lines[i]
  local name, list = line:match("^ *function ([%w_.:]+)%(([^)]*)%)")
  if name then
    return { { name = name, signature = words(list), gives = gives_value(lines, i), line = i } }
  end
  local left, right = line:match("^ *([%w_., ]+) = ([%w_., ]+)$")
  local alone = line:match("^ *([%w_]+%.[%w_.]+) = ")
  if left and left:find(".", 1, true) and not left:find("^local ") then
    local names, values, found = words(left), words(right), {}
    for n, each in ipairs(names) do found[n] = { name = each, alias = values[n], line = i } end
    return found
  elseif alone then
    return { { name = alone, line = i } }
  end
  return {}
end

--- @class docs.Source
--- @field head string[] the comment that the file begins with
--- @field classes table[]
--- @field definitions docs.Definition[]
--- @field requires table<string, string> its local modules by name

--- Reads a source.
---@param text string
---@return docs.Source
function annotations.parse(text)
  local lines = {}
  for line in (text .. "\n"):gmatch("(.-)\n") do lines[#lines + 1] = line end
  local parsed = { head = {}, classes = {}, definitions = {}, requires = {} }
  local i = 1
  while lines[i]:find("^%-%-") and not lines[i]:find("^%-%-%-") do
    local words_of_it = lines[i]:match("^%-%- ?(.*)")
    if not words_of_it:find("^SPDX") then table.insert(parsed.head, words_of_it) end
    i = i + 1
  end
  local block, open
  while i <= #lines do
    local line = lines[i]
    local comment = line:match("^ *%-%-%-([^-].*)") or line:match("^ *%-%-%-()$") and ""
    if comment then
      block = block or new_block()
      local ok, result = pcall(add_line, block, comment, open)
      if not ok then error(("line %d: %s"):format(i, result), 0) end
      open = result
    else
      if block and block.class then table.insert(parsed.classes, block.class) end
      for _, definition in ipairs(definitions_of(lines, i)) do
        definition.block = block
        table.insert(parsed.definitions, definition)
      end
      local name, module = line:match("^local ([%w_]+) = require%(\"([%w_.]+)\"%)")
      if name then parsed.requires[name] = module end
      block, open = nil, nil
    end
    i = i + 1
  end
  return parsed
end

--- The parameters and results of a type `fun(a: A, b: B): C`.
---@param kind string
---@return docs.Value[]|nil params nil when it is no function type
---@return docs.Value[] returns
function annotations.function_type(kind)
  local list, result = kind:match("^fun(%b())(.*)$")
  if not list then return nil, {} end
  local params, returns, at = {}, {}, 2
  while list:find("^ *[%w_.]", at) do
    local name, optional, after = list:match("^ *([%w_.]+)(%??): *()", at)
    if not name then
      name, after = list:match("^ *([%w_.]+)()", at)
      params[#params + 1] = { name = name, type = "any", text = "" }
      at = list:match("^,? *()", after)
    else
      local to = read_type(list, after)
      params[#params + 1] = {
        name = name, type = list:sub(after, to - 1), text = "", optional = optional == "?",
      }
      at = list:match("^,? *()", to)
    end
  end
  local rest = result:match("^: *(.+)")
  while rest do
    local kind_of_it, text = split_type(rest)
    returns[#returns + 1] = { type = kind_of_it, text = "" }
    rest = text:match("^, *(.+)")
  end
  return params, returns
end

return annotations
