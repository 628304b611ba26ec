-- SPDX-License-Identifier: MIT
-- Calls that no other task of this process gets between. A task is preempted
-- anywhere in Lua, in the library too; what tasks share is changed in such a call.

local gsub = string.gsub

local atomic = {}

--- Returns f(a, b, c), three values at most. Nothing in it can wait, and it is not preempted:
--- it runs under a function of C, which cannot be left.
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
