-- SPDX-License-Identifier: MIT
-- Trusted modules: those of a node's machine that its operator lets jobs require (serve --modules).
-- They are written in C, and may have files in Lua. The name of a module admits its submodules:
-- "cjson" admits "cjson.safe". Lua's own rules find the files, in package.path and package.cpath.
--
-- A module in C can do what the worker process can do, whatever the sandbox is. Each Lua state
-- opens it anew, so drivers share only the code and what that keeps in C. Files in Lua are loaded
-- with the globals of the sandbox.

local errors = require("fleet.errors")
local set = require("fleet.base.text").set

local trusted = {}

local usage = errors.formatter("usage")

local VERSION = _VERSION:match("%d+%.%d+")
local OTHER_VERSIONS = { "5.5", "5.4", "5.3", "5.2", "5.1" }

-- Lua's own modules, of which a sandbox has its own.
local STANDARD = set("_G coroutine debug io math os package string table utf8")

--- Whether a module can only be Lua's own or the program's, whatever is on package.cpath.
---@param name string
---@return boolean
function trusted.is_reserved(name)
  return STANDARD[name] or name:find("^fleet%f[.\0]") ~= nil or name:find("^host%f[.\0]") ~= nil
end

--- Whether a name of the list admits the module.
---@param names string[]
---@param name string
---@return boolean
function trusted.has(names, name)
  for _, each in ipairs(names) do
    if name == each or name:sub(1, #each + 1) == each .. "." then return true end
  end
  return false
end

--- What to do about a module that jobs may not require, to follow "; ".
---@param name string
---@return string
function trusted.advice(name)
  return ("jobs may require it only on nodes that allow it: moonfleet serve --modules %s, or run, "
    .. "eval or repl --modules %s for a private node or --ssh"):format(name, name)
end

-- Whether the name can be part of a path: job code may ask for any.
local function is_name(name)
  return name:find("^[%w_-][%w_.-]*$") ~= nil and not name:find("..", 1, true)
end

--- The file of a module in C: of its own, or that of the module that its name begins with.
---@param name string
---@param cpath? string default: package.cpath
---@return string|nil
function trusted.find_c(name, cpath)
  if not is_name(name) then return nil end
  cpath = cpath or package.cpath
  return package.searchpath(name, cpath) or package.searchpath(name:match("^[^.]*"), cpath)
end

-- The file of a module in Lua.
local function find_lua(name)
  return is_name(name) and package.searchpath(name, package.path) or nil
end

-- The version of Lua that has a module in C which this one lacks, and its file.
local function other_version(name)
  for _, version in ipairs(OTHER_VERSIONS) do
    local cpath = package.cpath:gsub(VERSION:gsub("%.", "%%."), version)
    local path = version ~= VERSION and trusted.find_c(name, cpath)
    if path then return version, path end
  end
  return nil
end

--- Checks the names of --modules on the machine that has to have them.
---@param names string[]
---@return true|nil
---@return fleet.Error|nil of kind "usage"
function trusted.check(names)
  for _, name in ipairs(names) do
    if not is_name(name) then
      return nil, usage("--modules takes names as in require, such as lpeg or cjson.safe, got '%s'",
        name)
    elseif trusted.is_reserved(name) then
      return nil, usage("--modules: '%s' is no module in C of this machine; the library and what "
        .. "jobs have of Lua need no permission", name)
    elseif not find_lua(name) and not trusted.find_c(name) then
      local version, path = other_version(name)
      if version then
        return nil, usage("--modules: '%s' is installed for Lua %s (%s), and this program has Lua "
          .. "%s; install it for that version", name, version, path, VERSION)
      end
      return nil, usage("--modules: there is no module '%s' on this machine; install it, or add "
        .. "its folder to LUA_CPATH (now %s)", name, package.cpath)
    end
  end
  return true
end

-- The function that opens a module of that name; as loadfunc of Lua's loadlib.c, but for names
-- whose version comes last.
local function open_name(name)
  return "luaopen_" .. name:gsub("^[^-]*%-", ""):gsub("%.", "_")
end

--- Opens a module in C, in this Lua state. Raises when that fails.
---@param name string
---@param path string of find_c
---@return any value what the module returns
function trusted.open_c(name, path)
  local open, message = package.loadlib(path, open_name(name))
  local ok, value = open ~= nil, message
  if open then ok, value = pcall(open, name, path) end
  if ok then return value end
  message = tostring(value)
  local fits = not message:find("undefined symbol", 1, true)
    and not message:find("version mismatch", 1, true)
  error(("error loading module '%s' from file '%s':\n\t%s%s"):format(name, path, message,
    fits and "" or ("; is it built for Lua %s, as this program is?"):format(VERSION)), 0)
end

--- Finds a module as require would, in Lua before C.
---@param name string
---@return string|nil path
---@return boolean is_c
function trusted.find(name)
  local path = find_lua(name)
  if path then return path, false end
  return trusted.find_c(name), true
end

return trusted
