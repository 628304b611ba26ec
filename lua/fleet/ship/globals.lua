-- SPDX-License-Identifier: MIT
-- The globals of Lua that every sandbox has, and their names, by which a value of Lua's own is
-- recognized in one Lua state and found in another.

local source_cache = require("fleet.ship.source_cache")

local globals = {}

local function words(text)
  local list = {}
  for word in text:gmatch("%S+") do list[#list + 1] = word end
  return list
end

--- Functions and values that are globals themselves.
globals.BASE = words([[assert error getmetatable ipairs next pairs pcall rawequal rawget rawlen
  rawset select setmetatable tonumber tostring type xpcall _VERSION]])
--- Fields of Lua's libraries, by library.
globals.LIBRARIES = {
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
-- Values that are made for each sandbox and have names, too.
local OWN = words([[_G collectgarbage io io.flush io.stderr io.stdout io.type io.write
  load package package.loaded print require]])

local names -- value -> name, for all that every sandbox has
local originals = setmetatable({}, { __mode = "k" }) -- sandbox -> name -> value

local function value_at(root, name)
  local value = root
  for part in name:gmatch("[^.]+") do
    if type(value) ~= "table" then return nil end
    value = rawget(value, part)
  end
  return value
end

--- Whether the value of a name is Lua's own; a script may have changed it.
local function is_original(root, name, value)
  if type(value) == "table" then
    return value == root or value == package.loaded or package.loaded[name] == value
  elseif type(value) == "function" then
    return value == source_cache.load or debug.getinfo(value, "S").what == "C"
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
  for _, name in ipairs(globals.BASE) do add(name) end
  for library, fields in pairs(globals.LIBRARIES) do
    add(library)
    for _, field in ipairs(fields) do add(library .. "." .. field) end
  end
  return values
end

--- The name of a value of Lua's own that every sandbox has: "print", "table.insert", "string",
--- "_G". Recognizes the values of this Lua state and of its sandboxes.
---@param value any
---@return string|nil
function globals.name_of(value)
  if not names then
    names = setmetatable({}, { __mode = "k" })
    name_values(_G, false)
  end
  return names[value]
end

--- Gives a function that replaces one of Lua's own, such as the prompt's print, the name of that
--- one.
---@param f function
---@param name string such as "print"
function globals.stand_in(f, name)
  globals.name_of(f)
  names[f] = name
end

local has = {}
for _, list in ipairs({ globals.BASE, OWN, words("dofile loadfile warn") }) do
  for _, name in ipairs(list) do has[name] = true end
end
for library in pairs(globals.LIBRARIES) do has[library] = true end

--- Whether a global of that name is Lua's own, and not one that a script has defined.
---@param name string
---@return boolean
function globals.is_standard(name)
  return has[name] == true
end

--- The value of a name of name_of in a sandbox, as it was when the sandbox was made.
---@param env table
---@param name string
---@return any
function globals.value_of(env, name)
  return originals[env][name]
end

--- Names the values of the globals of a sandbox; call it before a job can change them.
---@param env table
function globals.register(env)
  globals.name_of(env) -- names those of this Lua state first
  originals[env] = name_values(env, true)
end

return globals
