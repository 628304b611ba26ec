-- SPDX-License-Identifier: MIT
-- Attempts that ended in an error: whether there is another one, and when. The delay before it is
-- random, and its maximum doubles with each attempt, so that items that failed together do not
-- come back together.

local atomic = require("fleet.base.atomic")
local attribution = require("fleet.scheduler.attribution")
local batch = require("fleet.scheduler.batch")
local speculation = require("fleet.scheduler.speculation")
local window = require("fleet.scheduler.window")

--- @class fleet.SchedulerRetry: fleet.Scheduler
local retry = {}

-- Seconds, unless the first delay is longer.
local MAX_BACKOFF = 10

--- Adds a range to the queue that it must wait in.
---@param range fleet.Range
function retry:enqueue(range)
  local is_isolated = range.history and range.history.alone
  local queue = is_isolated and self.isolation_queue or self.retry_queue
  queue:add(range)
end

-- Asks the user's function. What it raises is shown with the error.
local function wants_retry(self, err)
  local fine, answer = pcall(atomic.call, self.retry_on, err)
  if fine then return answer end
  err.message = ("%s; retry_on failed: %s"):format(err.message, tostring(answer))
  return false
end

-- The history of an item whose attempt ended in `err` if there is to be another attempt, or nil. A
-- duplicate that still runs is that other attempt.
local function history_for_another(self, b, err, alone)
  if not self.retry_on or self.stopped or err.kind == "cancelled" then return nil end
  local history = attribution.erred(b, err, alone, self.last_attempt)
  local possible
  if b.duplicate then
    possible = math.min(b.attempt, b.duplicate.attempt) < self.last_attempt + history.free_attempts
  else
    possible = attribution.next_attempt(history, self.last_attempt)
  end
  return possible and wants_retry(self, err) and history or nil
end

local function delay(self, range)
  self.retried = self.retried + 1
  if self.backoff == 0 then return retry.enqueue(self, range) end
  local max = math.max(MAX_BACKOFF, self.backoff)
  local seconds = math.min(self.backoff * 2.0 ^ (range.attempt - 2), max) * self.random()
  range.due = (self.now or 0) + seconds
  self.delay_queue:push(range)
end

--- Takes the error that an attempt at one item ended in: the item fails, or gets another attempt.
---@param b fleet.Batch that the item is in flight with
---@param id integer
---@param err fleet.Error
---@param bytes number size of the error
---@param alone boolean its worker was killed for it: another attempt runs in isolation
function retry:failed(b, id, err, bytes, alone)
  local history, duplicate = history_for_another(self, b, err, alone), b.duplicate
  if history and duplicate then
    speculation.withdraw(self, b)
    duplicate.history = history
    return
  end
  if duplicate then speculation.cancel(self, duplicate) end
  batch.release(b, 1)
  if history then
    self.state[id & self.mask] = window.QUEUED
    return delay(self, { first = id, last = id, attempt = history.tried + 1, history = history })
  end
  local node = b.worker.node
  node.failed = node.failed + 1
  if self.on_resolve then self.on_resolve(self.items[id & self.mask], false, err) end
  window.resolve(self, id, window.FAILED, err, bytes)
end

--- Moves the items whose delay is over to their queue.
---@param now number
---@return number|nil at when the next delay is over, if there is one
---@return boolean moved whether any item was moved
function retry:release(now)
  local delayed, moved = self.delay_queue, false
  while delayed[1] and delayed[1].due <= now do
    retry.enqueue(self, delayed:remove(1))
    moved = true
  end
  return delayed[1] and delayed[1].due, moved
end

return retry
