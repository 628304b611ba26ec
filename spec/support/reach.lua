-- SPDX-License-Identifier: MIT
-- A job script that calls everything that a job can reach with everything that it should not be
-- called with. It keeps what it needs in locals, because the calls may damage the globals.
--
-- The item "list" returns the items that do the work, each "PATH|SELF|ARGUMENT": the function at
-- PATH (of globals, modules, methods, metatables), called on SELF with that argument alone, twice,
-- and around another one. "*" means all of them.

local digest, errors, fleet, json, xml = require("fleet.digest"), require("fleet.errors"),
  require("fleet"), require("fleet.json"), require("fleet.xml")

local globals, stdout = _G, io.stdout
local getmetatable, ipairs, next, pcall, select, setmetatable, tostring, type =
  getmetatable, ipairs, next, pcall, select, setmetatable, tostring, type
local close, create, resume, status, wrap =
  coroutine.close, coroutine.create, coroutine.resume, coroutine.status, coroutine.wrap
local find, gmatch, rep = string.find, string.gmatch, string.rep
local collect, sort = collectgarbage, table.sort

local MODULES = {
  "fleet", "fleet.digest", "fleet.errors", "fleet.http", "fleet.json", "fleet.log", "fleet.rpc",
  "fleet.xml", "fleet.repl.evaluate",
}

-- Hidden metatables: the methods of such objects are looked up by name.
local METHODS = {
  "add", "attr", "cancel", "check", "children", "close", "fail", "failed", "hex", "kind", "name",
  "namespace", "notify", "notify_one", "progress", "resolve", "root", "take", "text", "update",
  "wait", "watch", "write", "xpath",
}

-- May wait, even forever: each call is an item of its own that its time limit ends.
local WAITS = { "^fleet%.", "^fleet/", "^fleet%.rpc", "^fleet%.http", "^future" }
local QUICK = { "^fleet%.digest/", "^fleet%.errors/", "^fleet%.json/", "^fleet%.log/",
  "^fleet%.xml/" }

local function raising()
  local mt = {}
  for name in gmatch([[add sub mul div mod pow unm idiv band bor bxor bnot shl shr concat len eq lt
    le index newindex call tostring name pairs close gc]], "%a+") do
    mt["__" .. name] = function() errors.new("raised on purpose") end
  end
  return setmetatable({}, mt)
end

local function lying()
  return setmetatable({ kind = 1, message = {}, n = -1 }, {
    __name = "fleet.digest", __index = function(_, k) return k end,
    __len = function() return "x" end, __tostring = function() return 7 end, __close = 1, __gc = 1,
  })
end

local function closed_document()
  local document = xml.parse("<a><b c='1'>t</b></a>")
  local node = document:root()
  document:close()
  return document, node
end

local function dead()
  local co = create(function() end)
  resume(co)
  return co
end

-- Created for each item, because calls change them.
local VALUES = {
  { "nil", function() return nil end },
  { "true", function() return true end },
  { "zero", function() return 0 end },
  { "minus", function() return -1 end },
  { "huge", function() return 1 << 62 end },
  { "least", function() return -1 << 63 end },
  { "nan", function() return 0 / 0 end },
  { "inf", function() return 1 / 0 end },
  { "half", function() return 1.5 end },
  { "empty", function() return "" end },
  { "nul", function() return "a\0b" end },
  { "bytes", function() return "\xff\xfe%s%n%5$d<" end },
  { "long", function() return rep("<a>%", 4096) end },
  { "table", function() return {} end },
  { "list", function() return { 1, "2", { 3 }, kind = "k", message = "m" } end },
  { "raising", raising },
  { "lying", lying },
  { "error", function() return error end },
  { "echo", function() return function(...) return ... end end },
  { "coroutine", function() return create(error) end },
  { "dead", dead },
  { "wrapped", function() return wrap(error) end },
  { "iterator", function() return gmatch("a", "b") end },
  { "digest", function() return digest.new() end },
  { "closed digest", function()
    local d = digest.new()
    d:close()
    return d
  end },
  { "document", function() return (xml.parse("<a><b c='1'>t</b></a>")) end },
  { "node", function() return xml.html("<p id=1>t"):root() end },
  { "closed document", function() return (closed_document()) end },
  { "closed node", function() return (select(2, closed_document())) end },
  { "lines", function() return json.lines() end },
  { "failure", function() return (select(2, xml.parse("<"))) end },
  { "stream", function() return stdout end },
  { "future", function()
    local future = fleet.send(fleet.any, tostring, 1)
    future:wait(0) -- so that it has an event
    return future
  end },
  { "globals", function() return globals end },
}

local function sorted_keys(t)
  local keys = {}
  for key in next, t do
    if type(key) == "string" then keys[#keys + 1] = key end
  end
  sort(keys)
  return keys
end

-- Every function that can be reached, with one path to it.
local function reach()
  local found, seen, queue = {}, {}, { { "globals", globals } }
  for _, name in ipairs(MODULES) do queue[#queue + 1] = { name, require(name) } end
  for _, value in ipairs(VALUES) do queue[#queue + 1] = { value[1], value[2]() } end
  local at = 1
  while queue[at] do
    local path, value = queue[at][1], queue[at][2]
    at = at + 1
    if value ~= nil and value == value and not seen[value] then
      seen[value] = true
      local own = find(path, "^raising/") or find(path, "^lying/")
      if type(value) == "function" and not own then found[path] = value end
      if type(value) == "table" then
        for _, key in ipairs(sorted_keys(value)) do
          queue[#queue + 1] = { path .. "/" .. key, value[key] }
        end
      end
      local mt = getmetatable(value)
      if type(value) == "userdata" or type(value) == "table" and mt == false then
        for _, name in ipairs(METHODS) do
          local ok, method = pcall(function() return value[name] end)
          if ok then queue[#queue + 1] = { path .. "/" .. name, method } end
        end
      end
      if type(mt) == "table" then queue[#queue + 1] = { path .. "/metatable", mt } end
    end
  end
  return found
end

local found -- by the first item, before anything is called

local function waits(path)
  for _, pattern in ipairs(QUICK) do
    if find(path, pattern) then return false end
  end
  for _, pattern in ipairs(WAITS) do
    if find(path, pattern) then return true end
  end
  return false
end

local function list()
  local items = {}
  for _, path in ipairs(sorted_keys(found)) do
    for _, self in ipairs(VALUES) do
      if not waits(path) then
        items[#items + 1] = path .. "|" .. self[1] .. "|*"
      else
        for _, argument in ipairs(VALUES) do
          items[#items + 1] = path .. "|" .. self[1] .. "|" .. argument[1]
        end
      end
    end
  end
  return items
end

-- Runs in a coroutine: a function that yields must not end the item.
local function call(f, ...)
  local co = create(function(...) return pcall(f, ...) end)
  resume(co, ...)
  if status(co) == "suspended" then close(co) end
end

-- A loop in C over 2^62 places (of a table, or of the empty string) can only be ended together with
-- its worker, as documented.
local function endless(path, ...)
  if not find(path, "table/move") and not (find(path, "string/rep") and (...) == "") then
    return false
  end
  for i = 1, select("#", ...) do
    local v = select(i, ...)
    if v == 1 << 62 or v == -1 << 63 then return true end
  end
  return false
end

local function try(path, f, ...)
  if endless(path, ...) then return 0 end
  call(f, ...)
  return 1
end

local function make(name)
  for _, value in ipairs(VALUES) do
    if value[1] == name then return value[2]() end
  end
end

local done = 0

local function run(path, self_name, argument_name)
  local f, calls = found[path], 0
  for i, value in ipairs(VALUES) do
    if argument_name == "*" or argument_name == value[1] then
      local self, argument = make(self_name), value[2]()
      local other = VALUES[i % #VALUES + 1][2]()
      calls = calls + try(path, f, self, argument) + try(path, f, self, argument, argument)
        + try(path, f, self, argument, other, argument)
    end
  end
  done = done + 1
  if done % 20 == 0 then collect() end
  return calls
end

return {
  map = function(item)
    found = found or reach()
    if item == "list" then return list() end
    local path, self, argument = gmatch(item, "([^|]+)|([^|]+)|([^|]+)")()
    if not found[path] then return nil, "no such function: " .. tostring(path) end
    return run(path, self, argument)
  end,
}
