-- SPDX-License-Identifier: MIT
-- Futures: values that are not there yet, of one remote call or of several (race, all).

local check = require("fleet.base.check")
local errors = require("fleet.errors")
local task = require("host.task")

local unpack = table.unpack

local future = {}

-- Bytes of each value that tostring shows.
local MAX_SHOWN = 200

--- @class fleet.Future
local Future = {}
Future.__index = Future
Future.__name = "future"
Future.__metatable = false -- jobs must not change its methods

--- Makes a future of a table, which may have other fields as well. `fields.on_cancel(future)`, or
--- false, is called at most once, when the future is cancelled before it is resolved; it need not
--- resolve it.
---@param fields table with `on_cancel`, and room for `values` and `done`
---@return fleet.Future
function future.make(fields)
  return setmetatable(fields, Future)
end

--- Makes a future.
---@param cancel fun(self: fleet.Future)|nil as `on_cancel` of future.make
---@return fleet.Future
function future.new(cancel)
  return future.make({ on_cancel = cancel or false, values = nil, done = nil })
end

--- Whether a value is a future.
---@param value any
---@return boolean
function future.is(value)
  return debug.getmetatable(value) == Future
end

--- Sets the values of the future; only the first time counts.
---@param values table as of table.pack
---@return boolean whether this was the first time
function Future:resolve(values)
  if self.values then return false end
  self.values, self.on_cancel = values, false
  if self.done then self.done:notify() end
  local watchers = self.watchers
  if not watchers then return true end
  self.watchers = nil
  for i = 1, #watchers do watchers[i](self) end
  return true
end

--- Makes the future a failure; only the first time counts.
---@param err fleet.Error
---@return boolean whether this was the first time
function Future:fail(err)
  return self:resolve({ n = 2, nil, err, failed = true })
end

--- Calls f(future) when the future is resolved, at once if it already is. `f` must not wait.
---@param f fun(future: fleet.Future)
function Future:watch(f)
  if self.values then
    f(self)
  elseif self.watchers then
    self.watchers[#self.watchers + 1] = f
  else
    self.watchers = { f }
  end
end

local function timed_out(seconds)
  local err = errors.format("timeout", "no result within %g s; it may still come: wait again, or "
    .. "cancel", seconds)
  err.applied = "unknown"
  return nil, err
end

-- Raises unless a method was called with a colon.
local function check_self(method, self)
  if debug.getmetatable(self) ~= Future then
    check.misuse("future:%s: a future expected, got %s; write f:%s()", method, type(self), method)
  end
end

--- Waits for the values and returns them; or nil and an error if the call failed. The call
--- continues after a timeout of the wait itself. `wait` may be called again, also after a result.
---@param timeout number|nil seconds; default: no limit
---@return any ...
function Future:wait(timeout)
  check_self("wait", self)
  if timeout ~= nil and not check.non_negative(timeout) then
    check.misuse("future:wait: the timeout must be a number of at least 0, in seconds")
  end
  local values = self.values
  if not values then
    local done = self.done
    if not done then
      done = task.event()
      self.done = done
    end
    if not done:wait(timeout) then return timed_out(timeout) end
    values = self.values
  end
  return unpack(values, 1, values.n)
end

--- Returns whether the result is there. Does not wait.
---@return boolean
function Future:check()
  check_self("check", self)
  return self.values ~= nil
end

--- Returns text for people: "future: pending", "future: done, 5" or
--- "future: failed, <raise: no such page>".
---@return string
function Future:__tostring()
  local values, pretty = self.values, require("fleet.base.pretty") -- rarely needed
  if not values then return "future: pending" end
  if values.failed then return "future: failed, " .. pretty.line(values[2], MAX_SHOWN) end
  local words = { "future: done" }
  for i = 1, values.n do words[i + 1] = pretty.line(values[i], MAX_SHOWN) end
  return table.concat(words, ", ")
end

--- Returns whether the call ended with an error of the fleet (and not with values, which may be nil
--- and an error).
---@return boolean
function Future:failed()
  check_self("failed", self)
  return self.values ~= nil and self.values.failed == true
end

--- Returns the latest value that the task passed to fleet.progress, or nil.
---@return any
function Future:progress()
  check_self("progress", self)
  return self.progressed
end

--- Cancels the call, wherever it is. It then ends with an error of kind "cancelled", or with its
--- result if that came first. Does nothing when the call has ended. Does not wait.
function Future:cancel()
  check_self("cancel", self)
  self:__close()
end

-- A to-be-closed variable cancels the call at the end of its block.
function Future:__close()
  local on_cancel = self.on_cancel
  if not on_cancel then return end
  self.on_cancel = false
  on_cancel(self)
end

-- Makes the future of several: checks the list, and cancels its futures with the new one. Returns
-- it, the length of the list and a function that cancels the list.
local function join(what, list, message)
  if type(list) ~= "table" then
    check.misuse("%s: a list of futures expected, got %s", what, type(list))
  end
  local n = check.length(list)
  for i = 1, n do
    if not future.is(list[i]) then
      check.misuse("%s: element %d is no future but a %s", what, i, type(list[i]))
    end
  end
  local function cancel_all()
    for _, f in ipairs(list) do f:cancel() end
  end
  return future.new(function(self)
    self:fail(errors.format("cancelled", message))
    cancel_all()
  end), n, cancel_all
end

--- Returns a future of the first of several futures to succeed: its index and its values. The
--- others are cancelled. If all fail, it fails with the last error.
---@param list fleet.Future[] at least one
---@return fleet.Future
function future.race(list)
  local first, left, cancel_all = join("fleet.race", list, "the race was cancelled")
  if left == 0 then check.misuse("fleet.race: at least one future expected") end
  for i, f in ipairs(list) do
    f:watch(function()
      left = left - 1
      if f:failed() then
        if left == 0 then first:resolve(f.values) end
      elseif first:resolve(table.pack(i, table.unpack(f.values, 1, f.values.n))) then
        cancel_all()
      end
    end)
  end
  return first
end

--- Returns a future of a list with the first value of each future, in order, with the length in
--- `n`. Errors take the places of values. It resolves when all have ended; its second value is the
--- number of failed ones.
---@param list fleet.Future[]
---@return fleet.Future
function future.all(list)
  local all, left = join("fleet.all", list, "waiting for all was cancelled")
  local results, failed = { n = left }, 0
  if left == 0 then all:resolve(table.pack(results, 0)) end
  for i, f in ipairs(list) do
    f:watch(function()
      local is_failure = f:failed()
      if is_failure then failed = failed + 1 end
      results[i] = f.values[is_failure and 2 or 1]
      left = left - 1
      if left == 0 then all:resolve(table.pack(results, failed)) end
    end)
  end
  return all
end

return future
