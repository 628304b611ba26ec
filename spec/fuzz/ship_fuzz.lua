-- SPDX-License-Identifier: MIT
-- Ships random functions and compares what they return, and what their results return, with what
-- the original does: values, messages of errors with their lines, places. Functions that return
-- functions are shipped on from where they arrived.
--
--   moonfleet run spec/fuzz/ship_fuzz.lua -- SECONDS|COUNTx [SEED]
--
-- SECONDS: so long; "200000x": so many functions. Seeds count on from SEED (default: the time), and
-- a difference is shown with its seed, by which it is found again.

local root = arg[0]:match("^(.*)/spec/fuzz/[^/]*$") or "."
package.path = ("%s/?.lua;%s"):format(root, package.path)

local random_lua = require("spec.support.random_lua")
local shipping = require("spec.support.shipping")

local STEPS = 100000 -- instructions of one call, after which it is not compared
local ARGUMENTS = { { 0 }, { 1, "2", nil, 3 }, { -2.5, false }, {} }

local compared, skipped = 0, 0

--- The results of a call after true or false; nil when it takes too long.
local function call(f, arguments)
  local routine, cut = coroutine.create(f), false
  local function stop()
    cut = true
    debug.sethook(routine, stop, "", 1) -- a pcall in it goes no further
    error("cut")
  end
  debug.sethook(routine, stop, "", STEPS)
  local results = table.pack(coroutine.resume(routine, table.unpack(arguments, 1, 4)))
  return not cut and results or nil
end

local same

local function same_tables(a, b, seen)
  if seen[a] then return seen[a] == b end
  seen[a] = b
  for key, value in pairs(a) do
    if type(key) ~= "table" and type(key) ~= "function" and not same(value, b[key], seen) then
      return false
    end
  end
  for key in pairs(b) do
    if type(key) ~= "table" and type(key) ~= "function" and a[key] == nil then return false end
  end
  return true
end

--- Whether two values are the same as far as they can be seen.
function same(a, b, seen)
  if math.type(a) ~= math.type(b) or type(a) ~= type(b) then return false end
  if type(a) == "table" then return same_tables(a, b, seen) end
  if type(a) == "function" then
    local x, y = debug.getinfo(a, "Su"), debug.getinfo(b, "Su")
    return x.source == y.source and x.linedefined == y.linedefined and x.nups == y.nups
      and x.lastlinedefined == y.lastlinedefined and x.nparams == y.nparams
  end
  if type(a) == "number" then return a == b or a ~= a and b ~= b end
  return a == b
end

--- Ships `arrived` and compares it with `original`, whose variables have the same values; returns
--- what differs, or nil. Of the functions that the calls return, one goes on from there.
local function check(original, arrived, depth)
  local sent, err = shipping.place():send(arrived)
  if not sent then return err.message end
  compared = compared + 1
  if not same(original, sent, {}) then return "is at another place" end
  local first, second
  for _, arguments in ipairs(ARGUMENTS) do
    local expected, got = call(original, arguments), call(sent, arguments)
    if not expected or not got then
      skipped = skipped + 1
      return nil
    end
    for i = 1, math.max(expected.n, got.n) do
      if not same(expected[i], got[i], {}) then
        return ("result %d: %s is %s"):format(i, tostring(expected[i]), tostring(got[i]))
      end
      if type(got[i]) == "function" and debug.getinfo(got[i], "S").what ~= "C" then
        first, second = expected[i], got[i]
      end
    end
  end
  return first and depth > 0 and check(first, second, depth - 1) or nil
end

local function run(seed)
  local text = random_lua.text(seed)
  local made = {}
  -- each name has several texts, as that of a file that is edited and loaded again
  local f = assert(load(text, ("@fuzz%d.lua"):format(seed // 4), "t",
    setmetatable(random_lua.globals(), { __index = _G })))
  call(f, { made })
  for i, one in ipairs(made) do
    local why = check(one, one, 2)
    if why then
      local info = debug.getinfo(one, "S")
      return ("seed %d, function %d, line %d: %s\n%s"):format(seed, i, info.linedefined, why, text)
    end
  end
  return nil
end

local limit, seed = arg[1] or "10", math.tointeger(tonumber(arg[2])) or os.time() * 1000
local count, seconds = tonumber(limit:match("^(%d+)x$")), tonumber(limit)
if not count and not seconds then error("ship_fuzz: seconds, or a number with x, expected", 0) end
local deadline = os.clock() + (seconds or math.huge)
local failure
while not failure and compared < (count or math.huge) and os.clock() < deadline do
  failure = run(seed)
  seed = seed + 1
end
if failure then
  io.stderr:write(failure, "\n")
  os.exit(1)
end
print(("%d functions, %d of which take too long, up to seed %d"):format(compared, skipped,
  seed - 1))
