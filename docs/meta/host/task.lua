---@meta host.task
-- SPDX-License-Identifier: MIT
-- Tasks, time and events (host/bindings/lib_task.c).

local task = {}

--- @class host.Task the handle of a task
local Task = {}

--- @class host.Event
local Event = {}

--- Runs f(...) as a new task; an error in it is logged.
---@param f function
---@param ... any
function task.spawn(f, ...) end

--- Runs f(...) as a new task.
---@param f function
---@param ... any
---@return host.Task
function task.start(f, ...) end

--- Waits for the end of the task.
---@return boolean true and the results of f; or false, the error and the traceback
---@return any ...
function Task:join() end

--- Ends the task, even while it computes. `join` then returns false and an error of kind
--- "cancelled".
function Task:cancel() end

--- From now on tasks that compute give way to others. Code that cannot wait (a sort comparator, one
--- long call of C) does not.
function task.preempt() end

--- Waits; other tasks run meanwhile.
---@param seconds number not negative
function task.sleep(seconds) end

--- Lets other tasks and the loop run, then continues.
function task.yield() end

--- Returns the position of the innermost call outside the Lua library.
---@return string "file:line: ", or "" if there is none
function task.where() end

--- Makes an event, which tasks can wait for.
---@return host.Event
function task.event() end

--- Waits for a notification.
---@param seconds number|nil time limit; default: none
---@return boolean false at a timeout
function Event:wait(seconds) end

--- Wakes all waiting tasks. If no task waits, the next wait returns at once.
function Event:notify() end

--- Wakes one of the waiting tasks. If no task waits, the next wait returns at once.
function Event:notify_one() end

return task
