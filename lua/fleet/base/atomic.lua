-- SPDX-License-Identifier: MIT
-- Calls that cannot be preempted. A task is preempted in any Lua code outside of the library
-- (host/lua/preempt.c), and so in a function of the user's which the library calls while it changes
-- what tasks share. It calls such a function in this way.

local gsub = string.gsub

local atomic = {}

--- Returns f(a, b, c), at most three values. `f` must not wait. It is not preempted because it runs
--- below a C function, which cannot yield.
---@param f function
---@param a any
---@param b any
---@param c any
---@return any, any, any
function atomic.call(f, a, b, c)
  local x, y, z
  gsub("x", "x", function() x, y, z = f(a, b, c) end)
  return x, y, z
end

return atomic
