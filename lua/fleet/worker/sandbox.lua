-- SPDX-License-Identifier: MIT
-- The globals that job code sees: an allow-list. No files, no part of os that
-- touches the machine, nothing of debug but traceback, no bytecode. What keeps a
-- job from harm to others in the end is its worker process; this keeps honest jobs
-- portable and makes the dishonest ones' life hard.

local check = require("fleet.check")
local chunks = require("fleet.ship.chunks")
local log = require("host.log")
local modules = require("fleet.ship.modules")

local sandbox = {}

local function words(text)
  local list = {}
  for word in text:gmatch("%S+") do list[#list + 1] = word end
  return list
end

local BASE = words([[assert error getmetatable ipairs next pairs pcall rawequal rawget rawlen rawset
  select setmetatable tonumber tostring type xpcall _VERSION]])
local LIBRARIES = {
  debug = words("traceback"),
  coroutine = words("close create isyieldable resume running status wrap yield"),
  math = words([[abs acos asin atan ceil cos deg exp floor fmod huge log max maxinteger min
    mininteger modf pi rad random randomseed sin sqrt tan tointeger type ult
    atan2 cosh frexp ldexp log10 pow sinh tanh]]), -- the last line: of older Lua, where it is there
  os = words("clock date difftime time"),
  string = words([[byte char find format gmatch gsub len lower match pack packsize rep reverse sub
    unpack upper]]),
  table = words("concat create insert move pack remove sort unpack"), -- create: of Lua 5.5
  utf8 = words("char charpattern codepoint codes len offset"),
}
-- What is made for each sandbox, and goes by its name too.
local OWN = words([[_G collectgarbage io io.flush io.stderr io.stdout io.type io.write
  load package
  package.loaded print require]])

local function pick(from, names)
  local to = {}
  for _, name in ipairs(names) do to[name] = from[name] end
  return to
end

-- ---- what each sandbox has of its own ----

-- One write, so that lines of several workers do not mix.
local function to_stderr(text)
  io.stderr:write(log.start() .. text .. "\n")
end

local function printer(say)
  return function(...)
    local parts = table.pack(...)
    for i = 1, parts.n do parts[i] = tostring(parts[i]) end
    say(table.concat(parts, "\t"))
  end
end

--- io as far as it writes: each write goes where a line of print goes.
local function writers(say)
  local stream = {}
  function stream:write(...)
    for i = 1, select("#", ...) do
      local kind = type((select(i, ...)))
      if kind ~= "string" and kind ~= "number" then
        check.misuse("bad argument #%d to 'write' (string expected, got %s)", i, kind)
      end
    end
    local text = table.concat({ ... })
    if text ~= "" then say((text:gsub("\n$", ""))) end
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
    return chunks.load(chunk, name, "t", chunk_env)
  end
end

local function collect(what, ...)
  if what == nil or what == "collect" or what == "count" then return collectgarbage(what, ...) end
  check.misuse("collectgarbage: only 'collect' and 'count' are allowed in a job")
end

-- ---- names ----

local names -- value -> its name, of what every sandbox has
local originals = setmetatable({}, { __mode = "k" }) -- sandbox -> name -> value

local function value_at(root, name)
  local value = root
  for part in name:gmatch("[^.]+") do
    if type(value) ~= "table" then return nil end
    value = rawget(value, part)
  end
  return value
end

--- Whether what a script finds under a name is Lua's own: the script may have changed it.
local function is_original(root, name, value)
  if type(value) == "table" then
    return value == root or value == package.loaded or package.loaded[name] == value
  elseif type(value) == "function" then
    return value == chunks.load or debug.getinfo(value, "S").what == "C"
  end
  return type(value) == "userdata"
end

--- Names the values of a table of globals; returns them by name.
local function name_values(root, is_ours)
  local values = {}
  local function add(name)
    local value = name == "_G" and root or value_at(root, name)
    local kind = type(value)
    if (kind == "table" or kind == "function" or kind == "userdata")
      and (is_ours or is_original(root, name, value)) then
      names[value] = names[value] or name
      values[name] = value
    end
  end
  for _, name in ipairs(OWN) do add(name) end
  for _, name in ipairs(BASE) do add(name) end
  for library, fields in pairs(LIBRARIES) do
    add(library)
    for _, field in ipairs(fields) do add(library .. "." .. field) end
  end
  return values
end

--- The name under which every sandbox has a value, when it is one of Lua's own: "print",
--- "table.insert", "string", "_G". Knows the values of this Lua state and of its sandboxes.
---@param value any
---@return string|nil
function sandbox.name_of(value)
  if not names then
    names = setmetatable({}, { __mode = "k" })
    name_values(_G, false)
  end
  return names[value]
end

--- Has a function of this Lua state that is used in the place of one of Lua's own, as the prompt's
--- print is, go by its name.
---@param f function
---@param name string such as "print"
function sandbox.stand_in(f, name)
  sandbox.name_of(f)
  names[f] = name
end

local has = {}
for _, list in ipairs({ BASE, OWN, words("dofile loadfile warn") }) do
  for _, name in ipairs(list) do has[name] = true end
end
for library in pairs(LIBRARIES) do has[library] = true end

--- Whether a global of that name is Lua's own, and so not one that a script has defined.
---@param name string
---@return boolean
function sandbox.is_standard(name)
  return has[name] == true
end

--- What name_of named, in the globals of a sandbox as they were when it was made.
---@param env table
---@param name string
---@return any
function sandbox.value_of(env, name)
  return originals[env][name]
end

-- ---- making one ----

--- @class fleet.SandboxOptions
--- @field loader? fleet.Loader `require`; nil: there are only the modules of the library
--- @field print? fun(text: string) takes what print and io.write say, without the newline at
--- its end; nil: stderr

--- Makes the globals for one job, and shields the string metatable of this Lua
--- state, which all code in it shares.
---@param options? fleet.SandboxOptions
---@return table env
function sandbox.new(options)
  options = options or {}
  local say = options.print or to_stderr
  local loader = options.loader or modules.loader({})
  local env = pick(_G, BASE)
  local loaded = { _G = env }
  for library, fields in pairs(LIBRARIES) do
    env[library] = pick(_G[library], fields)
    loaded[library] = env[library]
  end
  env.io = writers(say)
  loaded.io = env.io
  env.package = { config = package.config, loaded = loaded }
  loaded.package = env.package
  env.print = printer(say)
  env.load = text_only_load(env)
  env.require = function(name) return loader:require(name) end
  env.collectgarbage = collect
  env._G = env
  loader:bind(env)
  sandbox.name_of(env)
  originals[env] = name_values(env, true)
  -- A job may add methods to strings, but not replace those that the library calls.
  local strings = debug.getmetatable("")
  strings.__index = setmetatable(pick(string, LIBRARIES.string), { __index = env.string })
  strings.__metatable = false
  return env
end

return sandbox
