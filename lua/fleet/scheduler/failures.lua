-- SPDX-License-Identifier: MIT
-- What becomes of items whose worker did not finish them: methods of
-- fleet.scheduler for refusals and lost workers. fleet.scheduler.attribution says what each loss
-- means for an item.

local batch = require("fleet.scheduler.batch")
local attribution = require("fleet.scheduler.attribution")
local errors = require("fleet.errors")
local retry = require("fleet.scheduler.retry")
local workers = require("fleet.scheduler.workers")
local speculation = require("fleet.scheduler.speculation")
local window = require("fleet.scheduler.window")

local failures = {}

--- Fails items first .. last, each with a copy of `err`, at a node or at none.
---@param self fleet.Scheduler
---@param first integer
---@param last integer
---@param err fleet.Error
---@param node table|nil
function failures.fail(self, first, last, err, node)
  for id = first, last do
    local copy = {}
    for key, value in pairs(err) do copy[key] = value end
    if self.on_resolve then self.on_resolve(self.items[id & self.mask], false, copy) end
    window.resolve(self, id, window.FAILED, errors.new(copy), 0)
  end
  local where = node or self.nowhere
  where.failed = where.failed + last - first + 1
end

--- Fails items first .. last before they are sent: they have never begun (`history`
--- is nil), or wait for another attempt.
---@param self fleet.Scheduler
---@param first integer
---@param last integer
---@param err fleet.Error
---@param history fleet.AttemptHistory|nil
function failures.fail_unsent(self, first, last, err, history)
  local applied = history and history.failure and history.failure.err.applied or "no"
  failures.fail(self, first, last, { kind = err.kind, message = err.message, applied = applied })
end

-- Items first .. last have come back unfinished from `b`: they go out once more,
-- or that was the end of them. `history` is what is known of them now.
local function put_back(self, b, first, last, history, verdict)
  if b.cancel_error then return failures.fail_unsent(self, first, last, b.cancel_error, history) end
  local attempt = history and attribution.next_attempt(history, self.last_attempt)
  if history and history.failure and (self.stopped or not attempt) then
    return failures.fail(self, first, last, history.failure.err, history.failure.node)
  elseif self.stopped then
    return window.drop(self, first, last)
  end
  local state, mask = self.state, self.mask
  for id = first, last do state[id & mask] = window.QUEUED end
  if verdict ~= "unbegun" then self.retried = self.retried + last - first + 1 end
  retry.enqueue(self, {
    first = first, last = last, attempt = attempt or 1, history = history,
    avoid = attribution.AVOIDS[verdict] and b.worker.node.name or nil,
  })
end

-- Takes back what is in flight there in that attempt, and calls action(b, from, to) for each run
-- of items of a batch. Returns how many those were.
local function take_back(self, worker_id, first, count, attempt, action)
  local state, mask = self.state, self.mask
  local last = first + count - 1
  speculation.release_range(self, worker_id, first, last, attempt)
  local id, taken = math.max(first, self.oldest), 0
  last = math.min(last, self.newest)
  while id <= last do
    local b, to = window.find(self, worker_id, id, attempt), id
    if b and b.duplicate then
      speculation.withdraw(self, b)
      taken = taken + 1
    elseif b then
      while to < last and state[(to + 1) & mask] == b do to = to + 1 end
      taken = taken + batch.take_back(self, b, id, to, function(from, upto)
        action(b, from, upto)
      end)
    end
    id = to + 1
  end
  return taken
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
function failures.refused(self, worker_id, first, count, attempt)
  return take_back(self, worker_id, first, count, attempt, function(b, from, to)
    put_back(self, b, from, to, b.history, "unbegun")
  end)
end

--- Takes back a range that had not begun when its worker died, before `remove_worker` is told of
--- that death: it goes to the front of the queue, and the attempt does not count unless
--- fleet.scheduler.attribution says otherwise.
---@param self fleet.Scheduler
---@param worker_id any
---@param first integer
---@param count integer
---@param attempt integer
---@param cause fleet.Cause
---@return integer taken number of items taken back
function failures.unbegun(self, worker_id, first, count, attempt, cause)
  return take_back(self, worker_id, first, count, attempt, function(b, from, to)
    local history, verdict = attribution.unbegun(b, cause, self.last_attempt)
    put_back(self, b, from, to, history, verdict)
  end)
end

-- The error of a task for which its worker was killed.
local function error_of_killed(cause, b)
  return errors.new({
    kind = cause.kind, message = cause.message, signal = cause.signal,
    node = cause.node or b.worker.node.name, attempt = b.attempt, applied = "yes",
  })
end

local function lose(self, b, cause, verdict)
  if b.is_cancelled then return speculation.release(self, b) end
  if verdict == "killed" then
    return retry.failed(self, b, b.first, error_of_killed(cause, b), 0, true)
  end
  local history = b.history
  if verdict ~= "unbegun" then history = attribution.lost(b, verdict, cause, self.last_attempt) end
  if b.duplicate then
    speculation.withdraw(self, b).history = history
    return
  end
  batch.take_back(self, b, b.first, b.last, function(from, to)
    put_back(self, b, from, to, history, verdict)
  end)
end

--- Removes a worker; what it had in flight goes to others, or fails when it has
--- no attempt left. fleet.scheduler.attribution says what counts as an attempt. Returns false
--- when there is no such worker.
---@param self fleet.Scheduler
---@param id any
---@param cause fleet.Cause
---@return boolean removed
function failures.remove_worker(self, id, cause)
  local worker = self.workers[id]
  if not worker then return false end
  local named, culprit = cause.culprit, nil
  if named and math.type(named.id) == "integer" then
    culprit = window.find(self, id, named.id, named.attempt)
    culprit = culprit and batch.split(self, culprit, named.id)
  end
  local was_alone = worker.in_flight == 1
  self.workers[id] = nil
  workers.set_taking(self, worker, false)
  for _, b in ipairs(batch.of({ worker })) do
    lose(self, b, cause, attribution.verdict(cause, b, culprit, was_alone))
  end
  return true
end

return failures
