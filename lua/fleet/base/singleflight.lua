-- SPDX-License-Identifier: MIT
-- Work that many tasks want at once and that is done once: who comes while it runs waits for
-- the same outcome. It runs in a task of its own, so that it goes on when one of those who wait
-- for it is cancelled.

local errors = require("fleet.errors")
local future = require("fleet.base.future")
local task = require("host.task")

local flight = {}

--- @class fleet.Flight
local Flight = {}
Flight.__index = Flight

--- Makes a flight of `work`, which may wait and returns what `run` is to return.
---@param work fun(): ...
---@return fleet.Flight
function flight.new(work)
  return setmetatable({ work = work, current = nil }, Flight)
end

--- Starts the work unless it runs. Does not wait.
---@return fleet.Future
function Flight:start()
  if self.current then return self.current end
  local current = future.new()
  self.current = current
  task.spawn(function()
    local values = table.pack(pcall(self.work))
    self.current = nil
    if values[1] then
      current:resolve(table.pack(table.unpack(values, 2, values.n)))
    else
      current:fail(errors.new({ kind = "raise", message = tostring(values[2]) }))
    end
  end)
  return current
end

--- Waits for the outcome of the work that runs, or starts it.
---@return any ... what the work returned; nil and an error when it raised
function Flight:run()
  return self:start():wait()
end

return flight
