-- SPDX-License-Identifier: MIT
-- The functions of the library about the task that calls them.

local backend = require("fleet.api.backend")
local check = require("fleet.base.check")
local task = require("host.task")

local tasks = {}

--- Waits while other tasks of this process run. Raises where waiting is impossible (in a
--- table.sort comparator, a string.gsub callback, __gc).
---@param seconds number not negative
function tasks.sleep(seconds)
  local number = tonumber(seconds)
  if not check.non_negative(number) then
    check.misuse("fleet.sleep: seconds expected, a number of at least 0, got %s",
      number and tostring(number) or type(seconds))
  end
  task.sleep(number)
end

--- Tells where this runs: {node=, worker=, attempt=} inside a task; nil in the driver.
---@return {node: string, worker: integer, attempt: integer}|nil
function tasks.self()
  if not backend.in_task then return nil end
  local self = require("host.job").self()
  return { node = self.node, worker = self.worker, attempt = self.attempt }
end

--- Reports the progress of this task to the driver: any value that can travel. Only the latest
--- counts; `on_progress` of the map or `progress()` of the future receives it. Raises outside a
--- task.
---@param value any
---@return boolean|nil whether the driver will see it; nil and an error when the value cannot travel
---@return fleet.Error|nil
function tasks.progress(value)
  if not backend.in_task then check.misuse("fleet.progress can only be called inside a task") end
  return require("host.job").output("progress", value)
end

return tasks
