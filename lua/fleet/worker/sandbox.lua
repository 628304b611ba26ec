-- SPDX-License-Identifier: MIT
-- The globals that job code sees: an allow-list without files, the parts of os that touch the
-- machine, debug (but for traceback), and bytecode. The worker process is what protects others from
-- a job in the end; the sandbox keeps honest jobs portable and makes attacks harder.

local check = require("fleet.base.check")
local globals = require("fleet.ship.globals")
local modules = require("fleet.ship.modules")
local source_cache = require("fleet.ship.source_cache")

local sandbox = {}

local function pick(from, names)
  local to = {}
  for _, name in ipairs(names) do to[name] = from[name] end
  return to
end

-- ---- what each sandbox has of its own ----

local function printer(write)
  return function(...)
    local parts = table.pack(...)
    for i = 1, parts.n do parts[i] = tostring(parts[i]) end
    write(table.concat(parts, "\t"))
  end
end

--- The part of io that writes: each write goes where a line of print goes.
local function writers(write)
  local stream = {}
  function stream:write(...)
    for i = 1, select("#", ...) do
      local kind = type((select(i, ...)))
      if kind ~= "string" and kind ~= "number" then
        check.misuse("bad argument #%d to 'write' (string expected, got %s)", i, kind)
      end
    end
    local text = table.concat({ ... })
    if text ~= "" then write((text:gsub("\n$", ""))) end
    return self
  end
  function stream:flush() return self end
  function stream:setvbuf() return true end
  return {
    stdout = stream, stderr = stream,
    type = function(value) return rawequal(value, stream) and "file" or nil end,
    write = function(...) return stream:write(...) end,
    flush = function() return stream end,
  }
end

local function text_only_load(env)
  return function(chunk, name, mode, ...)
    if mode ~= nil and mode ~= "t" and mode ~= "bt" then
      return nil, "load: only text chunks are allowed (mode 't')"
    end
    local chunk_env = env
    if select("#", ...) > 0 then chunk_env = (...) end
    return source_cache.load(chunk, name, "t", chunk_env)
  end
end

local function collect(what, ...)
  if what == nil or what == "collect" or what == "count" then return collectgarbage(what, ...) end
  check.misuse("collectgarbage: only 'collect' and 'count' are allowed in a job")
end

-- ---- making one ----

--- Makes the globals for one job, and protects the string metatable of this Lua state, which all
--- code in it shares.
---@param write fun(text: string) takes the text of print and io.write, without the last newline
---@param loader? fleet.Loader `require`; default: only the modules of the library
---@return table env
function sandbox.new(write, loader)
  loader = loader or modules.loader({})
  local env = pick(_G, globals.BASE)
  local loaded = { _G = env }
  for library, fields in pairs(globals.LIBRARIES) do
    env[library] = pick(_G[library], fields)
    loaded[library] = env[library]
  end
  env.io = writers(write)
  loaded.io = env.io
  env.package = { config = package.config, loaded = loaded }
  loaded.package = env.package
  env.print = printer(write)
  env.load = text_only_load(env)
  env.require = function(name) return loader:require(name) end
  env.collectgarbage = collect
  env._G = env
  loader:bind(env)
  globals.register(env)
  -- a job may add methods to strings, but not replace those that the library calls
  local strings = debug.getmetatable("")
  strings.__index = setmetatable(pick(string, globals.LIBRARIES.string), { __index = env.string })
  strings.__metatable = false
  return env
end

return sandbox
