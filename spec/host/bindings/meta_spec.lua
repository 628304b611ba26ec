-- SPDX-License-Identifier: MIT
-- docs/meta/host/ has what the language server is told of the host's C modules: exactly the
-- functions that the C files register, each with its parameters.

local annotations = dofile("docs/annotations.lua")
local lfs = require("lfs")

local read = require("spec.support.e2e").read
local sorted = require("fleet.base.check").sorted_keys

-- "lib_codec.c" defines luaopen_host_codec: {codec = its text}. A file may be a part of another's
-- module; its first comment says so.
local function c_modules()
  local modules, parts = {}, {}
  for _, folder in ipairs({ "bindings", "worker", "driver" }) do
    for name in lfs.dir("host/" .. folder) do
      local text = name:find("^lib_.*%.c$") and read(("host/%s/%s"):format(folder, name))
      local module = text and text:match("\n[%w ]*luaopen_host_([%w_]+)%(lua_State %*L%)\n{")
      local part = text and text:match("^[^\n]+\n/%* The part of host%.([%w_]+)")
      if module then modules[module] = text end
      if part then parts[part] = text end
    end
  end
  for module, text in pairs(parts) do modules[module] = modules[module] .. text end
  return modules
end

-- The names in a file's luaL_Reg lists: those of the module, and methods of its objects.
local function registered(text, module)
  local opener = text:match("luaopen_host_" .. module .. "%b()\n(%b{})")
  local own
  for list in opener:gmatch("luaL_newlib%a*%(L, ([%w_]+)%)") do own = list end
  own = own or opener:match("class_module%(.*, ([%w_]+)%);")
  local functions, methods = {}, {}
  for list, entries in text:gmatch("luaL_Reg ([%w_]+)%[%] = (%b{})") do
    for name in entries:gmatch('{"([%w_]+)",') do
      if list == own then
        functions[name] = true
      elseif not name:find("^__") then
        methods[name] = true
      end
    end
  end
  return functions, methods
end

local function described(module)
  local parsed = annotations.parse(read(("docs/meta/host/%s.lua"):format(module)))
  local functions, methods = {}, {}
  for _, definition in ipairs(parsed.definitions) do
    local owner, sign, name = definition.name:match("^([%w_]+)([.:])([%w_]+)$")
    local set = sign == "." and functions or methods
    assert(sign == ":" or owner == module, definition.name .. " is not of the module")
    set[name] = definition
  end
  return functions, methods, parsed
end

describe("what docs/meta says of the host's modules", function()
  local modules = c_modules()

  it("is there for each of them, and for no other", function()
    local files = {}
    for name in lfs.dir("docs/meta/host") do
      local module = name:match("^(.*)%.lua$")
      if module then files[module] = true end
    end
    assert.is_true(next(modules) ~= nil)
    assert.same(sorted(modules), sorted(files))
  end)

  for _, module in ipairs(sorted(modules)) do
    local path = ("docs/meta/host/%s.lua"):format(module)
    if lfs.attributes(path) then
      it("names the functions that C registers: host." .. module, function()
        local functions, methods = registered(modules[module], module)
        local own, of_objects = described(module)
        assert.is_true(next(functions) ~= nil)
        assert.same(sorted(functions), sorted(own))
        assert.same(sorted(methods), sorted(of_objects))
      end)

      it("says what each takes: host." .. module, function()
        assert.matches("^%-%-%-@meta host%." .. module .. "\n", read(path))
        for _, set in ipairs({ { described(module) }, { select(2, described(module)) } }) do
          for name, definition in pairs(set[1]) do
            local names = {}
            assert(definition.block and #definition.block.text > 0, name .. " says nothing")
            for i, param in ipairs(definition.block.params) do names[i] = param.name end
            assert.same(definition.signature, names, name)
          end
        end
      end)
    end

    -- host.job is in workers only
    if package.preload["host." .. module] then
      it("is what require gives: host." .. module, function()
        local own, _, parsed = described(module)
        local fields = {}
        for _, class in ipairs(parsed.classes) do
          for _, field in ipairs(class.fields) do fields[field.name] = true end
        end
        for name, value in pairs(require("host." .. module)) do
          local known = type(value) == "function" and own[name] or fields[name]
          assert(known, ("host.%s.%s is not described"):format(module, name))
        end
      end)
    end
  end
end)
