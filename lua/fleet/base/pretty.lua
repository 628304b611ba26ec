-- SPDX-License-Identifier: MIT
-- Values as text for people: Lua that reads well, with tables in a fixed order. What is too long is
-- cut, with a note of how much is left out. What is not data (functions, userdata, coroutines) is
-- described in <angle brackets>. A value first becomes a tree of nodes, {text=, width=} or
-- {entries=, width=}, which is then laid out, on one line if it fits.

local errors = require("fleet.errors")
local text = require("fleet.base.text")

local pretty = {}

--- @class fleet.PrettyOptions
--- @field width? integer columns; a table that needs more gets several lines; default: 80
--- @field depth? integer maximum nesting of tables; default: 6
--- @field items? integer maximum entries of one table; default: 100
--- @field string? integer maximum bytes of one string; default: 2000
--- @field total? integer maximum values in all; default: 5000
--- @field color? boolean whether to use the escape sequences of a terminal; default: false

local DEFAULTS = { width = 80, depth = 6, items = 100, string = 2000, total = 5000 }

local COLORS = {
  string = "32", number = "33", boolean = "35", ["nil"] = "2", key = "36", note = "2", err = "31",
}

-- Keys of a table that are sorted; what is beyond them is not shown.
local MAX_SORTED_KEYS = 10000
local INDENT = 2
-- Bytes of a table in a message.
local MAX_MESSAGE = 1000

--- Reserved words of Lua, as a list and by name.
---@type table<integer|string, any>
pretty.keywords = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or
  repeat return then true until while]]):gmatch("%a+") do
  table.insert(pretty.keywords, word)
  pretty.keywords[word] = true
end

--- Returns whether `s` can be written as a name in Lua.
---@param s any
---@return boolean
function pretty.is_name(s)
  return type(s) == "string" and s:find("^[%a_][%w_]*$") ~= nil and not pretty.keywords[s]
end

-- ---- leaves ----

local ESCAPES = {
  ["\a"] = "\\a", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
  ["\v"] = "\\v", ["\\"] = "\\\\", ['"'] = '\\"',
}

local function escape_one(c)
  return ESCAPES[c] or ("\\x%02x"):format(c:byte())
end

--- Quotes a string as Lua source, on one line.
---@param s string any bytes
---@return string
function pretty.quote(s)
  if s:find('"', 1, true) and not s:find("'", 1, true) then
    return "'" .. text.escape((s:gsub("[%c\\]", escape_one))) .. "'"
  end
  return '"' .. text.escape((s:gsub('[%c\\"]', escape_one))) .. '"'
end

local function number(n)
  if math.type(n) == "integer" then return ("%d"):format(n) end
  if n ~= n then return "nan" end
  if n == math.huge then return "inf" end
  if n == -math.huge then return "-inf" end
  local s = ("%.14g"):format(n)
  if tonumber(s) ~= n then s = ("%.17g"):format(n) end
  return s:find("[.e]") and s or s .. ".0"
end

local function name_of(value)
  local meta = debug.getmetatable(value)
  local name = type(meta) == "table" and rawget(meta, "__name")
  return type(name) == "string" and text.escape(name) or nil
end

-- Describes what is not data, between < and >.
local function describe(value)
  local kind = type(value)
  if kind == "function" then
    local info = debug.getinfo(value, "S")
    if info.what == "C" then return "<function: built in>" end
    return ("<function: %s:%d>"):format(text.escape(info.short_src), info.linedefined)
  elseif kind == "thread" then
    return ("<coroutine: %s>"):format(coroutine.status(value))
  end
  local ok, shown = pcall(tostring, value)
  shown = ok and type(shown) == "string" and text.escape(shown) or kind
  local name = name_of(value)
  return name and not shown:find(name, 1, true) and ("<%s: %s>"):format(name, shown)
    or ("<%s>"):format(shown)
end

local function paint(state, s, color)
  if not state.color or not color then return s end
  return ("\27[%sm%s\27[0m"):format(COLORS[color], s)
end

local function leaf(state, s, color)
  return { text = paint(state, s, color), width = text.width(s) }
end

local function string_leaf(state, s)
  local limit = state.string
  if #s <= limit then return leaf(state, pretty.quote(s), "string") end
  while limit > 0 and s:find("^[\x80-\xbf]", limit + 1) do limit = limit - 1 end
  local node = leaf(state, pretty.quote(s:sub(1, limit)), "string")
  local note = ("... %d more bytes"):format(#s - limit)
  return { text = node.text .. paint(state, note, "note"), width = node.width + #note }
end

-- ---- tables ----

local RANK = { number = 1, string = 2, boolean = 3 }

local function key_before(a, b)
  local rank_a, rank_b = RANK[type(a)] or 4, RANK[type(b)] or 4
  if rank_a ~= rank_b then return rank_a < rank_b end
  if rank_a <= 2 then return a < b end
  return tostring(a) < tostring(b)
end

-- Returns the length of the list at the beginning of `t`, its other keys, sorted, and their number.
local function split(t)
  local length = 0
  while rawget(t, length + 1) ~= nil do length = length + 1 end
  local keys, count = {}, 0
  for key in next, t do
    if not (math.type(key) == "integer" and key >= 1 and key <= length) then
      count = count + 1
      if count <= MAX_SORTED_KEYS then keys[count] = key end
    end
  end
  table.sort(keys, key_before)
  return length, keys, count
end

local build

local function key_leaf(state, key)
  if pretty.is_name(key) then return leaf(state, key, "key") end
  local inner
  if type(key) == "string" then
    inner = string_leaf(state, key)
  else
    inner = RANK[type(key)] and build(state, key) or leaf(state, describe(key), "note")
  end
  return { text = "[" .. inner.text .. "]", width = inner.width + 2 }
end

local function step(key)
  return pretty.is_name(key) and "." .. key
    or ("[%s]"):format(type(key) == "string" and pretty.quote(key)
      or type(key) == "number" and number(key) or tostring(key))
end

local function build_table(state, t, depth, path)
  local length, keys, count = split(t)
  if length + count == 0 then return leaf(state, "{}") end
  if depth > state.depth then
    local n = length + count
    return leaf(state, ("{... %d %s}"):format(n, n == 1 and "entry" or "entries"), "note")
  end
  local node = { entries = {}, width = 0, list = count == 0 }
  local shown = 0
  local function add(key, value)
    shown = shown + 1
    local entry = { value = build(state, value, depth + 1, path .. step(key)) }
    if shown > length then entry.key = key_leaf(state, key) end
    node.entries[shown] = entry
    entry.width = (entry.key and entry.key.width + 3 or 0) + entry.value.width
    node.width = node.width + entry.width + 2
    node.list = node.list and not entry.value.entries
  end
  state.open[t] = path
  for i = 1, math.min(length, state.items) do
    if state.left <= 0 then break end
    add(i, rawget(t, i))
  end
  for _, key in ipairs(keys) do
    if shown >= state.items or state.left <= 0 or shown < length then break end
    add(key, rawget(t, key))
  end
  state.open[t] = nil
  if shown < length + count then
    local note = leaf(state, ("... %d more"):format(length + count - shown), "note")
    node.entries[shown + 1] = { value = note, width = note.width, last = true }
    node.width = node.width + note.width + 2
  end
  return node
end

function build(state, value, depth, path)
  local kind = type(value)
  state.left = state.left - 1
  if kind == "string" then return string_leaf(state, value) end
  if kind == "number" then return leaf(state, number(value), "number") end
  if kind == "boolean" or kind == "nil" then return leaf(state, tostring(value), kind) end
  if kind ~= "table" then return leaf(state, describe(value), "note") end
  if errors.is(value) then
    return leaf(state, ("<%s: %s>"):format(text.escape(value.kind), text.escape(value.message)),
      "err")
  end
  if state.open[value] then
    return leaf(state, ("<cycle: %s>"):format(state.open[value]), "note")
  end
  local meta = debug.getmetatable(value)
  if type(meta) == "table" and rawget(meta, "__tostring") then
    return leaf(state, describe(value), "note")
  end
  return build_table(state, value, depth, path)
end

-- ---- layout ----

local function entry_text(entry, s)
  return entry.key and entry.key.text .. " = " .. s or s
end

local function flat(node)
  if not node.entries then return node.text end
  local parts = {}
  for i, entry in ipairs(node.entries) do parts[i] = entry_text(entry, flat(entry.value)) end
  return "{" .. table.concat(parts, ", ") .. "}"
end

-- Lays out a list of single values, as many on a line as fit.
local function fill(node, state, indent)
  local lines, line, used = {}, {}, indent
  for _, entry in ipairs(node.entries) do
    if #line > 0 and used + entry.width + 1 > state.width then
      lines[#lines + 1] = table.concat(line, " ")
      line, used = {}, indent
    end
    line[#line + 1] = entry.value.text .. (entry.last and "" or ",")
    used = used + entry.width + 2
  end
  lines[#lines + 1] = table.concat(line, " ")
  return lines
end

-- `used` is the number of columns before the node on its line, and after it.
local function layout(node, state, indent, used)
  if not node.entries or used + node.width <= state.width then return flat(node) end
  local inner = indent + INDENT
  local lines
  if node.list then
    lines = fill(node, state, inner)
  else
    lines = {}
    for i, entry in ipairs(node.entries) do
      local before = inner + (entry.key and entry.key.width + 3 or 0) + 1
      lines[i] = entry_text(entry, layout(entry.value, state, inner, before))
        .. (entry.last and "" or ",")
    end
  end
  local margin = "\n" .. (" "):rep(inner)
  return "{" .. margin .. table.concat(lines, margin) .. "\n" .. (" "):rep(indent) .. "}"
end

local function new_state(options)
  local state = { open = {} }
  for name, default in pairs(DEFAULTS) do state[name] = options and options[name] or default end
  state.color = options and options.color
  state.left = state.total
  return state
end

--- Returns the message of a raised value: a string or a number itself, the message of an error, the
--- result of __tostring, or else a description. Never raises.
---@param value any
---@return string any bytes, perhaps of several lines
function pretty.message(value)
  if errors.is(value) then return value.message end
  if type(value) == "string" or type(value) == "number" then return tostring(value) end
  local meta = debug.getmetatable(value)
  if type(meta) == "table" and rawget(meta, "__tostring") then
    local ok, shown = pcall(tostring, value)
    if ok then return shown end
  end
  local content = type(value) == "table" and ": " .. pretty.line(value, MAX_MESSAGE) or ""
  return ("(error object is a %s value%s)"):format(type(value), content)
end

--- Returns an error as text: "kind: message (node ..., attempt ...)", with the traceback below.
---@param err any a fleet.Error or any other value that was raised
---@param traceback? string for an error that has none of its own
---@param options? fleet.PrettyOptions
---@return string lines, without the last line feed
function pretty.error(err, traceback, options)
  local state, lines = new_state(options), {}
  local function add(block, color)
    for line in (block .. "\n"):gmatch("([^\n]*)\n") do
      lines[#lines + 1] = paint(state, text.escape((line:gsub("\t", "  "))), color)
    end
  end
  if errors.is(err) then
    add(errors.text(err), "err")
    traceback = rawget(err, "traceback") or traceback
  else
    add(type(err) == "string" and err or "error: " .. pretty.format(err, options), "err")
  end
  if type(traceback) == "string" and traceback ~= "" then add(traceback, "note") end
  return table.concat(lines, "\n")
end

--- Returns a value as text.
---@param value any
---@param options? fleet.PrettyOptions
---@return string lines, without the last line feed
function pretty.format(value, options)
  if errors.is(value) then return pretty.error(value, nil, options) end
  local state = new_state(options)
  return layout(build(state, value, 1, "value"), state, 0, 0)
end

--- Returns a value as text on one line.
---@param value any
---@param max_bytes integer a longer line is cut, and ends with "..."
---@return string
function pretty.line(value, max_bytes)
  local state = new_state({ items = 20, depth = 4, string = 200, total = 200 })
  local line = flat(build(state, value, 1, "value"))
  return #line > max_bytes and line:sub(1, max_bytes) .. "..." or line
end

--- Returns several values as text: on one line if they fit, else each on lines of its own.
---@param values table with n
---@param options? fleet.PrettyOptions
---@return string lines, without the last line feed
function pretty.values(values, options)
  local state = new_state(options)
  local nodes, width = {}, 0
  for i = 1, values.n do
    nodes[i] = build(state, values[i], 1, "value")
    width = width + nodes[i].width + (i > 1 and 2 or 0)
  end
  local fits = width <= state.width
  for i, node in ipairs(nodes) do
    if values.n == 1 and errors.is(values[i]) then return pretty.format(values[i], options) end
    nodes[i] = fits and flat(node) or layout(node, state, 0, 0)
  end
  return table.concat(nodes, fits and ", " or "\n")
end

return pretty
