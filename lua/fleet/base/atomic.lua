-- SPDX-License-Identifier: MIT
-- Calls that cannot be preempted. A task may be preempted anywhere in Lua, even in the library, so
-- what tasks share is changed in such a call.

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
