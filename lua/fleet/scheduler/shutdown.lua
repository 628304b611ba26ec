-- SPDX-License-Identifier: MIT
-- The early end of a map: methods of fleet.scheduler.

local batch = require("fleet.scheduler.batch")
local failures = require("fleet.scheduler.failures")
local heap = require("fleet.scheduler.heap")
local speculation = require("fleet.scheduler.speculation")
local window = require("fleet.scheduler.window")

--- @class fleet.SchedulerShutdown: fleet.Scheduler
local shutdown = {}

local function by_first(a, b) return a.first < b.first end

-- The ranges of items that were never sent.
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

-- Ends the sending. Items that were never begun go to not_begun(first, last); those that wait for
-- another attempt fail with the error of the last one.
local function finish_queued(self, not_begun)
  self.closed, self.stopped = true, true
  local ranges = fresh_ranges(self)
  self.fresh, self.next_fresh = 0, self.newest + 1
  for _, list in ipairs({ self.retry_queue:drain(), self.isolation_queue:drain(),
    self.delay_queue }) do
    table.move(list, 1, #list, #ranges + 1, ranges)
  end
  self.delay_queue = heap.new("due")
  table.sort(ranges, by_first)
  for _, range in ipairs(ranges) do
    local failure = range.history and range.history.failure
    if failure then
      failures.fail(self, range.first, range.last, failure.err, failure.node)
    else
      not_begun(range.first, range.last)
    end
  end
end

-- Fails everything in flight.
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

--- Admits and sends nothing more. Items that were never begun are dropped, those that wait for
--- another attempt fail with the error of the last one, those in flight continue.
function shutdown:stop()
  finish_queued(self, function(first, last) window.drop(self, first, last) end)
end

--- Stops, and fails everything in flight with `err`; results that come nevertheless are late.
---@param err fleet.Error
function shutdown:abort(err)
  shutdown.stop(self)
  finish_in_flight(self, err)
end

--- Ends like abort, but drops nothing: every admitted item has a result. Items that were never
--- begun fail with `err` and applied "no".
---@param err fleet.Error
function shutdown:expire(err)
  finish_queued(self, function(first, last)
    failures.fail(self, first, last, { kind = err.kind, message = err.message, applied = "no" })
  end)
  finish_in_flight(self, err)
end

return shutdown
