-- Makes sequential calls on a node, as a driver script:
--   moonfleet run --peers ADDRESS call.lua ADDRESS COUNT empty|eval
-- Prints the microseconds of one call: of a function that does nothing, or of one with an argument
-- and a result.
local fleet = require("fleet")
local sys = require("host.sys")

local node, count, what = arg[1], math.tointeger(arg[2]), arg[3]

local functions = {
  empty = function() end,
  eval = function(x) return x + 1 end,
}
local f = functions[what]

local function calls(n)
  for i = 1, n do
    local value, err = fleet.call(node, f, i)
    if err then error(err) end
    if what == "eval" then assert(value == i + 1) end
  end
end

calls(1000)
local start = sys.now()
calls(count)
print(("%.2f"):format((sys.now() - start) / count * 1e6))
