-- SPDX-License-Identifier: MIT
-- Maps whose items a web server counts, so that each must run exactly once whatever is done to
-- connections and keys:
--
--   local map = counted.start(world, { items = 2000, seconds = 0.02, result = "item * 2",
--     flags = { "--peers", proxy.address } })
--   map:break_connections(proxy, 3, 400)
--   map:check(function(item) return item * 2 end)

local assert = require("luassert")
local e2e = require("spec.support.e2e")

local counted = {}

--- @class spec.CountedMap
--- @field program e2e.Process
local Map = {}
Map.__index = Map

local JOB = [[
local fleet, http = require("fleet"), require("fleet.http")
return { map = function(item)
  assert(http.get("%s/count/" .. item))
  fleet.sleep(%s)
  return %s
end }
]]

--- Starts a map of the items 1, 2, ... Options: `items` (how many), `seconds` (that each sleeps),
--- `result` (of an item, as Lua text), `flags`.
---@param world e2e.World
---@param options {items: integer, seconds: number, result: string, flags: string[]}
---@return spec.CountedMap
function counted.start(world, options)
  local faults, items = world:fault_server(), {}
  for i = 1, options.items do items[i] = i end
  local job = JOB:format(faults.url, options.seconds, options.result)
  local program = world:program({ "run", world:write("job.lua", job), world:items(items),
    "--log-level", "info", table.unpack(options.flags) })
  return setmetatable({ program = program, faults = faults, items = options.items }, Map)
end

--- Breaks the only connection through a proxy by RST, each time after so many more results, and
--- waits until the driver has mended it.
---@param proxy {reset: fun(): integer}
---@param times integer
---@param results integer
function Map:break_connections(proxy, times, results)
  for i = 1, times do
    e2e.wait_until("results", function() return self.program:lines() >= i * results end)
    assert.equal(1, proxy.reset())
    e2e.wait_until("it to be mended", function()
      return select(2, self.program:err():gsub("node answers again", "")) >= i
    end)
  end
end

--- Waits for the end of the map and checks that no node was lost, and that each item has run once
--- and has its result, in its place.
---@param result fun(item: integer): any
---@param seconds number|nil as Process:wait
function Map:check(result, seconds)
  local run = self.program:wait(seconds)
  assert.equal(0, run.code, run.err)
  assert.is_nil(run.err:find("node lost", 1, true), run.err)
  local rows, counts = e2e.results(run.out), self.faults.counts()
  assert.equal(self.items, #rows)
  for i, row in ipairs(rows) do
    assert.equal(result(i), row.value)
    assert.equal(1, counts[tostring(i)])
  end
end

return counted
