-- SPDX-License-Identifier: MIT
-- A value that is not there yet: of one remote call, or of several (race, all).

local check = require("fleet.base.check")
local errors = require("fleet.errors")
local task = require("host.task")

local future = {}

-- Bytes of each value of a future that are shown to people.
local SHOWN_MAX = 200

--- @class fleet.Future
local Future = {}
Future.__index = Future
Future.__name = "future"
Future.__metatable = false -- no job changes its methods

--- Makes a future. `cancel(future)` is called at most once, when somebody cancels it before it
--- is resolved; it need not resolve it.
---@param cancel fun(self: fleet.Future)|nil
---@param of any kept in the field `of`, for `cancel`
---@return fleet.Future
function future.new(cancel, of)
  return setmetatable({ on_cancel = cancel, of = of, done = task.event(), values = nil }, Future)
end

--- Whether a value is a future.
---@param value any
---@return boolean
function future.is(value)
  return debug.getmetatable(value) == Future
end

--- Gives the future its values; the first time counts. `values` as table.pack makes it.
---@param values table
---@return boolean whether this was the first time
function Future:resolve(values)
  if self.values then return false end
  self.values, self.on_cancel = values, nil
  self.done:notify()
  local watchers = self.watchers
  self.watchers = nil
  for i = 1, watchers and #watchers or 0 do watchers[i](self) end
  return true
end

--- Makes the future a failure; the first time counts.
---@param err fleet.Error
---@return boolean whether this was the first time
function Future:fail(err)
  return self:resolve({ n = 2, nil, err, failed = true })
end

--- Calls f(future) when it is resolved: at once when it is already. `f` must not wait.
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
  return nil, errors.new({
    kind = "timeout", applied = "unknown",
    message = ("no result within %g s; it may still come: wait again, or cancel"):format(seconds),
  })
end

-- That a method was called with a colon.
local function check_self(method, self)
  if debug.getmetatable(self) ~= Future then
    check.misuse("future:%s: a future expected, got %s; write f:%s()", method, type(self), method)
  end
end

--- Waits for the values, `timeout` seconds at most (nil: as long as it takes) and returns them;
--- or nil and an error when the call failed. After a timeout of the wait itself the call goes
--- on, and `wait` may be called again; so it may after a result, which stays.
---@param timeout number|nil
---@return any ...
function Future:wait(timeout)
  check_self("wait", self)
  if timeout ~= nil and not check.non_negative(timeout) then
    check.misuse("future:wait: the timeout must be a number of at least 0, in seconds")
  end
  if not self.values and not self.done:wait(timeout) then return timed_out(timeout) end
  return table.unpack(self.values, 1, self.values.n)
end

--- Whether the result is there. Does not wait.
---@return boolean
function Future:check()
  check_self("check", self)
  return self.values ~= nil
end

--- For people: "future: pending", "future: done, 5", "future: failed, <raise: no such page>".
---@return string
function Future:__tostring()
  local values, pretty = self.values, require("fleet.base.pretty") -- few states show one
  if not values then return "future: pending" end
  if values.failed then return "future: failed, " .. pretty.line(values[2], SHOWN_MAX) end
  local words = { "future: done" }
  for i = 1, values.n do words[i + 1] = pretty.line(values[i], SHOWN_MAX) end
  return table.concat(words, ", ")
end

--- Whether it ended as an error of the fleet (and not with values, nil and an error included).
---@return boolean
function Future:failed()
  check_self("failed", self)
  return self.values ~= nil and self.values.failed == true
end

--- The latest value that the task gave to fleet.progress, or nil.
---@return any
function Future:progress()
  check_self("progress", self)
  return self.progressed
end

--- Stops the call, wherever it is. It then ends with an error of kind "cancelled", or with its
--- result when that was first. Nothing happens when it has ended. Does not wait.
function Future:cancel()
  check_self("cancel", self)
  local on_cancel = self.on_cancel
  self.on_cancel = nil
  if on_cancel then on_cancel(self) end
end

-- As a variable that is to be closed it ends with its block.
Future.__close = Future.cancel

-- For race and all: the length of a list of futures; fails when it is none.
local function check_list(what, list)
  if type(list) ~= "table" then
    check.misuse("%s: a list of futures expected, got %s", what, type(list))
  end
  local n = check.length(list)
  for i = 1, n do
    if not future.is(list[i]) then
      check.misuse("%s: element %d is no future but a %s", what, i, type(list[i]))
    end
  end
  return n
end

local function cancel_all(list)
  for _, f in ipairs(list) do f:cancel() end
end

--- The first of several to end well: a future of its index and its values. The others are
--- cancelled. When all fail it fails with the last error.
---@param list fleet.Future[] at least one
---@return fleet.Future
function future.race(list)
  local left = check_list("fleet.race", list)
  if left == 0 then check.misuse("fleet.race: at least one future expected") end
  local all = future.new(function(self)
    self:fail(errors.new({ kind = "cancelled", message = "the race was cancelled" }))
    cancel_all(list)
  end)
  for i, f in ipairs(list) do
    f:watch(function()
      left = left - 1
      if f:failed() then
        if left == 0 then all:resolve(f.values) end
        return
      end
      if all:resolve(table.pack(i, table.unpack(f.values, 1, f.values.n))) then cancel_all(list) end
    end)
  end
  return all
end

--- All of several: a future of a list with the first value of each, in their order, `n` its
--- length; errors stand in their places, and it resolves when the last has ended. Its second
--- value is the number of those that failed.
---@param list fleet.Future[]
---@return fleet.Future
function future.all(list)
  local left = check_list("fleet.all", list)
  local all = future.new(function(self)
    self:fail(errors.new({ kind = "cancelled", message = "waiting for all was cancelled" }))
    cancel_all(list)
  end)
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
