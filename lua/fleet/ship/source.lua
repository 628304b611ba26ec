-- SPDX-License-Identifier: MIT
-- The exact source of a function: of all functions that stand on its lines in the
-- texts known under the name of its chunk, the one that, compiled anew, has the
-- same code and the same names of upvalues. Two functions on one line are told
-- apart by that; where they do not differ, either is right.

local bytecode = require("fleet.ship.bytecode")
local cache = require("fleet.worker.cache")
local chunks = require("fleet.ship.chunks")
local lexer = require("fleet.ship.lexer")

local source = {}

--- @class fleet.Source
--- @field text string from the parenthesis before the parameters to `end`; or a whole chunk
--- @field chunk string name of the chunk
--- @field line integer of the parenthesis; 0: the text is a whole chunk
--- @field names string[] of the upvalues
--- @field constants string declarations of the compile-time constants that it uses
--- @field env integer|nil which upvalue is _ENV
--- @field globals table<string, boolean> names that it reads; false: that it may read
--- @field requires string[] modules that it requires by a literal name
--- @field name string|nil as the text has it
--- @field place string "file.lua:12"

-- A function of Lua has no more than 200 local variables.
local MAX_LOCALS = 190

--- The text of a chunk that returns the function, on its own lines.
local function wrap(text, line, names, constants)
  local locals = {}
  for _, name in ipairs(names) do
    if name ~= "_ENV" then locals[#locals + 1] = name end
  end
  local head, tail = constants, ""
  for first = 1, #locals, MAX_LOCALS do
    if first > 1 then
      head, tail = head .. "return (function() ", " end)()" .. tail
    end
    local last = math.min(first + MAX_LOCALS - 1, #locals)
    head = head .. "local " .. table.concat(locals, ",", first, last) .. ";"
  end
  local _, lines = constants:gsub("\n", "")
  return ("\n"):rep(line - 1 - lines) .. head .. "return function" .. text .. tail
end

--- Compiles a source. The text is remembered, so that functions made by the function can be
--- shipped in turn.
---@param text string
---@param chunk string
---@param line integer
---@param names string[]
---@param constants string
---@param env table globals
---@return (fun(): function)|nil maker makes the function, each time another; for a whole chunk
--- it is the function itself
---@return string|nil message
function source.compile(text, chunk, line, names, constants, env)
  if line > 0 then text = wrap(text, line, names, constants) end
  local maker, message = chunks.compile(text, chunk, "t", env)
  if maker and text ~= chunk then chunks.record(chunk, text) end
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

local function same_names(f, names)
  for i, name in ipairs(names) do
    if debug.getupvalue(f, i) ~= name then return false end
  end
  return debug.getupvalue(f, #names + 1) == nil
end

--- Declarations of the constants in sight whose names stand in the text, and of those that
--- these use; an upvalue of the name hides a constant.
local function declare(constant, text, names)
  local used, list = {}, {}
  for word in text:gmatch("[%a_][%w_]*") do used[word] = true end
  for _, name in ipairs(names) do used[name] = nil end
  while constant do
    if used[constant.name] then
      table.insert(list, 1, constant.text)
      for word in constant.text:gmatch("[%a_][%w_]*") do used[word] = true end
    end
    constant = constant.before
  end
  return table.concat(list)
end

--- The text behind `function` that compiles to what stands at an extent.
local function text_of(chunk, extent)
  local text = chunk.text:sub(extent.from, extent.to)
  if not extent.method then return text end
  return "(self" .. (text:find("^%(%s*%)") and "" or ",") .. text:sub(2)
end

local function find_extent(info, names, identity)
  for _, chunk in ipairs(chunks.find(info.source)) do
    for _, extent in ipairs(chunk.extents) do
      if extent.end_line == info.lastlinedefined
        and (extent.paren_line == info.linedefined or extent.line == info.linedefined) then
        local text = text_of(chunk, extent)
        local constants = declare(extent.constant, text, names)
        local line = extent.paren_line
        local maker = chunks.compile(wrap(text, line, names, constants), info.source, "t", {})
        local made = maker and maker()
        if made and same_names(made, names)
          and bytecode.identity(bytecode.read(string.dump(made, true))) == identity then
          return { text = text, line = line, constants = constants, name = extent.name }
        end
      end
    end
  end
  return nil
end

local function find_chunk(info, names, identity)
  for _, chunk in ipairs(chunks.find(info.source)) do
    local made = chunks.compile(chunk.text, info.source, "t")
    if made and same_names(made, names)
      and bytecode.identity(bytecode.read(string.dump(made, true))) == identity then
      return { text = chunk.text, line = 0, constants = "" }
    end
  end
  return nil
end

--- The name of a chunk without its text: messages show the beginning of its first line only.
local function short_name(name)
  if name:find("^[@=]") or (#name <= 60 and not name:find("\n")) then return name end
  return name:match("^[^\n]*"):sub(1, 60) .. "\n"
end

local function why_not(info, names)
  if names[1] == "(no name)" or names[1] == "" then return "it was loaded from bytecode" end
  local found = chunks.find(info.source)
  if #found == 0 then
    return ("the text of %s is not known: it was not loaded by this program's load, loadfile, "
      .. "dofile or require, or so long ago that it was forgotten"):format(info.short_src)
  end
  return ("nothing at line %d of %s, as it was loaded, has its code: it comes from another "
    .. "text of that name"):format(info.linedefined, info.short_src)
end

local function find(info, dump, names, env)
  local prototype = bytecode.read(dump)
  local identity = bytecode.identity(prototype)
  local found
  if info.what == "main" then
    found = find_chunk(info, names, identity)
  else
    found = find_extent(info, names, identity)
  end
  if not found then return nil, why_not(info, names) end
  found.chunk, found.names, found.env = short_name(info.source), names, env
  found.globals = env and bytecode.globals(prototype, env) or {}
  found.requires = lexer.requires(found.text)
  found.place = info.short_src .. (info.what == "main" and "" or ":" .. info.linedefined)
  return found
end

-- ---- remembering it ----

local by_function = setmetatable({}, { __mode = "k" })
local by_code = cache.new(1024)

--- The source of a function that is written in Lua; or nil and why there is none.
---@param f function
---@return fleet.Source|nil
---@return string|nil
function source.of(f)
  local found = by_function[f]
  if found then return found end
  local info = debug.getinfo(f, "S")
  local dump = string.dump(f, true)
  local names, env = names_of(f)
  -- the same code on the same lines has the same text, whatever was loaded since
  local key = ("%d:%d:%s\0%s\0%s"):format(info.linedefined, info.lastlinedefined,
    table.concat(names, ","), info.source, dump)
  found = by_code:get(key)
  if not found then
    local why
    found, why = find(info, dump, names, env)
    if not found then return nil, why end
    by_code:put(key, found)
  end
  by_function[f] = found
  return found
end

return source
