-- SPDX-License-Identifier: MIT
-- Single flight: work that many tasks want at once is done once; a caller that comes while it runs
-- waits for the same outcome. The work runs in a task of its own, so it goes on when a caller is
-- cancelled.

local errors = require("fleet.errors")
local future = require("fleet.base.future")
local task = require("host.task")

local singleflight = {}

--- @class fleet.Singleflight
local Singleflight = {}
Singleflight.__index = Singleflight

--- Makes a single flight of `work`, which may wait and returns what `run` is to return.
---@param work fun(): ...
---@return fleet.Singleflight
function singleflight.new(work)
  return setmetatable({ work = work, current = nil }, Singleflight)
end

--- Starts the work unless it is running. Does not wait.
---@return fleet.Future
function Singleflight:start()
  if self.current then return self.current end
  local current = future.new()
  self.current = current
  task.spawn(function()
    local values = table.pack(pcall(self.work))
    self.current = nil
    if values[1] then
      current:resolve(table.pack(table.unpack(values, 2, values.n)))
    else
      current:fail(errors.format("raise", "%s", values[2]))
    end
  end)
  return current
end

--- Waits for the outcome of the running work, or starts it.
---@return any ... what the work returned; nil and an error when it raised
function Singleflight:run()
  return self:start():wait()
end

return singleflight
