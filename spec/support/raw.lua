-- SPDX-License-Identifier: MIT
-- Drives worker 1 of a node over a manual session (spec/support/session.lua): sends it tasks,
-- cancels them, and waits for their results. Works inside the program only.

local codec = require("host.codec")
local e2e = require("spec.support.e2e")
local session = require("spec.support.session")

local raw = {}

--- @class raw.Driver
--- @field session spec.Session
local Driver = {}
Driver.__index = Driver

--- Opens a session at a node.
---@param address string HOST:PORT
---@param name string|nil of the session
---@return raw.Driver
function raw.open(address, name)
  local peer = session.dial("tcp://" .. address)
  return setmetatable({ peer = peer, session = session.open(peer, name or "raw") }, Driver)
end

local function call(self, ...)
  local reply = session.ask(self.peer, ...)
  assert(reply[1] ~= "error", reply[3])
  return reply
end

--- Returns the status of the node.
---@return table
function Driver:status()
  return call(self, "status", self.session.key)[2]
end

--- Returns the generation of the worker; waits until it is up.
---@return integer
function Driver:generation()
  return e2e.wait_until("the worker", function()
    local generation = self:status().workers[1][2]
    return generation > 0 and generation
  end)
end

--- Sends items as tasks `first` and following of the job `definition`.
---@param job integer
---@param definition table
---@param first integer id of the first task
---@param items any[]
---@param timeout number|nil seconds of one task
function Driver:send(job, definition, first, items, timeout)
  local key = "job " .. job
  self.session:post({
    blobs = { { key, codec.encode(definition) } },
    batches = { self.session:batch(first, items, {
      generation = self:generation(), job = job, keys = { key }, timeout = timeout,
    }) },
  })
end

--- Cancels tasks.
---@param job integer
---@param first integer
---@param count integer
function Driver:cancel(job, first, count)
  local range = { 1, self:generation(), job, first, count }
  assert(call(self, "cancel", self.session.native:number(), { range })[1] == "cancelled")
end

--- Waits for the end of a task; returns its value, or nil and its error.
---@param id integer
---@return any value
---@return table|nil err
function Driver:result(id)
  e2e.wait_until("task " .. id, function() return self.session.done[id] end)
  if self.session.errors[id] then return nil, self.session.errors[id] end
  return self.session.results[id]
end

--- Waits for the next event of the worker with this name that `matches`; removes and returns it.
---@param name string
---@param matches (fun(fields: table): any)|nil
---@return table fields
function Driver:event(name, matches)
  local records = self.session.records
  return e2e.wait_until("a record " .. name, function()
    for i, record in ipairs(records) do
      if record[1] == name and (not matches or matches(record[3])) then
        return table.remove(records, i)[3]
      end
    end
    return nil
  end)
end

--- Waits for the worker to die, and returns the fields of the event.
---@return table
function Driver:death()
  return self:event("worker", function(fields) return fields.state == "down" end)
end

--- Ends the session and closes the connection.
function Driver:close()
  pcall(call, self, "end", self.session.key)
  self.peer:close()
end

return raw
