---@meta host.child
-- SPDX-License-Identifier: MIT
-- Tasks that somebody waits for and may stop (host/bindings/lib_child.c).

local child = {}

--- @class host.Child
local Child = {}

--- Runs f(...) as a task of its own.
---@param f function
---@param ... any
---@return host.Child
function child.start(f, ...) end

--- From now on tasks that compute give way to others, which cancel needs.
function child.preempt() end

--- Waits for its end.
---@return boolean ok
---@return any ... results; or the error and the traceback
function Child:wait() end

--- Ends it, also one that computes: waiting for it then gives false and an error of kind
--- "cancelled".
function Child:cancel() end

return child
