-- Sends ever new code for SECONDS, as a driver script:
--   moonfleet run --peers ADDRESS soak.lua -- SECONDS
-- Raises if a result is wrong.
local fleet = require("fleet")
local sys = require("host.sys")

local n, calls, evals, maps = 0, 0, 0, 0

local function check(value, expected, err)
  if value ~= expected then
    error(("%s, not %s: %s"):format(tostring(value), tostring(expected), tostring(err)))
  end
end

local function add(a, b) return a + b end

--- Returns a function with its own text, name and constants, which makes another function.
local function new_function()
  local text = ("local K <const>, u = %d, {%d} return function(x) -- comment %d\n"
    .. "  local function inner(y) return y + K + u[1] end\n  return inner(x)\nend"):format(
    n, n, n)
  return assert(load(text, ("=new %d"):format(n)))()
end

local function round()
  n = n + 1
  for _ = 1, 4 do
    local value, err = fleet.call(fleet.any, add, n, 1)
    check(value, n + 1, err)
    calls = calls + 1
  end
  -- code that the worker loads, under one name and under a new one
  for _, name in ipairs({ "=(eval)", ("=eval %d"):format(n) }) do
    local value, err = fleet.call(fleet.any, function(code, chunk)
      return assert(load(code, chunk))()(2)
    end, ("return function(x) return x * %d end"):format(n), name)
    check(value, 2 * n, err)
    evals = evals + 1
  end
  -- code that the driver loads
  local value, err = fleet.call(fleet.any, new_function(), 1)
  check(value, 2 * n + 1, err)
  local chunk = assert(load(("return ... + %d"):format(n), "=chunk"))
  value, err = fleet.call(fleet.any, chunk, 1)
  check(value, n + 1, err)
  chunk = assert(load(("local t = %d return function(...) return ... + t end"):format(n)))()
  value, err = fleet.call(fleet.any, chunk, 1)
  check(value, n + 1, err)
  evals = evals + 3
  if n % 25 == 0 then
    local items = {}
    for i = 1, 100 do items[i] = i end
    local f = assert(load(("return function(x) return x + %d end"):format(n), "=map" .. n))()
    local results
    results, err = fleet.pmap(f, items)
    check(results and results[100], 100 + n, err)
    maps = maps + 1
  end
end

local stop = sys.now() + tonumber(arg[1])
while sys.now() < stop do round() end
print(("%d calls, %d evals, %d maps, 0 wrong"):format(calls, evals, maps))
