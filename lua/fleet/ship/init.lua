-- SPDX-License-Identifier: MIT
-- Serializes functions for another process: as source, never as bytecode, with what they capture.
-- A packed function is a plain table without shared parts: a graph in lists, whose values are
-- scalars or references.
--
--   root       value
--   prototypes {{text, chunk name, line}, ...}   see fleet.FunctionSource
--   functions  {{prototype, cell of each upvalue...}, ...}
--   cells      {value, ...}       captured variables; functions may share one
--   tables     {{list, keys, values}, ...}
--   globals    {name = value}     the user's own globals that the functions read
--   modules    {name = hash}      the modules that they need; see modules.blob
--
-- A reference is a list: {"f", function}, {"t", table}, {"n", name in the sandbox},
-- {"m", module [, key in it]}, or {} for nil.

local atomic = require("fleet.base.atomic")
local codec = require("host.codec")
local errors = require("fleet.errors")
local function_source = require("fleet.ship.function_source")
local globals = require("fleet.ship.globals")
local lru_cache = require("fleet.base.lru_cache")
local modules = require("fleet.ship.modules")
local trusted = require("fleet.ship.trusted")

local ship = {}

-- The approximate size of a function with all that it captures.
local MAX_BYTES = 64 * 1024 * 1024
-- The size of a value without its text.
local VALUE_BYTES = 8

--- @class fleet.Packed
--- @field root any
--- @field prototypes any[][]
--- @field functions integer[][]
--- @field cells any[]
--- @field tables any[][]
--- @field globals table<string, any>
--- @field modules table<string, string>

-- ---- errors ----

--- @class fleet.Origin where a value was found
--- @field role? "upvalue"|"global" of a function; else a field of a table
--- @field owner? fleet.Owner the function
--- @field from? fleet.Origin the table
--- @field key any name, or the key in the table

--- @class fleet.Owner a function that is being packed
--- @field source fleet.FunctionSource
--- @field origin? fleet.Origin none for the first

local function key_text(key)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") then return "." .. key end
  if type(key) == "string" then return ("[%q]"):format(key) end
  if type(key) == "number" or type(key) == "boolean" then return ("[%s]"):format(tostring(key)) end
  return ("[%s]"):format(type(key))
end

--- "upvalue 'conf.handlers[3]'", the function that has it, and the path alone.
local function describe(origin)
  local path = ""
  while not origin.role do
    path = key_text(origin.key) .. path
    origin = origin.from
  end
  local text = origin.key .. path
  if #text > 200 then text = text:sub(1, 100) .. "..." .. text:sub(-90) end
  return ("%s '%s'"):format(origin.role, text), origin.owner, text
end

--- "function 'name' (file.lua:12)"
local function title(owner)
  local name = owner.source.name
  if not name and owner.origin then name = select(3, describe(owner.origin)) end
  if owner.source.line == 0 then return ("chunk (%s)"):format(owner.source.place) end
  if not name then return ("function (%s)"):format(owner.source.place) end
  return ("function '%s' (%s)"):format(name, owner.source.place)
end

--- Raises the error that the value at `origin` (nil: the function itself) cannot be shipped.
local function refuse(origin, what, advice)
  if not origin then
    error(errors.format("encode", "%s cannot be shipped: %s", what, advice), 0)
  end
  local place, owner = describe(origin)
  local verb = origin.role == "global" and "reads" or "captures"
  error(errors.format("encode", "%s (%s) cannot be shipped: %s %s it; %s", place, what,
    title(owner), verb, advice), 0)
end

local function too_large(origin)
  local place, owner = describe(origin)
  error(errors.format("too_large", "%s cannot be shipped: with what it captures, %s takes more "
    .. "than %d MiB; pass large values as items, or read them in the function", place, title(owner),
    MAX_BYTES >> 20), 0)
end

--- "C function os.getenv", when that is what it is, and what to do about it.
local function c_function(f)
  local found, owner
  for name, module in pairs(package.loaded) do
    for key, value in next, type(module) == "table" and module or {} do
      if value == f and type(key) == "string" then
        local full = name == "_G" and key or name .. "." .. key
        if not found or full < found then found, owner = full, name end
      end
    end
  end
  local advice = "jobs do not have it; call it here and pass what it returns"
  if owner and not trusted.is_reserved(owner) and not modules.library[owner] then
    advice = ("it is of module '%s', which is written in C: %s"):format(owner,
      trusted.advice(owner))
  end
  return "C function" .. (found and " " .. found or ""), advice
end

-- ---- packing ----

--- @class fleet.Packer
--- @field packed fleet.Packed
--- @field bytes integer
--- @field known table<any, any[]> object -> its reference
--- @field cells table<userdata, integer> upvalue -> its number
--- @field prototypes table<fleet.FunctionSource, integer>
--- @field module_of? fun(value: any): string|nil, string|nil set when first needed
--- @field pending table[] functions and tables whose contents are still to be packed

local function count_bytes(self, bytes, origin)
  self.bytes = self.bytes + VALUE_BYTES + bytes
  if self.bytes > MAX_BYTES and origin then too_large(origin) end
end

local function refuse_module(origin, name)
  if name:find("^fleet%.") or name:find("^host%.") then
    refuse(origin, ("module '%s'"):format(name), "jobs cannot require it")
  end
  refuse(origin, ("module '%s', which is written in C"):format(name), trusted.advice(name))
end

--- The module of a value, see modules.lookup. The lookup takes longer than all else that a small
--- function needs, so it is made at most once for each function that is packed.
local function module_of(self, value)
  self.module_of = self.module_of or modules.lookup()
  return self.module_of(value)
end

--- The reference of a value that a worker has, or gets, by name; nil for other values.
local function named(self, value, origin)
  local name = globals.name_of(value)
  if name then return { "n", name } end
  local module, key = module_of(self, value)
  if not module then return nil end
  if not modules.library[module] then
    if not modules.find(module) then
      local preload = package.preload[module]
      -- a module that a chunk made itself is a value like others
      if preload and debug.getinfo(preload, "S").what ~= "C" then return nil end
      if modules.is_allowed(module) then return { "m", module, key } end
      if key then return nil end
      refuse_module(origin, module)
    end
    modules.add(module, self.packed.modules)
  end
  return { "m", module, key }
end

local function add_prototype(self, found)
  local number = self.prototypes[found]
  if number then return number end
  local list = self.packed.prototypes
  number = #list + 1
  list[number] = { found.text, found.chunk, found.line }
  self.prototypes[found] = number
  for _, name in ipairs(found.requires) do modules.add(name, self.packed.modules) end
  return number
end

local function add_function(self, f, origin)
  if debug.getinfo(f, "S").what == "C" then
    refuse(origin, c_function(f))
  end
  local found, reason = function_source.of(f)
  if not found then
    local info = debug.getinfo(f, "S")
    refuse(origin, ("function %s:%d"):format(info.short_src, info.linedefined), reason)
  end
  count_bytes(self, #found.text, origin)
  local list = self.packed.functions
  list[#list + 1] = { add_prototype(self, found) }
  self.pending[#self.pending + 1] = {
    f = f, cells = list[#list], owner = { source = found, origin = origin },
  }
  return { "f", #list }
end

local function add_table(self, t, origin)
  if debug.getmetatable(t) then
    refuse(origin, "table with a metatable",
      "make it inside the function, or pass its plain data")
  end
  local list = self.packed.tables
  list[#list + 1] = {}
  self.pending[#self.pending + 1] = { t = t, into = list[#list], origin = origin }
  return { "t", #list }
end

local ADVICE = {
  userdata = "make it inside the function",
  file = "jobs have no files; read it here and pass what is in it",
  thread = "make it inside the function",
}

--- The packed form of the value at `key` of the table `from` or, when `key` is nil, at the origin
--- `from`.
local function pack_value(self, value, from, key)
  local kind = type(value)
  if kind == "string" then
    count_bytes(self, #value, from)
    return value
  elseif kind == "number" or kind == "boolean" then
    count_bytes(self, 0, from)
    return value
  elseif kind == "nil" then
    return {}
  end
  local known = self.known[value]
  if known then return { known[1], known[2], known[3] } end
  local origin = key ~= nil and { from = from, key = key } or from
  count_bytes(self, 0, origin)
  local reference = named(self, value, origin)
  if not reference then
    if kind == "function" then
      reference = add_function(self, value, origin)
    elseif kind == "table" then
      reference = add_table(self, value, origin)
    else
      if io.type(value) then refuse(origin, "file", ADVICE.file) end
      refuse(origin, kind == "thread" and "coroutine" or kind, ADVICE[kind])
    end
  end
  self.known[value] = reference
  return { reference[1], reference[2], reference[3] }
end

local function fill_table(self, t, into, origin)
  local list, n = {}, 0
  for i = 1, rawlen(t) do
    local value = rawget(t, i)
    if value == nil then break end
    list[i] = pack_value(self, value, origin, i)
    n = i
  end
  into[1] = list
  local keys, values
  for key, value in next, t do
    if math.type(key) ~= "integer" or key < 1 or key > n then
      if not keys then
        keys, values = {}, {}
        into[2], into[3] = keys, values
      end
      keys[#keys + 1] = pack_value(self, key, origin, key)
      values[#values + 1] = pack_value(self, value, origin, key)
    end
  end
end

--- Whether a function's _ENV is the globals of the place where it runs, or has a metatable: then it
--- is a layer over these.
local function is_global(env)
  return type(env) == "table" and (globals.name_of(env) == "_G" or debug.getmetatable(env) ~= nil)
end

local function index(t, key) return t[key] end

local function add_globals(self, env, owner)
  for name, certain in pairs(owner.source.globals) do
    if not globals.is_standard(name) and self.packed.globals[name] == nil then
      local ok, value = pcall(index, env, name)
      if ok and value ~= nil then
        local origin = { role = "global", owner = owner, key = name }
        if certain then
          self.packed.globals[name] = pack_value(self, value, origin)
        else -- it may be another word: skip it when it cannot be shipped
          local fits, packed = pcall(pack_value, self, value, origin)
          if fits then self.packed.globals[name] = packed end
        end
      end
    end
  end
end

local function fill_function(self, f, into, owner)
  for i, name in ipairs(owner.source.names) do
    local id = debug.upvalueid(f, i)
    local _, value = debug.getupvalue(f, i)
    local env = name == "_ENV" and is_global(value)
    local number = self.cells[id]
    if not number then
      local cells = self.packed.cells
      number = #cells + 1
      self.cells[id] = number
      cells[number] = env and { "n", "_G" }
        or pack_value(self, value, { role = "upvalue", owner = owner, key = name })
    end
    into[i + 1] = number
    if env then add_globals(self, value, owner) end
  end
end

-- Functions that are not the library's; no module that is loaded later can contain them.
local known_users = setmetatable({}, { __mode = "k" })

--- The reference of a function that every worker has; nil for others, also for those of the user's
--- modules, which are shipped by themselves, as they are now.
local function library_function(self, f)
  if known_users[f] then return nil end
  local name = globals.name_of(f)
  if name then return { "n", name } end
  local module, key = module_of(self, f)
  if module and (modules.library[module]
    or modules.is_allowed(module) and not modules.find(module)) then
    return { "m", module, key }
  end
  known_users[f] = true
  return nil
end

local function pack(f)
  local self = {
    packed = {
      prototypes = {}, functions = {}, cells = {}, tables = {}, globals = {}, modules = {},
    },
    bytes = 0, known = {}, cells = {}, prototypes = {}, pending = {},
  }
  self.packed.root = library_function(self, f)
  if not self.packed.root then
    self.packed.root = { "f", 1 }
    self.known[f] = self.packed.root
    add_function(self, f)
  end
  for _, each in ipairs(self.pending) do -- which grows meanwhile
    if each.f then
      fill_function(self, each.f, each.cells, each.owner)
    else
      fill_table(self, each.t, each.into, each.origin)
    end
  end
  return self.packed
end

-- ---- functions that capture nothing ----

-- Their packed form, and the bytes of that.
local plain = setmetatable({}, { __mode = "k" })
local plain_bytes = setmetatable({}, { __mode = "k" })

--- Whether a function captures nothing but the globals.
local function captures_nothing(f)
  local name, value = debug.getupvalue(f, 1)
  return name == nil
    or name == "_ENV" and is_global(value) and debug.getupvalue(f, 2) == nil
end

--- Caches the packed form of a function that captures nothing, needs no module, and reads none of
--- the user's own globals: it stays the same.
local function cache_plain(f, packed)
  if packed.root[1] ~= "f" or not captures_nothing(f) then return end
  local found = function_source.of(f)
  if #found.requires > 0 then return end
  for name in pairs(found.globals) do
    if not globals.is_standard(name) then return end
  end
  plain[f], plain_bytes[packed] = packed, false
end

--- Packs a function with all that it captures: variables by value, shared ones once; functions and
--- tables in them likewise; modules by name; the user's own globals that it reads. Values that
--- cannot be shipped (userdata, coroutines, tables with a metatable, functions written in C) give
--- nil and an error of kind "encode" that names the variable.
---@param f function
---@return fleet.Packed|nil
---@return fleet.Error|nil
function ship.pack(f)
  if type(f) ~= "function" then error("ship.pack: a function expected, got " .. type(f), 2) end
  local packed = plain[f]
  if packed and captures_nothing(f) then return packed end
  local ok, result = atomic.call(pcall, pack, f)
  if ok then
    cache_plain(f, result)
    return result
  end
  if not errors.is(result) then error(result, 0) end
  return nil, result
end

--- Encodes a packed function for `ship.decode`.
---@param packed fleet.Packed
---@return string|nil bytes, or nil and an error
---@return fleet.Error|nil
function ship.encode(packed)
  local bytes = plain_bytes[packed]
  if bytes then return bytes end
  local err
  bytes, err = codec.encode(packed, "function")
  if bytes and plain_bytes[packed] == false then plain_bytes[packed] = bytes end
  return bytes, err
end

-- ---- unpacking ----

-- Results of function_source.compile by key, and by prototype, which ship.decode may return again.
local MAKER_BYTES, MAKER_ENTRY_BYTES = 512 * 1024, 1024
local makers = lru_cache.new(MAKER_BYTES)
local made = setmetatable({}, { __mode = "k" })

local function make(prototype, env)
  if made[prototype] then return made[prototype]() end
  local text, chunk, line = table.unpack(prototype, 1, 3)
  -- a whole chunk is one function, of which no second one can be made
  local key = line > 0 and table.concat({ chunk, line, text }, "\0")
  local maker = key and makers:get(key)
  if not maker then
    local message
    maker, message = function_source.compile(text, chunk, line, env)
    if not maker then error(errors.new({ kind = "decode", message = message }), 0) end
    if key then makers:put(key, maker, MAKER_ENTRY_BYTES + 2 * #key) end
  end
  if not key then return maker end
  made[prototype] = maker
  return maker()
end

--- A variable, as the upvalue of a function.
local function new_cell(value)
  return function() return value end
end

--- The value of a packed form.
local function unpack_value(self, packed)
  if type(packed) ~= "table" then return packed end
  local tag, which = packed[1], packed[2]
  if tag == "t" then
    return self.tables[which]
  elseif tag == "f" then
    return self.functions[which]
  elseif tag == "n" then
    return globals.value_of(self.env, which)
  elseif tag == "m" then
    local key = packed[3]
    local ok, module = pcall(self.loader.require, self.loader, which)
    if not ok then
      error(errors.format("raise",
        "module '%s', which the function captures, cannot be loaded here: %s", which,
        errors.is(module) and module.message or tostring(module)), 0)
    end
    if key == nil then return module end
    return module[key]
  end
  return nil
end

local function fill(self, into, packed)
  for i, value in ipairs(packed[1]) do into[i] = unpack_value(self, value) end
  local values = packed[3]
  for i, key in ipairs(packed[2] or {}) do
    into[unpack_value(self, key)] = unpack_value(self, values[i])
  end
end

-- By packed form, what makes its function if that captures nothing but the globals: the common case
-- of calls, which need no more than that.
local plain_makers = setmetatable({}, { __mode = "k" })

-- Whether a packed function captures nothing, or the globals alone.
local function is_plain(packed)
  local cell = packed.cells[1]
  if packed.root[1] ~= "f" or packed.root[2] ~= 1 or #packed.functions ~= 1 then return false end
  if #packed.cells > 1 or next(packed.tables) or next(packed.globals) or next(packed.modules) then
    return false
  end
  return cell == nil or type(cell) == "table" and cell[1] == "n" and cell[2] == "_G"
end

local function unpack(packed, env, loader)
  local self = { env = env, loader = loader, tables = {}, functions = {} }
  local cells = {}
  loader:know(packed.modules)
  for i = 1, #packed.tables do self.tables[i] = {} end
  for i = 1, #packed.cells do cells[i] = new_cell() end
  for i, entry in ipairs(packed.functions) do
    local f = make(packed.prototypes[entry[1]], env)
    for upvalue = 2, #entry do debug.upvaluejoin(f, upvalue - 1, cells[entry[upvalue]], 1) end
    self.functions[i] = f
  end
  for i, value in ipairs(packed.cells) do
    debug.setupvalue(cells[i], 1, unpack_value(self, value))
  end
  for i, content in ipairs(packed.tables) do fill(self, self.tables[i], content) end
  for name, value in pairs(packed.globals) do rawset(env, name, unpack_value(self, value)) end
  if is_plain(packed) then
    plain_makers[packed] = made[packed.prototypes[packed.functions[1][1]]]
  end
  return unpack_value(self, packed.root)
end

-- Decoded functions of few bytes; longer ones contain values, which differ each time.
local decoded = lru_cache.new(64)
local MAX_CACHED_BYTES = 2048

--- Decodes a packed function of `ship.encode`. The caller must not change the result.
---@param bytes string
---@return fleet.Packed
function ship.decode(bytes)
  local packed = decoded:get(bytes)
  if not packed then
    packed = assert(codec.decode(bytes))
    if #bytes <= MAX_CACHED_BYTES then decoded:put(bytes, packed) end
  end
  return packed
end

--- Makes a packed function in the globals of a sandbox; modules come from its loader. Raises an
--- error of kind "raise" when one of them cannot be loaded, of kind "decode" when a text does not
--- compile.
---@param packed fleet.Packed
---@param env table of sandbox.new
---@param loader fleet.Loader that sandbox.new was given
---@return function
function ship.unpack(packed, env, loader)
  local maker = plain_makers[packed]
  if maker then
    local f = maker()
    if packed.cells[1] then debug.upvaluejoin(f, 1, new_cell(env), 1) end
    return f
  end
  return (atomic.call(unpack, packed, env, loader))
end

return ship
