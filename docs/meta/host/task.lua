---@meta host.task
-- SPDX-License-Identifier: MIT
-- Tasks, time and signals (host/bindings/lib_task.c).

local task = {}

--- @class host.Signal
local Signal = {}

--- Runs f(...) as a new task; an error in it is logged.
---@param f function
---@param ... any
function task.spawn(f, ...) end

--- Waits; other tasks run meanwhile.
---@param seconds number not negative
function task.sleep(seconds) end

--- Where the innermost call stands that is not one of the Lua library.
---@return string "file:line: ", or "" when there is none
function task.where() end

--- Lets other tasks and the loop run, then goes on.
function task.yield() end

--- Makes a signal, which tasks can wait for.
---@return host.Signal
function task.signal() end

--- Waits for a notify, `seconds` at most.
---@param seconds number|nil no limit by default
---@return boolean false when the time was over
function Signal:wait(seconds) end

--- Wakes all who wait now; when nobody does, the next who would: none gets lost.
function Signal:notify() end

--- Wakes one of those who wait now; when nobody does, the next who would.
function Signal:notify_one() end

return task
