-- SPDX-License-Identifier: MIT
-- The early end of a map, or of one of its items: methods of fleet.scheduler.

local batch = require("fleet.scheduler.batch")
local failures = require("fleet.scheduler.failures")
local retry = require("fleet.scheduler.retry")
local speculation = require("fleet.scheduler.speculation")
local window = require("fleet.scheduler.window")

local shutdown = {}

local function by_first(a, b) return a.first < b.first end

local function fresh_ranges(self)
  local state, mask = self.state, self.mask
  local ranges, range = {}, nil
  for id = math.max(self.next_fresh, self.oldest), self.newest do
    if state[id & mask] ~= window.QUEUED then
      range = nil
    elseif range then
      range.last = id
    else
      range = { first = id, last = id }
      ranges[#ranges + 1] = range
    end
  end
  return ranges
end

-- Nothing is sent any more. unbegun(first, last) is what becomes of items that
-- were never begun; those that wait for another attempt fail with their loss.
local function finish_queued(self, unbegun)
  self.closed, self.stopped = true, true
  local ranges = fresh_ranges(self)
  self.fresh, self.next_fresh = 0, self.newest + 1
  for _, list in ipairs({ self.retry_queue:drain(), self.isolation_queue:drain(), self.delay_queue }) do
    table.move(list, 1, #list, #ranges + 1, ranges)
  end
  self.delay_queue = retry.new()
  table.sort(ranges, by_first)
  for _, range in ipairs(ranges) do
    local history = range.history
    if history and history.failure then
      failures.fail(self, range.first, range.last, history.failure.err, history.failure.node)
    else
      unbegun(range.first, range.last)
    end
  end
end

-- What is in flight fails at once.
local function finish_in_flight(self, err)
  for _, b in ipairs(batch.of(self.workers)) do
    if b.is_cancelled then
      speculation.release(self, b)
    elseif b.duplicate then -- the older one, as it comes first
      speculation.withdraw(self, b)
    else
      local node = b.worker.node
      batch.take_back(self, b, b.first, b.last, function(from, to)
        failures.fail(self, from, to, {
          kind = err.kind, message = err.message, signal = err.signal, applied = "unknown",
          node = err.node or node.name, attempt = b.attempt,
        }, node)
      end)
    end
  end
end

--- Admits and sends nothing more. Items that were never begun are dropped, those
--- that wait for another attempt fail with their loss, those in flight go on.
---@param self fleet.Scheduler
function shutdown.stop(self)
  finish_queued(self, function(first, last) window.drop(self, first, last) end)
end

--- Stops, and what is in flight fails with `err` at once; its results, when they
--- come, are late.
---@param self fleet.Scheduler
---@param err fleet.Error
function shutdown.abort(self, err)
  shutdown.stop(self)
  finish_in_flight(self, err)
end

--- Ends like abort, but drops nothing: every item admitted has a result. What was
--- never begun fails with `err` and applied "no".
---@param self fleet.Scheduler
---@param err fleet.Error
function shutdown.expire(self, err)
  finish_queued(self, function(first, last) failures.fail_unsent(self, first, last, err) end)
  finish_in_flight(self, err)
end

-- Takes item `id` out of wherever it waits to be sent and returns what is known
-- of it.
local function take_out(self, id)
  if id >= self.next_fresh then
    self.fresh = self.fresh - 1
    return nil
  end
  local range = self.retry_queue:extract(id) or self.isolation_queue:extract(id) or retry.extract(self, id)
  return range.history
end

--- Cancels one item. One that is queued fails with `err` at once. One in flight
--- goes on until its result comes, which then counts, but is not tried again; of
--- two attempts at it the later has lost. Returns the worker and the attempt to
--- be told; nil when there is none, also for an item that has ended.
---@param self fleet.Scheduler
---@param id integer
---@param err fleet.Error
---@return any|nil worker_id
---@return integer|nil attempt
function shutdown.cancel_item(self, id, err)
  if id < self.oldest or id > self.newest then return nil end
  local b = self.state[id & self.mask]
  if b == window.QUEUED then
    failures.fail_unsent(self, id, id, err, take_out(self, id))
    return nil
  elseif not b.worker then
    return nil
  end
  if b.duplicate then speculation.cancel(self, b.duplicate) end
  b = batch.split(self, b, id)
  b.cancel_error = err
  return b.worker_id, b.attempt
end

return shutdown
