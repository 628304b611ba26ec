-- Calls all nodes at once, as a driver script:
--   moonfleet run --peers ADDRESSES multicall.lua NODES
-- Prints the seconds until every node has answered a first call, including the time to connect, and
-- the milliseconds of another call (the median of several).
local fleet = require("fleet")
local sys = require("host.sys")

local count = math.tointeger(arg[1])
local ROUNDS = 5

local function everyone()
  local results, failures = fleet.multicall(function(x) return x end, 1)
  assert(results, failures)
  local n = 0
  for _ in pairs(results) do n = n + 1 end
  assert(n == count and not next(failures), ("%d of %d answered"):format(n, count))
end

local start = sys.now()
everyone()
local connect = sys.now() - start

local times = {}
for i = 1, ROUNDS do
  start = sys.now()
  everyone()
  times[i] = sys.now() - start
end
table.sort(times)
print(("%.3f %.1f"):format(connect, 1000 * times[ROUNDS // 2 + 1]))
