-- SPDX-License-Identifier: MIT
-- Attempts that ended in an error: whether there is another one, and when. The
-- wait before it doubles with each attempt and is taken at random from none to
-- all of that, so that what failed together does not come back together.

local batch = require("fleet.scheduler.batch")
local atomic = require("fleet.base.atomic")
local attribution = require("fleet.scheduler.attribution")
local heap = require("fleet.scheduler.heap")
local speculation = require("fleet.scheduler.speculation")
local window = require("fleet.scheduler.window")

local retry = {}

-- Seconds to wait at most, unless the first wait is longer.
local LONGEST = 10

--- Makes the store of the items that wait, least time first.
---@return fleet.Heap
function retry.new()
  return heap.new("due")
end

--- Puts a range in the queue.
---@param self fleet.Scheduler
---@param range fleet.Range
function retry.enqueue(self, range)
  local list = range.history and range.history.alone and self.isolation_queue or self.retry_queue
  list:add(range)
end

-- What the user's function says; what it raises is shown with the error.
local function wants(self, err)
  local fine, answer = pcall(atomic.call, self.retry_on, err)
  if fine then return answer end
  err.message = ("%s; retry_on failed: %s"):format(err.message, tostring(answer))
  return false
end

-- What is known of an item whose attempt ended in `err` if there is to be another
-- one, or nil. A duplicate that still runs is the other one.
local function history_for_another(self, b, err, alone)
  if not self.retry_on or self.stopped or b.cancel_error or err.kind == "cancelled" then
    return nil
  end
  local history = attribution.erred(b, err, alone, self.last_attempt)
  local possible
  if b.duplicate then
    possible = math.min(b.attempt, b.duplicate.attempt) < self.last_attempt + history.spared
  else
    possible = attribution.next_attempt(history, self.last_attempt)
  end
  return possible and wants(self, err) and history or nil
end

local function wait(self, range)
  self.retried = self.retried + 1
  if self.backoff == 0 then return retry.enqueue(self, range) end
  local most = math.max(LONGEST, self.backoff)
  local delay = math.min(self.backoff * 2.0 ^ (range.attempt - 2), most) * self.random()
  range.due = (self.now or 0) + delay
  self.delay_queue:push(range)
end

--- Takes the error that an attempt at one item ended in: the item fails, or gets
--- another attempt.
---@param self fleet.Scheduler
---@param b fleet.Batch that the item is out with
---@param id integer
---@param err fleet.Error
---@param bytes number size of the error
---@param alone boolean it cost the worker its life
function retry.failed(self, b, id, err, bytes, alone)
  local history, duplicate, node = history_for_another(self, b, err, alone), b.duplicate, b.worker.node
  if history and duplicate then
    speculation.withdraw(self, b)
    duplicate.history = history
    return
  end
  if duplicate then speculation.cancel(self, duplicate) end
  batch.release(b, 1)
  if history then
    self.state[id & self.mask] = window.QUEUED
    return wait(self, { first = id, last = id, attempt = history.tried + 1, history = history })
  end
  node.failed = node.failed + 1
  if self.on_resolve then self.on_resolve(self.items[id & self.mask], false, err) end
  window.resolve(self, id, window.FAILED, err, bytes)
end

--- Moves items that have waited long enough to the queue. Returns when the next
--- one has, or nil, and whether any was moved.
---@param self fleet.Scheduler
---@param now number
---@return number|nil at
---@return boolean moved
function retry.release(self, now)
  local delayed, moved = self.delay_queue, false
  while delayed[1] and delayed[1].due <= now do
    retry.enqueue(self, delayed:remove(1))
    moved = true
  end
  return delayed[1] and delayed[1].due, moved
end

--- Takes item `id` out of those that wait; returns it as a range, or nil.
---@param self fleet.Scheduler
---@param id integer
---@return fleet.Range|nil
function retry.extract(self, id)
  for i, range in ipairs(self.delay_queue) do
    if range.first == id then return self.delay_queue:remove(i) end
  end
end

return retry
