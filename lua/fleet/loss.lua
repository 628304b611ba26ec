-- SPDX-License-Identifier: MIT
-- What becomes of items whose worker did not finish them: methods of
-- fleet.scheduler for refusals, lost workers and the early end of a map.

local errors = require("fleet.errors")
local window = require("fleet.window")

local QUEUED, FAILED = window.QUEUED, window.FAILED

-- Causes after which the tasks have certainly not begun.
local NOT_BEGUN = { draining = true, refused = true }

local loss = {}

--- @class fleet.Cause why a worker went away
--- @field kind string "lost": its whole node is gone; "draining", "refused": its
--- tasks were not begun; any other: the process died, perhaps of one of them
--- @field message string
--- @field node? string
--- @field signal? integer|string

--- Says that `batch` has ended: none of its items is out with it any more.
---@param batch fleet.Batch
function loss.retire(batch)
  local worker = batch.worker
  worker.batches[batch] = nil
  if worker.exclusive == batch then worker.exclusive = nil end
end

local function fail(self, first, last, record)
  local cause, node = record.cause, record.node
  for id = first, last do
    local err = errors.new({
      kind = cause.kind, message = cause.message, signal = cause.signal,
      node = cause.node or node.name, attempt = record.attempt, applied = "unknown",
    })
    window.settle(self, id, FAILED, err, 0)
  end
  node.failed = node.failed + last - first + 1
end

-- Items first .. last have come back unfinished from `batch`: they go out once
-- more, or that was the end of them.
local function requeue(self, batch, first, last, cause)
  local node, begun = batch.worker.node, not NOT_BEGUN[cause.kind]
  local suspect = batch.suspect or (begun and cause.kind ~= "lost")
  local attempt = batch.attempt + (begun and 1 or 0)
  -- The last time that they may have begun, for the error if it was the last.
  local record = batch.loss
  if begun then record = { cause = cause, node = node, attempt = batch.attempt } end
  if record and (self.stopped or attempt > self.last_attempt) then
    return fail(self, first, last, record)
  elseif self.stopped then
    return window.drop(self, first, last)
  end
  local state, mask = self.state, self.mask
  for id = first, last do state[id & mask] = QUEUED end
  if begun then self.retried = self.retried + last - first + 1 end
  local list = suspect and attempt == self.last_attempt and self.isolated or self.again
  list:add({
    first = first, last = last, attempt = attempt, suspect = suspect, loss = record,
    avoid = begun and node.name or nil,
  })
end

-- Calls action(first, last) for each run of items among first .. last that are
-- still out with `batch`, and takes them off it. Returns how many those were.
local function take_back(self, batch, first, last, action)
  local state, mask = self.state, self.mask
  local taken, id = 0, first
  while id <= last do
    local run = id
    while id <= last and state[id & mask] == batch do id = id + 1 end
    if id > run then
      action(run, id - 1)
      taken = taken + id - run
    end
    id = id + 1
  end
  batch.worker.in_flight = batch.worker.in_flight - taken
  batch.unfinished = batch.unfinished - taken
  if batch.unfinished == 0 then loss.retire(batch) end
  return taken
end

local function by_first(a, b) return a.first < b.first end

-- In order of their ids, so that the same events always have the same outcome.
local function batches_of(workers)
  local list = {}
  for _, worker in pairs(workers) do
    for batch in pairs(worker.batches) do list[#list + 1] = batch end
  end
  table.sort(list, by_first)
  return list
end

--- Takes back a range that the node did not take: it goes to the front of the
--- queue and the attempt does not count. What is not in flight there in that
--- attempt is left alone.
---@param self fleet.Scheduler
---@param worker_id any
---@param first integer
---@param count integer
---@param attempt integer
---@return integer taken number of items taken back
function loss.refused(self, worker_id, first, count, attempt)
  local batch = window.find(self, worker_id, first, attempt)
  if not batch then return 0 end
  local last = math.min(first + count - 1, batch.last)
  return take_back(self, batch, first, last, function(from, to)
    requeue(self, batch, from, to, { kind = "refused" })
  end)
end

local function leave(self, worker)
  if worker.draining then return end
  worker.draining = true
  self.worker_count = self.worker_count - 1
  worker.node.workers = worker.node.workers - 1
  if worker.reserved then
    worker.reserved = false
    self.reserved = self.reserved - 1
  end
end

--- Says that a worker takes nothing more but goes on with what it has. From now
--- on nothing waits for it; it still has to be removed in the end. Returns false
--- when there is no such worker.
---@param self fleet.Scheduler
---@param id any
---@return boolean
function loss.drain_worker(self, id)
  local worker = self.workers[id]
  if not worker then return false end
  leave(self, worker)
  return true
end

--- Removes a worker; what it had in flight goes to others, or fails when it has
--- no attempt left. Returns false when there is no such worker.
---@param self fleet.Scheduler
---@param id any
---@param cause fleet.Cause
---@return boolean removed
function loss.remove_worker(self, id, cause)
  local worker = self.workers[id]
  if not worker then return false end
  self.workers[id] = nil
  leave(self, worker)
  for _, batch in ipairs(batches_of({ worker })) do
    take_back(self, batch, batch.first, batch.last, function(from, to)
      requeue(self, batch, from, to, cause)
    end)
  end
  return true
end

--- Admits and sends nothing more. Items that were never begun are dropped, those
--- that wait for another attempt fail with their loss, those in flight go on.
---@param self fleet.Scheduler
function loss.stop(self)
  self.closed, self.stopped = true, true
  local state, mask = self.state, self.mask
  for id = math.max(self.next_fresh, self.oldest), self.newest do
    if state[id & mask] == QUEUED then window.drop(self, id, id) end
  end
  self.fresh, self.next_fresh = 0, self.newest + 1
  for _, list in ipairs({ self.again, self.isolated }) do
    local ranges = list:drain()
    table.sort(ranges, by_first)
    for _, range in ipairs(ranges) do
      if range.loss then
        fail(self, range.first, range.last, range.loss)
      else
        window.drop(self, range.first, range.last)
      end
    end
  end
end

--- Stops, and what is in flight fails with `err` at once; its results, when they
--- come, are late.
---@param self fleet.Scheduler
---@param err fleet.Error
function loss.abort(self, err)
  self:stop()
  for _, batch in ipairs(batches_of(self.workers)) do
    local record = { cause = err, node = batch.worker.node, attempt = batch.attempt }
    take_back(self, batch, batch.first, batch.last, function(from, to)
      fail(self, from, to, record)
    end)
  end
end

return loss
