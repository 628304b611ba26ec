-- Makes sequential calls on a node, as a driver script:
--   moonfleet run --peers ADDRESS call.lua ADDRESS COUNT empty|eval|BYTES
-- Prints the microseconds of one call: of a function that does nothing, of one with an argument and
-- a result, or of one that returns its argument, a string of so many bytes.
local fleet = require("fleet")
local sys = require("host.sys")

local node, count, what = arg[1], math.tointeger(arg[2]), arg[3]

local functions = {
  empty = function() end,
  eval = function(x) return x + 1 end,
}
local f = functions[what] or function(x) return x end
local text = not functions[what] and ("x"):rep(math.tointeger(what))

local function calls(n)
  for i = 1, n do
    local value, err = fleet.call(node, f, text or i)
    if err then error(err) end
    if what == "eval" then assert(value == i + 1) end
    if text then assert(#value == #text) end
  end
end

calls(text and 10 or 1000)
local start = sys.now()
calls(count)
print(("%.2f"):format((sys.now() - start) / count * 1e6))
