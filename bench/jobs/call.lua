-- One empty call at a time to a node, as a driver script:
--   moonfleet run --peers ADDRESS call.lua ADDRESS COUNT
-- prints the microseconds of one call.
local fleet = require("fleet")
local sys = require("host.sys")

local node, count = arg[1], math.tointeger(arg[2])

local function calls(n)
  for _ = 1, n do
    local _, err = fleet.call(node, function() end)
    if err then error(err) end
  end
end

calls(1000)
local start = sys.now()
calls(count)
print(("%.2f"):format((sys.now() - start) / count * 1e6))
