-- SPDX-License-Identifier: MIT
-- Modules written in Lua, which are shipped by content, and trusted ones (see fleet.ship.trusted),
-- which are shipped by name. In the driver this knows the text of every module that `require` finds
-- on package.path, what each requires in turn, and which module a value belongs to. In a worker it
-- is the `require` of a sandbox, which loads such texts with the sandbox's globals.
--
-- A module is identified by the hash of its blob: a line with the name of its chunk, then its text.

local atomic = require("fleet.base.atomic")
local check = require("fleet.base.check")
local digest = require("fleet.digest")
local lexer = require("fleet.ship.lexer")
local source_cache = require("fleet.ship.source_cache")
local trusted = require("fleet.ship.trusted")

local modules = {}

--- The modules of the library that a job may require: every worker has them.
modules.library = {
  fleet = true, ["fleet.digest"] = true, ["fleet.errors"] = true, ["fleet.http"] = true,
  ["fleet.json"] = true, ["fleet.log"] = true, ["fleet.rpc"] = true,
  ["fleet.xml"] = true,
  ["fleet.repl.evaluate"] = "hidden", -- for code typed at the prompt, not for jobs
}

--- The names of those that are not hidden, sorted.
---@return string[]
function modules.library_names()
  local list = {}
  for name, kind in pairs(modules.library) do
    if kind ~= "hidden" then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

--- @class fleet.Module
--- @field name string
--- @field chunkname string
--- @field text string
--- @field blob string
--- @field hash string
--- @field requires table<string, boolean> names of modules that it required when it ran, and, if
---   `is_scanned`, of those that its text requires
--- @field is_scanned boolean

local by_name, by_hash = {}, {}

local function record(name, chunkname, text)
  local known = by_name[name]
  if known and known.text == text and known.chunkname == chunkname then return known end
  local blob = chunkname:gsub("\n", " ") .. "\n" .. text
  local module = {
    name = name, chunkname = chunkname, text = text, blob = blob, hash = digest.sha256(blob),
    requires = {}, is_scanned = false,
  }
  by_name[name], by_hash[module.hash] = module, module
  return module
end

-- ---- the driver's require ----

local loading = {} -- modules whose chunks are running, the innermost last

local popper = setmetatable({}, { __close = function() table.remove(loading) end })

--- Entry of package.searchers: as Lua's own for package.path, but records the module.
local function search(name)
  local path, message = package.searchpath(name, package.path)
  if not path then return message end
  local text
  text, message = source_cache.read(path)
  local chunk
  if text then chunk, message = source_cache.load(text, "@" .. path) end
  if not chunk then
    error(("error loading module '%s' from file '%s':\n\t%s"):format(name, path, message), 0)
  end
  local module = record(name, "@" .. path, text)
  local outer = loading[#loading]
  if outer then outer.requires[name] = true end
  return function(...)
    loading[#loading + 1] = module
    local _ <close> = popper
    return chunk(...)
  end, path
end

-- Behind package.preload and the library; see open_require in host/lua/vm.c.
local PATH_SEARCHER = 3
-- Only a driver reads files; a worker has what was shipped.
local reads_files = false

--- Makes `require` of this Lua state record the modules of package.path.
function modules.install()
  package.searchers[PATH_SEARCHER] = search
  reads_files = true
end

-- ---- shipping ----

local missing = {} -- name -> the package.path that does not have it

--- The module of that name, if it is written in Lua and not the library's; nil otherwise. A module
--- that was not loaded yet, or not by way of package.path, is read from package.path.
---@param name string
---@return fleet.Module|nil
function modules.find(name)
  if by_name[name] then return by_name[name] end
  if not reads_files or missing[name] == package.path or trusted.is_reserved(name)
    or package.preload[name] then
    return nil
  end
  local path = package.searchpath(name, package.path)
  local text = path and source_cache.read(path)
  if text and source_cache.compile(text, "@" .. path, "t") then
    return record(name, "@" .. path, text)
  end
  missing[name] = package.path
  return nil
end

--- Adds a module, and those that it requires in turn, to `hashes`. The name of anything else than a
--- module written in Lua adds nothing: the worker's `require` will raise.
---@param name string
---@param hashes table<string, string> name -> hash
function modules.add(name, hashes)
  local module = modules.find(name)
  if not module or hashes[name] then return end
  hashes[name] = module.hash
  if not module.is_scanned then
    for _, required in ipairs(lexer.requires(module.text)) do module.requires[required] = true end
    module.is_scanned = true
  end
  for required in pairs(module.requires) do modules.add(required, hashes) end
end

--- The modules that a text, such as a job script, requires by a literal name, and those that they
--- require.
---@param text string
---@return table<string, string> hashes name -> hash
function modules.required_by(text)
  local hashes = {}
  for _, name in ipairs(lexer.requires(text)) do modules.add(name, hashes) end
  return hashes
end

--- The blob with that hash, and the chunk name of its module.
---@param hash string
---@return string|nil blob
---@return string|nil chunkname
function modules.blob(hash)
  local module = by_hash[hash]
  if module then return module.blob, module.chunkname end
end

-- ---- which module a value belongs to ----

local loaded_tables = setmetatable({ [package.loaded] = true }, { __mode = "k" })
local indexed = setmetatable({}, { __mode = "k" }) -- package.loaded -> name -> indexed value
local names = setmetatable({}, { __mode = "k" })   -- value -> name of the module that it is
local members = setmetatable({}, { __mode = "k" }) -- value -> { module, key }

-- Names of trusted modules that may be shipped by name; true: any, as the nodes decide.
local allowed = {}

--- Sets the trusted modules that may be shipped by their names.
---@param list string[]|true names; true: any, and a node that does not trust one refuses it
function modules.allow(list)
  allowed = list
  indexed = setmetatable({}, { __mode = "k" }) -- there may be more to index
end

--- Whether a module that is not written in Lua may be shipped by its name.
---@param name string
---@return boolean
function modules.is_allowed(name)
  if trusted.is_reserved(name) then return false end
  return allowed == true or trusted.has(allowed, name)
end

local function is_loaded(name, value)
  for loaded in pairs(loaded_tables) do
    if rawequal(rawget(loaded, name), value) then return true end
  end
  return false
end

local function index_members(name, module)
  for key, value in next, module do
    local kind = type(value)
    -- all members of library modules are in every worker; plain tables of other modules are data
    if type(key) == "string" and (kind == "function" or kind == "table"
      and (modules.library[name] or debug.getmetatable(value))) then
      local known = members[value] -- of the library itself, if this is a sandbox's copy
      if not known or not is_loaded(known[3], known[1]) then
        members[value] = { module, key, name }
      end
    end
  end
end

local function index(name, value)
  local kind = type(value)
  if kind ~= "table" and kind ~= "function" then return end
  names[value] = name
  if kind == "table" and (modules.library[name] or by_name[name] or modules.is_allowed(name)) then
    index_members(name, value)
  end
end

local function index_loaded(loaded)
  local seen = indexed[loaded]
  if not seen then
    seen = {}
    indexed[loaded] = seen
  end
  for name, value in next, loaded do
    if seen[name] ~= value then
      seen[name] = value
      index(name, value)
    end
  end
end

local function index_all()
  index_loaded(package.loaded)
  for loaded in pairs(loaded_tables) do index_loaded(loaded) end
end

local function module_of(value)
  local name = names[value]
  if name and is_loaded(name, value) then return name end
  local member = members[value]
  if member and rawequal(rawget(member[1], member[2]), value)
    and is_loaded(member[3], member[1]) then
    return member[3], member[2]
  end
  return nil
end

--- Indexes the modules that are loaded now. Returns a function that returns the name of the module
--- that a value is, or the name of the module that has it as a field and the key of that.
---@return fun(value: any): string|nil, string|nil
function modules.lookup()
  index_all()
  return module_of
end

-- ---- the worker's require ----

--- @class fleet.Loader
--- @field texts table<string, string> hash -> blob
--- @field hashes table<string, string> name -> hash
--- @field trusted string[] names of modules
--- @field env table
--- @field loaded table package.loaded of the sandbox
--- @field stack string[] names of the modules that are being loaded, the innermost last
local Loader = {}
Loader.__index = Loader

--- Makes the `require` of a sandbox, for `sandbox.new`. `texts` is read when a module is loaded.
---@param texts table<string, string> hash -> blob
---@param list? string[] names of the trusted modules of this node
---@return fleet.Loader
function modules.loader(texts, list)
  return setmetatable({ texts = texts, trusted = list or {}, hashes = {}, stack = {} }, Loader)
end

--- Sets the globals of the sandbox; only for sandbox.new.
---@param env table
function Loader:bind(env)
  self.env, self.loaded = env, env.package.loaded
  loaded_tables[self.loaded] = true
end

--- Sets the texts of names. A module that was loaded from another text will be loaded again; code
--- that has the old one keeps it.
---@param hashes table<string, string> name -> hash
function Loader:know(hashes)
  for name, hash in pairs(hashes) do
    if self.hashes[name] ~= hash then
      self.hashes[name] = hash
      self.loaded[name] = nil
    end
  end
end

--- Why a module cannot be loaded; nil when it can.
local function why_not(self, name)
  local hash = self.hashes[name]
  if type(name) ~= "string" then
    return "its name must be a string"
  elseif not hash and not trusted.has(self.trusted, name) then
    if trusted.find_c(name) and not trusted.is_reserved(name) then
      return "it is written in C; " .. trusted.advice(name)
    end
    return ("it is not in the library (%s) and was not shipped; modules written in Lua are shipped "
      .. "when a script or a function that is sent requires them by a literal name, those written "
      .. "in C must be installed on the node and named by its --modules"):format(
      table.concat(modules.library_names(), ", "))
  elseif hash and not self.texts[hash] then
    return "its text did not reach this worker"
  end
  for i, outer in ipairs(self.stack) do
    if outer == name then
      return ("modules require each other in a circle, %s -> %s"):format(
        table.concat(self.stack, " -> ", i), name)
    end
  end
  return nil
end

--- Compiles a module of a text and runs it.
local function run_text(self, name, chunkname, text)
  local chunk, message = source_cache.compile(text, chunkname, "t", self.env)
  if not chunk then error(("error loading module '%s':\n\t%s"):format(name, message), 0) end
  source_cache.record(chunkname, text)
  self.stack[#self.stack + 1] = name
  local _ <close> = setmetatable({}, { __close = function() table.remove(self.stack) end })
  return chunk(name, chunkname:sub(2))
end

local function load_shipped(self, name)
  local chunkname, text = self.texts[self.hashes[name]]:match("^([^\n]*)\n(.*)$")
  record(name, chunkname, text) -- its functions may be shipped from here to other nodes
  return run_text(self, name, chunkname, text)
end

--- Loads a trusted module from the files of this machine.
local function load_file(self, name)
  local path, is_c = trusted.find(name)
  if not path then
    check.misuse("module '%s' cannot be required in a job: this node trusts it, but does not have "
      .. "it", name)
  elseif is_c then
    return trusted.open_c(name, path)
  end
  local text, message = source_cache.read(path)
  if not text then error(("error loading module '%s':\n\t%s"):format(name, message), 0) end
  return run_text(self, name, "@" .. path, text)
end

local function load_module(self, name)
  local value = (self.hashes[name] and load_shipped or load_file)(self, name)
  if value ~= nil then self.loaded[name] = value end
  if self.loaded[name] == nil then self.loaded[name] = true end
end

--- A copy of a module for the sandbox, so that a job cannot change the library.
local function copy_of(module)
  if type(module) ~= "table" then return module end
  local copy = {}
  for key, value in next, module do
    local is_plain = type(value) == "table" and not debug.getmetatable(value)
    copy[key] = is_plain and copy_of(value) or value
  end
  return setmetatable(copy, debug.getmetatable(module))
end

--- `require` of the sandbox. Raises what the module raises when it is loaded. Nothing can wait
--- meanwhile, so that no other task finds a module half loaded.
---@param name string
---@return any
function Loader:require(name)
  local value = self.loaded[name]
  if value ~= nil then return value end
  if modules.library[name] then
    self.loaded[name] = copy_of(require(name))
  else
    local message = why_not(self, name)
    if message then check.misuse("module '%s' cannot be required in a job: %s", name, message) end
    atomic.call(load_module, self, name)
  end
  return self.loaded[name]
end

return modules
