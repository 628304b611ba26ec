-- SPDX-License-Identifier: MIT
-- Nodes whose version of Lua differs from the driver's. OTHER_MOONFLEET names the program that is
-- built with the other version: `make mixed`.

local e2e = require("spec.support.e2e")

local OTHER = os.getenv("OTHER_MOONFLEET")

local SCRIPT = [==[
local fleet = require("fleet")
local json = require("fleet.json")
local helper = require("helper")

local function show(value)
  local kind = math.type(value) or type(value)
  if kind == "float" then return ("%a"):format(value) end
  if kind == "string" then return ("%q"):format(value) end
  if kind ~= "table" then return kind .. " " .. tostring(value) end
  local parts = {}
  for k, v in pairs(value) do parts[#parts + 1] = show(k) .. "=" .. show(v) end
  table.sort(parts)
  return "{" .. table.concat(parts, ",") .. "}"
end

-- captured values, in each way that is compiled differently
local factor <const>, count, list = 7, 0, { 1, 2, 3 }
local function captured(n)
  local open <close> = nil
  count = count + n
  local sum = 0
  for i, v in ipairs(list) do sum = sum + i * v * factor end
  for i = 1, 3 do
    if i == 2 then goto continue end
    sum = sum + i
    ::continue::
  end
  return sum + count, helper.twice(sum), ("%5.2f"):format(sum / 3), sum // 4, sum % 5, sum & 6
end

local values = {
  math.maxinteger, math.mininteger, 0.1, -0.0, 1e308, math.huge, 2^53, "\0\255\r\n", "", true,
  { 1, { 2, { "three" } }, key = { [1.5] = "x", [-1] = "y" } }, ("long"):rep(100000),
}
local names = {}
for i, node in ipairs(fleet.nodes()) do names[i] = node.name end
table.sort(names)
for _, name in ipairs(names) do
  for _, value in ipairs(values) do
    local back = fleet.call(name, function(v) return v end, value)
    assert(show(back) == show(value), name)
  end
  assert(select("#", fleet.call(name, function(...) return ... end, nil, nil, nil)) == 3)
  print(json.encode({ fleet.call(name, captured, 5) }))
  print(json.encode({ fleet.call(name, string.rep, "ab", 3) }))
  local ok, err = fleet.call(name, function() local t = nil; return t.x end)
  print(ok, err.kind, err.message, (err.traceback:match("\n%s*([^\n]*)")))
  ok, err = fleet.call(name, function() error({ code = 42 }) end)
  print(ok, err.kind, err.message)
end
local versions = {}
local results = fleet.pmap(function(n)
  fleet.sleep(0.01)
  return { n * n, _VERSION }
end, (function() local t = {} for i = 1, 200 do t[i] = i end return t end)(), { batch = 1 })
for i, r in ipairs(results) do
  assert(r[1] == i * i)
  versions[r[2]] = true
end
for _, version in ipairs({ "Lua 5.4", "Lua 5.5" }) do assert(versions[version], version) end
print(#results)
]==]

describe("a fleet of Lua 5.4 and 5.5", function()
  if not OTHER then
    pending("works together (make mixed builds with both)")
    return
  end

  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("works together, whichever the driver is of", function()
    local script = world:write("script.lua", SCRIPT)
    world:write("helper.lua", "return { twice = function(n) return n * 2 end }")
    local one = world:node({ workers = 1, name = "one" })
    local two = world:node({ workers = 1, name = "two", program = OTHER })
    for _, program in ipairs({ e2e.program, OTHER }) do
      local run = world:run({ "run", "--peers", one.address .. "," .. two.address, script },
        { program = program })
      assert.equal("", run.err)
      assert.equal(0, run.code)
      local lines = e2e.lines(run.out)
      assert.equal(9, #lines)
      for i = 1, 4 do assert.equal(lines[i], lines[i + 4]) end
      assert.equal("200", lines[9])
    end
  end)
end)
