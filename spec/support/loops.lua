-- SPDX-License-Identifier: MIT
-- Code that never ends, or only when memory runs out: bodies of functions, each with the outcome of
-- an item that runs it under a time limit.
--   "timeout"  ended from inside: the code reaches a point where it can be stopped
--   "killed"   no hook reaches it: the worker is killed, the item times out
--   "memory"   the item fails, the worker continues
--   "raise"    Lua itself ends it

local loops = {
  { name = "computing", ends = "timeout", body = "while true do end" },
  {
    name = "computing after a comparator that took long", ends = "timeout",
    body = "table.sort({ 2, 1 }, function(a, b) for _ = 1, 1e6 do end return a < b end) "
      .. "while true do end",
  },
  {
    name = "pcall that swallows errors", ends = "timeout",
    body = "while true do pcall(function() while true do end end) end",
  },
  {
    name = "pcall of a function that raises", ends = "timeout",
    body = "while true do pcall(error, 'x') end",
  },
  {
    name = "a coroutine in a coroutine", ends = "timeout",
    body = "coroutine.wrap(function() coroutine.wrap(function() while true do end end)() end)()",
  },
  {
    name = "an endless generator", ends = "timeout",
    body = "for _ in coroutine.wrap(function() while true do coroutine.yield(1) end end) do end",
  },
  {
    name = "a metamethod", ends = "timeout",
    body = "return setmetatable({}, { __index = function() while true do end end }).x",
  },
  {
    name = "__close as the block ends", ends = "timeout",
    body = "local _ <close> = setmetatable({}, { __close = function() while true do end end })",
  },
  {
    name = "a handler of xpcall", ends = "killed",
    body = "xpcall(error, function() while true do end end)",
  },
  {
    name = "a finalizer", ends = "killed",
    body = "setmetatable({}, { __gc = function() while true do end end }) collectgarbage()",
  },
  {
    name = "a pattern that backtracks", ends = "killed",
    body = "return (('a'):rep(100000)):find(('.-'):rep(50) .. 'b')",
  },
  {
    name = "a comparator of table.sort", ends = "killed",
    body = "table.sort({ 3, 2, 1 }, function() while true do end end)",
  },
  {
    name = "a callback of string.gsub", ends = "killed",
    body = "return (('x'):gsub('x', function() while true do end end))",
  },
  {
    name = "__close as the task is stopped", ends = "killed",
    body = "local _ <close> = setmetatable({}, { __close = function() while true do end end }) "
      .. "while true do end",
  },
  {
    name = "__close of a coroutine as the task is stopped", ends = "killed",
    body = "coroutine.wrap(function() local _ <close> = setmetatable({}, "
      .. "{ __close = function() while true do end end }) while true do end end)()",
  },
  {
    name = "__tostring of an error", ends = "killed",
    body = "error(setmetatable({}, { __tostring = function() while true do end end }))",
  },
  { name = "a string too long", ends = "memory", body = "return #('x'):rep(1e9)" },
  {
    name = "a string that doubles", ends = "memory",
    body = "local s = 'x' while true do s = s .. s end",
  },
  {
    name = "a table that grows", ends = "memory",
    body = "local t = {} for i = 1, math.huge do t[i] = i end",
  },
  {
    name = "a list of small things", ends = "memory",
    body = "local t while true do t = { t } end",
  },
  {
    name = "coroutines without end", ends = "memory",
    body = "local t = {} while true do t[#t + 1] = coroutine.create(print) end",
  },
  {
    name = "coroutines in coroutines", ends = "raise",
    body = "local function f() coroutine.wrap(f)() end f()",
  },
}

--- A job script whose items are names of loops; any other item is returned unchanged.
loops.job = (function()
  local out = { "local loops = {}\n" }
  for _, loop in ipairs(loops) do
    out[#out + 1] = ("loops[%q] = function() %s end\n"):format(loop.name, loop.body)
  end
  out[#out + 1] = "return { map = function(x) if loops[x] then return loops[x]() end return x end }"
  return table.concat(out)
end)()

return loops
