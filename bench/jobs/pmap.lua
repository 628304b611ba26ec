-- Runs fleet.pmap over a list of numbers, as a driver script:
--   moonfleet run --peers ADDRESS pmap.lua COUNT
-- Prints the items per second, without the time to connect.
local fleet = require("fleet")
local sys = require("host.sys")

local count = math.tointeger(arg[1])
local list = {}
for i = 1, count do list[i] = i end

local function same(x) return x end

assert(fleet.pmap(same, { 1 }))
local start = sys.now()
local results, failed = fleet.pmap(same, list)
local seconds = sys.now() - start
assert(failed == 0 and results.n == count and results[count] == count)
print(("%.0f"):format(count / seconds))
