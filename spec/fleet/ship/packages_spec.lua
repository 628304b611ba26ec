-- SPDX-License-Identifier: MIT
-- Ships the functions of ordinary packages, Penlight and luassert, and compares what they do
-- there with what they do here, on arguments that suit none of them in particular.

local modules = require("fleet.ship.modules")
local ship = require("fleet.ship")
local shipping = require("spec.support.shipping")

--- The modules of a package, from where `require` finds them.
local function modules_of(package_name)
  local init = assert(package.searchpath(package_name .. ".init", package.path))
  local root = init:match("^(.*)/" .. package_name .. "/init%.lua$")
  local pipe = assert(io.popen(("cd '%s' && find %s -name '*.lua' | sort"):format(root,
    package_name)))
  local names = {}
  for path in pipe:lines() do
    names[#names + 1] = path:gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
  end
  pipe:close()
  return names
end

-- Called here, these would touch the machine, the terminal or all globals: they are shipped,
-- but not called.
local NOT_CALLED = {
  ["pl.app"] = true, ["pl.dir"] = true, ["pl.file"] = true, ["pl.path"] = true,
  ["pl.test"] = true, ["pl.lapp"] = true, ["pl.strict"] = true, ["pl.import_into"] = true,
}
local NOT_CALLED_NAMES = {
  "quit", "execute", "executeex", "printf", "fprintf", "printall", "dump", "import",
  "create_getter", "numbers", "words", "filter", -- read stdin
  "write", "writefile", -- files
  "load", "setfenv", -- of another environment here
  "catch", "snapshot", -- change what the calls that follow do
}

local function is_called(path)
  if NOT_CALLED[path:match("^[%a_]+%.[%a_%d]+")] then return false end
  for _, name in ipairs(NOT_CALLED_NAMES) do
    if path:find("%." .. name .. "$") then return false end
  end
  return true
end

--- New argument lists for one call.
local function argument_lists()
  local function id(x) return x end
  return {
    {}, { 1 }, { "abc" }, { { 3, 1, 2 } }, { { a = 1, b = "x" } }, { "a,b;c", "," }, { 2, 3 },
    { { 1, 2, 3 }, 2 }, { { "a", "b" }, "b" }, { id, { 1, 2 } }, { { 1, 2, 3 }, id },
    { { 1, { 2 } }, { 1, { 2 } } }, { " x y ", 3, "-" }, { "%d", 5 }, { nil, 1 }, { true, "x", {} },
    { "+", { 1, 2, 3 } }, { { { 1, 2 }, { 3, 4 } }, 1, 2 },
  }
end

--- A value as text: functions are as good as each other, and so are addresses.
local function plain(value, seen)
  local kind = type(value)
  if kind == "string" then return ("%q"):format((value:gsub("0x%x+", "ADDRESS"))) end
  if kind == "number" then return value ~= value and "nan" or ("%s"):format(value) end
  if kind ~= "table" then return kind == "boolean" and tostring(value) or kind end
  if seen[value] then return "again" end
  seen[value] = true
  local parts = { debug.getmetatable(value) and "object" or nil }
  for k, v in next, value do
    parts[#parts + 1] = plain(k, setmetatable({}, { __index = seen })) .. "="
      .. plain(v, setmetatable({}, { __index = seen }))
  end
  table.sort(parts)
  return "{" .. table.concat(parts, ",") .. "}"
end

--- What a function gives for some arguments, and what became of them, as text.
local function outcome(f, arguments)
  -- some of them never come to an end with such arguments
  local running = true
  debug.sethook(function()
    if running then error("too long", 0) end
  end, "", 10000)
  local results = table.pack(pcall(f, table.unpack(arguments, 1, 3)))
  running = false
  debug.sethook()
  return plain(results, {}) .. plain(arguments, {})
end

local function is_ours(name)
  return name:find("^pl%f[.\0]") or name:find("^luassert%f[.\0]") or name == "say"
end

--- Whether a function failed because a sandbox has no files, no environment, no debug, and none of
--- the libraries in C that happen to be installed here.
local function is_withheld(place, text)
  for name in text:gmatch("attempt to call a nil value %(%a+ '([%a_]+)'%)") do
    for _, library in ipairs({ "io", "os", "debug", "_G" }) do
      if _G[library][name] and not place.env[library][name] then return true end
    end
  end
  local needed = text:match("module '([^']+)' cannot be required in a job")
  return needed ~= nil and not is_ours(needed)
end

--- Calls visit(f, path) for each function written in Lua that is to be found in a value.
local function each_function(value, path, visit, seen)
  if seen[value] then return end
  seen[value] = true
  if type(value) == "function" then
    if debug.getinfo(value, "S").what ~= "C" then visit(value, path) end
  elseif type(value) == "table" then
    local keys = {}
    for key in next, value do keys[#keys + 1] = key end
    table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
    for _, key in ipairs(keys) do
      each_function(rawget(value, key), path .. "." .. tostring(key), visit, seen)
    end
    local metatable = debug.getmetatable(value)
    if metatable then each_function(metatable, path .. ".metatable", visit, seen) end
  end
end

--- Forgets the packages; returns what was loaded of them.
local function unload()
  local loaded = {}
  for name, value in pairs(package.loaded) do
    if is_ours(name) then loaded[name] = value end
  end
  for name in pairs(loaded) do package.loaded[name] = nil end
  return loaded
end

--- Ships all of a package, each module with new copies of all.
local function try(package_name)
  local result = { shipped = 0, compared = 0, refused = {}, unloadable = {}, different = {} }
  local seen = {} -- places in the text
  local function visit(place, f, path)
    local info = debug.getinfo(f, "S")
    local key = path:match("[^.]*$") .. info.short_src .. info.linedefined
    if seen[key] then return end
    seen[key] = true
    local packed, err = ship.pack(f)
    if not packed then
      result.refused[path] = err.message
      return
    end
    local ok, sent = pcall(place.send, place, f)
    if not ok then
      result.unloadable[path] = sent.message
      return
    end
    result.shipped = result.shipped + 1
    local here, there = argument_lists(), argument_lists()
    for i = 1, is_called(path) and #here or 0 do
      local got, got_there = outcome(f, here[i]), outcome(sent, there[i])
      if got == got_there then
        result.compared = result.compared + 1
      elseif not is_withheld(place, got_there) then
        table.insert(result.different, ("%s %d:\n  %s\n  %s"):format(path, i, got, got_there))
      end
    end
  end
  for _, name in ipairs(modules_of(package_name)) do
    unload()
    local place = shipping.place()
    each_function(require(name), name, function(f, path) visit(place, f, path) end, {})
  end
  return result
end

--- Does that with copies of its own, those in use by the specs stay as they are; without a
--- word, and without a file written, whatever a function does with such arguments.
local function try_apart(package_name)
  local loaded, real_print, open = unload(), print, io.open
  _G.print = function() end -- luacheck: ignore 122
  io.open = function(path, mode) -- luacheck: ignore 122
    if mode and mode:find("[wa+]") then return nil, "read only" end
    return open(path, mode)
  end
  local ok, result = pcall(try, package_name)
  unload()
  for name, value in pairs(loaded) do package.loaded[name] = value end
  _G.print = real_print -- luacheck: ignore 122
  io.open = open -- luacheck: ignore 122
  if not ok then error(result, 0) end
  return result
end

describe("the modules of", function()
  for package_name, least in pairs({ pl = 34, luassert = 28 }) do
    it(package_name .. " load in a sandbox, but for those that need files", function()
      local count = 0
      for _, name in ipairs(modules_of(package_name)) do
        local place, hashes = shipping.place(), {}
        modules.add(name, hashes)
        for _, hash in pairs(hashes) do place.texts[hash] = modules.blob(hash) end
        place.loader:know(hashes)
        local ok, message = pcall(place.env.require, name)
        if ok then count = count + 1 end
        if not ok then assert.matches("pl.path requires LuaFileSystem$", message, name) end
      end
      assert.is_true(count >= least, count)
    end)
  end
end)

describe("the functions of", function()
  for package_name, least in pairs({ pl = { 450, 7200 }, luassert = { 48, 750 } }) do
    it(package_name .. " do there what they do here, or are refused by name", function()
      local result = try_apart(package_name)
      assert.equal("", table.concat(result.different, "\n"))
      assert.is_true(result.shipped >= least[1], result.shipped)
      assert.is_true(result.compared >= least[2], result.compared)
      for path, message in pairs(result.refused) do
        assert.matches("^upvalue '[^']+' %b() cannot be shipped: function '[^']+' %(.+:%d+%) "
          .. "captures it;", message, path)
      end
      for path, message in pairs(result.unloadable) do
        assert.matches("^module '.+', which the function captures, cannot be loaded here: "
          .. ".*LuaFileSystem$", message, path)
      end
    end)
  end
end)
