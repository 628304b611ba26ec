-- SPDX-License-Identifier: MIT
-- A cache of the texts that functions come from, by the name of their chunk, so that the source of
-- a function can be found. `load`, `loadfile`, `dofile` and `require` of a driver record what they
-- load; so do job scripts and shipped functions. A chunk name may have several texts: a file that
-- was edited and loaded again, or lines at a prompt.

local atomic = require("fleet.base.atomic")
local without_mark = require("fleet.base.text").without_mark

local source_cache = {}

-- Files, and all other texts (lines at a prompt, the argument of `load`), have limits of their own.
-- A function that was compiled from a text keeps it alive beyond these, but functions made by it do
-- not.
local MAX_FILE_BYTES = 16 * 1024 * 1024
local MAX_OTHER_BYTES = 1024 * 1024
-- The size of a chunk without its name and text.
local CHUNK_BYTES = 400

--- @class fleet.Chunk
--- @field name string as debug.getinfo gives it in `source`
--- @field text string
--- @field loaded integer number of the last load

--- @class fleet.ChunkList a ring of chunks through `ends`, the least recently used first
--- @field bytes integer
--- @field max_bytes integer
--- @field ends table

local function new_list(max_bytes)
  local ends = {}
  ends.next, ends.prev = ends, ends
  return { bytes = 0, max_bytes = max_bytes, ends = ends }
end

local by_name = {} -- name -> text -> chunk
local files, others = new_list(MAX_FILE_BYTES), new_list(MAX_OTHER_BYTES)
local compiled = setmetatable({}, { __mode = "k" }) -- function -> its chunk
local loads = 0

local function list_of(name)
  return name:sub(1, 1) == "@" and files or others
end

local function size_of(chunk)
  return #chunk.name + #chunk.text + CHUNK_BYTES
end

local function unlink(chunk)
  chunk.prev.next, chunk.next.prev = chunk.next, chunk.prev
end

local function link_last(list, chunk)
  local ends = list.ends
  chunk.prev, chunk.next = ends.prev, ends
  chunk.prev.next, ends.prev = chunk, chunk
end

local function forget_first(list)
  local chunk = list.ends.next
  unlink(chunk)
  chunk.prev, chunk.next = nil, nil
  list.bytes = list.bytes - size_of(chunk)
  local texts = by_name[chunk.name]
  texts[chunk.text] = nil
  if not next(texts) then by_name[chunk.name] = nil end
end

local function record(name, text, f)
  local list = list_of(name)
  local texts = by_name[name]
  if not texts then
    texts = {}
    by_name[name] = texts
  end
  local chunk = texts[text]
  if chunk then
    unlink(chunk)
  else
    chunk = { name = name, text = text }
    texts[text] = chunk
    list.bytes = list.bytes + size_of(chunk)
  end
  link_last(list, chunk)
  loads = loads + 1
  chunk.loaded = loads
  if f then compiled[f] = chunk end
  -- the newest stays, whatever its size
  while list.bytes > list.max_bytes and list.ends.next ~= chunk do forget_first(list) end
end

--- Records that `text` was loaded with that name. Bytecode is not recorded. The least recently used
--- texts are dropped when there are too many, except those whose `f` is still in use.
---@param name string as given to `load`: "@file.lua", "=stdin"
---@param text string
---@param f function|nil what was compiled from it
function source_cache.record(name, text, f)
  if text:sub(1, 1) == "\27" then return end
  atomic.call(record, name, text, f)
end

--- The known texts that were loaded with a name, the last first. A chunk that was loaded without a
--- name is its own text.
---@param name string `source` of debug.getinfo
---@param f function|nil if it was compiled from a text, that is among them
---@return fleet.Chunk[]
function source_cache.find(name, f)
  local list, texts = {}, by_name[name] or {}
  for _, chunk in pairs(texts) do
    unlink(chunk)
    link_last(list_of(name), chunk)
    list[#list + 1] = chunk
  end
  local own = f and compiled[f]
  if own and texts[own.text] ~= own then list[#list + 1] = own end
  table.sort(list, function(a, b) return a.loaded > b.loaded end)
  if not name:find("^[@=]") then list[#list + 1] = { name = name, text = name } end
  return list
end

-- ---- loading ----

local function is_text(value)
  return type(value) == "string" or type(value) == "number"
end

--- The concatenated pieces of a reader function. Nil and the error that it raises, for `load` to
--- return.
local function read_all(reader)
  local pieces = {}
  local ok, message = pcall(function()
    local piece = reader()
    while piece ~= nil and piece ~= "" do
      if not is_text(piece) then error("reader function must return a string", 0) end
      pieces[#pieces + 1] = piece
      piece = reader()
    end
  end)
  if not ok then return nil, message end
  return table.concat(pieces)
end

--- Raises as Lua itself does: at the caller's line.
local function check_argument(n, value, expected, fits)
  if fits then return end
  error(("bad argument #%d to 'load' (%s expected, got %s)"):format(n, expected,
    value == nil and "no value" or type(value)), 3)
end

local original = { load = load, loadfile = loadfile, dofile = dofile }

--- Lua's own `load`, which records nothing.
source_cache.compile = original.load

--- As Lua's `load`, but records the text.
---@param chunk string|fun(): string|nil
---@param name string|nil
---@param mode "t"|"b"|"bt"|nil
---@param ... table|nil env
---@return function|nil
---@return string|nil message
function source_cache.load(chunk, name, mode, ...)
  check_argument(1, chunk, "function", type(chunk) == "function" or is_text(chunk))
  check_argument(2, name, "string", name == nil or is_text(name))
  check_argument(3, mode, "string", mode == nil or is_text(mode))
  if type(chunk) == "function" then
    local text, message = read_all(chunk)
    if not text then return nil, message end
    chunk, name = text, name or "=(load)"
  end
  local f, message = source_cache.compile(chunk, name, mode, ...)
  if f and type(name) == "string" and type(chunk) == "string" and name ~= chunk then
    source_cache.record(name, chunk, f)
  end
  return f, message
end

--- Reads the text of a file as Lua does, see source_cache.source.
---@param path string|nil default: stdin
---@return string|nil
---@return string|nil message
function source_cache.read(path)
  local file, message
  if path then
    file, message = io.open(path, "rb")
    if not file then return nil, "cannot open " .. message end
  end
  local text = (file or io.stdin):read("a")
  if file then file:close() end
  if not text then return nil, ("cannot read %s"):format(path or "stdin") end
  return source_cache.source(text)
end

--- The text of a file as Lua takes it: without a byte order mark; a first line that begins with #
--- is empty.
---@param text string
---@return string
function source_cache.source(text)
  return (without_mark(text):gsub("^#[^\n]*", ""))
end

--- As Lua's `loadfile`, but records the text.
---@param path string|nil
---@param mode "t"|"b"|"bt"|nil
---@param ... table|nil env
---@return function|nil
---@return string|nil
function source_cache.loadfile(path, mode, ...)
  local text, message = source_cache.read(path)
  if not text then return nil, message end
  return source_cache.load(text, path and "@" .. path or "=stdin", mode, ...)
end

--- As Lua's `dofile`, but records the text.
---@param path string|nil
---@return any ...
function source_cache.dofile(path)
  local f, message = source_cache.loadfile(path)
  if not f then error(message, 0) end
  return f()
end

--- Makes `load`, `loadfile` and `dofile` of this Lua state record what they load.
function source_cache.install()
  for name in pairs(original) do _G[name] = source_cache[name] end
end

return source_cache
