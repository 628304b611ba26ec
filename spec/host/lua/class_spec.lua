-- SPDX-License-Identifier: MIT
-- Every type of userdata that the host gives to Lua (host/lua/class.c): its metatable is hidden,
-- and its functions, finalizers among them, take no other object.

local digest = require("fleet.digest")
local json = require("fleet.json")
local lfs = require("lfs")
local task = require("host.task")
local xml = require("fleet.xml")

--- The metatables that the host has registered, by name.
local function types()
  for name in lfs.dir("host/bindings") do
    local module = name:match("^lib_([%w_]+)%.c$")
    if module and package.preload["host." .. module] then require("host." .. module) end
  end
  local found, count = {}, 0
  for name, value in pairs(debug.getregistry()) do
    if type(name) == "string" and (name:find("^host%.") or name:find("^fleet%."))
      and type(value) == "table" and value.__name == name then
      found[name], count = value, count + 1
    end
  end
  return found, count
end

describe("types of the host", function()
  it("are there", function()
    local found, count = types()
    assert.is_true(count >= 12, count)
    assert.is_table(found["host.channel.channel"])
    assert.is_table(found["fleet.digest"])
  end)

  it("hide their metatables", function()
    for name, metatable in pairs(types()) do assert.is_false(metatable.__metatable, name) end
  end)

  it("take no object of another type, and nothing else", function()
    local document = xml.parse("<a/>")
    local objects = {
      ["fleet.digest"] = digest.new(), ["host.json.lines"] = json.lines(),
      ["fleet.xml.document"] = document, ["fleet.xml.node"] = document:root(),
      ["host.task.event"] = task.event(), FILE = io.stdout, table = {}, string = "s",
      number = 7, light = false,
    }
    local calls = 0
    for name, metatable in pairs(types()) do
      local functions = {}
      for key, value in pairs(metatable) do functions[key] = value end
      for key, value in pairs(metatable.__index or {}) do functions[key] = value end
      functions.__eq, functions.__tostring = nil, nil -- take anything
      for key, f in pairs(functions) do
        for kind, object in pairs(type(f) == "function" and objects or {}) do
          -- what a document and a node have in common takes both
          if kind ~= name and not (name:find("^fleet%.xml") and kind:find("^fleet%.xml")) then
            assert.is_false((pcall(f, object)), ("%s of %s took %s"):format(key, name, kind))
            calls = calls + 1
          end
        end
        if type(f) == "function" then assert.is_false((pcall(f)), key .. " of " .. name) end
      end
    end
    assert.is_true(calls > 200, calls)
  end)

  it("are finalized any number of times", function()
    local document = xml.parse("<a><b>t</b></a>")
    local lines = json.lines()
    lines:add("a", 1)
    for _, object in ipairs({ digest.new(), lines, document }) do
      local metatable = debug.getmetatable(object)
      for _ = 1, 3 do
        metatable.__gc(object)
        metatable.__close(object)
      end
    end
    assert.error_matches(function() document:root() end, "closed")
    assert.equal("", lines:take())
    collectgarbage()
  end)
end)
