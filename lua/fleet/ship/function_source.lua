-- SPDX-License-Identifier: MIT
-- Finds the source of a function, in a form that can be compiled by itself. The candidates are the
-- functions on the same lines of the texts that are known by the name of its chunk; the right one
-- is the one that is equal when compiled again. That also tells apart two functions on one line; if
-- they are equal, either will do.
--
-- Functions are equal if string.dump writes the same bytes. Nothing here knows the format of a
-- dump. It contains the place of each upvalue in the enclosing function, which may differ: the
-- bytes that do are found by declaring the upvalues in other ways.

local constant = require("fleet.ship.constant")
local lexer = require("fleet.ship.lexer")
local lru_cache = require("fleet.base.lru_cache")
local parser = require("fleet.ship.parser")
local source_cache = require("fleet.ship.source_cache")

local function_source = {}

--- @class fleet.FunctionSource
--- @field text string a chunk that returns a new function each time; or the function itself
--- @field line integer of the first line of `text`; 0: the function is the whole chunk
--- @field chunk string name of the chunk
--- @field names string[] of the upvalues
--- @field env integer|nil which upvalue is _ENV
--- @field globals table<string, boolean> names that it reads; false: it may read the name
--- @field requires string[] modules that it requires by a literal name
--- @field name string|nil from its text
--- @field place string "file.lua:12"

-- Lua allows 200 local variables in a function.
local MAX_LOCALS = 180

-- The capacity of half a cache, and the size of an entry without its texts.
local CACHE_BYTES, ENTRY_BYTES = 512 * 1024, 1024

-- ---- the functions of a text ----

local NONE = { list = {} }
local parsed = lru_cache.new(CACHE_BYTES)

local function functions_of(text)
  local found = parsed:get(text)
  if not found then
    found = parser.functions(text) or NONE
    parsed:put(text, found, #text + ENTRY_BYTES * (#found.list + 1))
  end
  return found
end

-- ---- a function by itself ----

--- Declarations of the compile-time constants that the function uses, which are the variables that
--- are not among its upvalues. Nil when the names do not fit.
local function constants_of(extent, names)
  local constants, upvalues = {}, {}
  for _, name in ipairs(names) do
    upvalues[name] = true
    if name ~= "_ENV" and not extent.free[name] then return nil end
  end
  for name, variable in pairs(extent.free) do
    if not upvalues[name] then
      if not variable.constant then return nil end
      constants[#constants + 1] = ("local %s <const> = %s;"):format(name,
        constant.literal(variable.constant.value))
    end
  end
  table.sort(constants)
  return constants
end

--- A name that the function does not use.
local function unused_name(extent)
  local name = "_"
  while extent.free[name] or extent.globals[name] ~= nil do name = name .. "_" end
  return name
end

--- The text of a chunk that returns the function.
local function expression_of(chunk, extent)
  local text = chunk.text:sub(extent.from, extent.to)
  if extent.method then text = "(self" .. (extent.has_parameters and "," or "") .. text:sub(2) end
  if extent.line == extent.paren_line then return "return function" .. text end
  -- only in a statement may the function and its parameters be on different lines
  local name = unused_name(extent)
  return ("local %s; function %s%s%s return %s"):format(name, name,
    ("\n"):rep(extent.paren_line - extent.line), text, name)
end

--- Declarations of the upvalues, in groups that fit into a function. A variable that is assigned to
--- cannot have the attribute.
local function upvalue_groups(extent, names, attribute)
  local groups = {}
  for _, name in ipairs(names) do
    if name ~= "_ENV" then
      local group = groups[#groups]
      if not group or #group == MAX_LOCALS then
        group = {}
        groups[#groups + 1] = group
      end
      group[#group + 1] = ("local %s%s;"):format(name, extent.assigned[name] and "" or attribute)
    end
  end
  return groups
end

--- Puts declarations around a text: each group is in a function of its own, inside that of the
--- group before.
local function nest(groups, text)
  for i = #groups, 1, -1 do
    local group = table.concat(groups[i])
    text = i == 1 and group .. text or "return (function() " .. group .. text .. " end)()"
  end
  return text
end

--- Declares the upvalues so that all that a dump contains of them differs from `nest`: another
--- place, other kinds, and, if they are in one group, not in the enclosing function but further
--- out.
local function displaced(extent, names, text)
  local spare = unused_name(extent)
  local groups = upvalue_groups(extent, names, " <const>")
  if #groups <= 1 then groups[#groups + 1] = {} end
  for i, group in ipairs(groups) do
    table.insert(group, 1, ("local %s = %s;"):format(spare, i == 1 and "nil" or spare))
  end
  table.insert(groups[#groups], ("local _ENV%s = _ENV;"):format(
    extent.assigned._ENV and "" or " <const>"))
  return nest(groups, text)
end

--- Texts of the function with its upvalues declared in several ways, so that everything that a dump
--- may contain of their places and kinds differs; the first is the one to ship.
local function texts_of(chunk, extent, names, constants)
  local text = expression_of(chunk, extent)
  local groups = upvalue_groups(extent, names, "")
  local texts = {}
  for i = 1, math.max(#groups, 1) do -- each group is nearest to the function once
    texts[i] = nest(groups, text)
    table.insert(groups, 1, table.remove(groups))
  end
  texts[#texts + 1] = displaced(extent, names, text)
  local head = {}
  for first = 1, #constants, MAX_LOCALS do
    head[#head + 1] = { table.unpack(constants, first, first + MAX_LOCALS - 1) }
  end
  head[#head + 1] = {} -- the rest is in a function of its own
  local before = table.concat(constants)
  for i, one in ipairs(texts) do
    if #constants + #names <= MAX_LOCALS then
      texts[i] = before .. one
    else
      texts[i] = nest(head, one)
    end
  end
  return texts
end

-- ---- compiling ----

--- Compiles a source. The text is recorded, so that functions made by the function can be shipped
--- as well.
---@param text string
---@param chunk string
---@param line integer
---@param env table globals
---@return (fun(): function)|nil maker makes a new function each time; for a whole chunk it is the
--- function itself
---@return string|nil message
function function_source.compile(text, chunk, line, env)
  if line > 1 then text = ("\n"):rep(line - 1) .. text end
  local maker, message = source_cache.compile(text, chunk, "t", env)
  if maker and text ~= chunk then source_cache.record(chunk, text, maker) end
  return maker, message
end

-- ---- finding it ----

local function names_of(f)
  local names, env = {}, nil
  local name = debug.getupvalue(f, 1)
  while name do
    names[#names + 1] = name
    if name == "_ENV" then env = #names end
    name = debug.getupvalue(f, #names + 1)
  end
  return names, env
end

--- Whether a dump is equal to the first of others of its length, except where these differ.
local function same(dump, others)
  local first = others[1]
  for from = 1, #dump, 64 do
    if dump:sub(from, from + 63) ~= first:sub(from, from + 63) then
      for at = from, math.min(from + 63, #dump) do
        local byte, varies = first:byte(at), dump:byte(at) == first:byte(at)
        for i = 2, #others do varies = varies or others[i]:byte(at) ~= byte end
        if not varies then return false end
      end
    end
  end
  return true
end

local function dump_of(text, chunk, line)
  local maker = source_cache.compile(("\n"):rep(line - 1) .. text, chunk, "t", {})
  local ok, made = pcall(maker)
  return ok and type(made) == "function" and string.dump(made)
end

local function try(chunk, extent, info, names, dump)
  local constants = constants_of(extent, names)
  if not constants then return nil end
  local texts = texts_of(chunk, extent, names, constants)
  local dumps = {}
  for i, text in ipairs(texts) do
    dumps[i] = dump_of(text, info.source, extent.line)
    if not dumps[i] or #dumps[i] ~= #dump then return nil end
    if dumps[i] == dump then break end -- even the places are equal
  end
  if not same(dump, dumps) then return nil end
  return { text = texts[1], line = extent.line, name = extent.name }
end

local function find_extent(info, names, dump)
  for _, chunk in ipairs(source_cache.find(info.source)) do
    for _, extent in ipairs(functions_of(chunk.text).list) do
      if extent.end_line == info.lastlinedefined and extent.line == info.linedefined then
        local found = try(chunk, extent, info, names, dump)
        if found then return found, extent, chunk.text:sub(extent.from, extent.to) end
      end
    end
  end
  return nil
end

local function find_chunk(f, info, dump)
  for _, chunk in ipairs(source_cache.find(info.source, f)) do
    local made = source_cache.compile(chunk.text, info.source, "t")
    if made and string.dump(made) == dump then
      return { text = chunk.text, line = 0 }, functions_of(chunk.text).whole, chunk.text
    end
  end
  return nil
end

--- The name of a chunk without its text: messages show only the beginning of its first line.
local function short_name(name)
  if name:find("^[@=]") or (#name <= 60 and not name:find("\n")) then return name end
  return name:match("^[^\n]*"):sub(1, 60) .. "\n"
end

local function why_not(info, names)
  if names[1] == "(no name)" or names[1] == "" or info.source == "=?" then
    return "it was loaded from bytecode"
  end
  local other = #source_cache.find(info.source) == 0 and ""
    or ("; the text known by that name does not have this function at line %d"):format(
      info.linedefined)
  return ("the text of %s that it comes from is not known: it was not loaded by this program's "
    .. "load, loadfile, dofile or require, or so long ago that it was forgotten%s"):format(
    info.short_src, other)
end

--- The globals that a function reads. If it uses _ENV as a table, any word may be the name of one.
local function globals_of(extent, text)
  if not extent.takes_env then return extent.globals end
  local globals = {}
  for _, word in ipairs(lexer.words(text)) do globals[word] = false end
  for name in pairs(extent.globals) do globals[name] = true end
  return globals
end

local function find(f, dump)
  local info = debug.getinfo(f, "S")
  local names, env = names_of(f)
  local found, extent, text
  if info.what == "main" then
    found, extent, text = find_chunk(f, info, dump)
  else
    found, extent, text = find_extent(info, names, dump)
  end
  if not found then return nil, why_not(info, names) end
  found.chunk, found.names, found.env = short_name(info.source), names, env
  found.globals = env and globals_of(extent, text) or {}
  found.requires = lexer.requires(text)
  found.place = info.short_src .. (info.what == "main" and "" or ":" .. info.linedefined)
  return found
end

-- ---- caching it ----

local by_function = setmetatable({}, { __mode = "k" })
local by_dump = lru_cache.new(CACHE_BYTES)

--- The source of a function that is written in Lua; nil and why it is not known.
---@param f function
---@return fleet.FunctionSource|nil
---@return string|nil
function function_source.of(f)
  local found = by_function[f]
  if found then return found end
  local dump = string.dump(f)
  -- equal code on the same lines has the same text, whatever was loaded since
  found = by_dump:get(dump)
  if not found then
    local reason
    found, reason = find(f, dump)
    if not found then return nil, reason end
    by_dump:put(dump, found, #dump + #found.text + ENTRY_BYTES)
  end
  by_function[f] = found
  return found
end

return function_source
