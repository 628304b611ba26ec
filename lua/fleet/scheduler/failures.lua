-- SPDX-License-Identifier: MIT
-- What becomes of items whose worker did not finish them: methods of fleet.scheduler for refusals
-- and lost workers. fleet.scheduler.attribution decides what each loss means for an item.

local attribution = require("fleet.scheduler.attribution")
local batch = require("fleet.scheduler.batch")
local errors = require("fleet.errors")
local retry = require("fleet.scheduler.retry")
local speculation = require("fleet.scheduler.speculation")
local window = require("fleet.scheduler.window")
local workers = require("fleet.scheduler.workers")

--- @class fleet.SchedulerFailures: fleet.Scheduler
local failures = {}

--- Fails items first .. last, each with a copy of `err`, at a node or at none.
---@param first integer
---@param last integer
---@param err fleet.Error
---@param node table|nil
function failures:fail(first, last, err, node)
  for id = first, last do
    local copy = {}
    for key, value in pairs(err) do copy[key] = value end
    if self.on_resolve then self.on_resolve(self.items[id & self.mask], false, copy) end
    window.resolve(self, id, window.FAILED, errors.new(copy), 0)
  end
  local where = node or self.no_node
  where.failed = where.failed + last - first + 1
end

-- Items first .. last of batch `b` have come back unfinished, with this history: they are sent
-- again, or that was the end of them.
local function put_back(self, b, first, last, history, verdict)
  local attempt = history and attribution.next_attempt(history, self.last_attempt)
  local failure = history and history.failure
  if failure and (self.stopped or not attempt) then
    return failures.fail(self, first, last, failure.err, failure.node)
  elseif self.stopped then
    return window.drop(self, first, last)
  end
  local state, mask = self.state, self.mask
  for id = first, last do state[id & mask] = window.QUEUED end
  if verdict ~= "not_begun" then self.retried = self.retried + last - first + 1 end
  retry.enqueue(self, {
    first = first, last = last, attempt = attempt or 1, history = history,
    avoid = attribution.AVOIDS[verdict] and b.worker.node.name or nil,
  })
end

-- Takes back the items first .. first + count - 1 that are in flight there in that attempt;
-- judge(b) returns their history and the verdict. Returns how many those were.
local function take_back(self, worker_id, first, count, attempt, judge)
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
        put_back(self, b, from, upto, judge(b))
      end)
    end
    id = to + 1
  end
  return taken
end

--- Takes back a range that the node did not accept: it is queued again, and the attempt does not
--- count. Items that are not in flight there in that attempt are left alone.
---@param worker_id any
---@param first integer
---@param count integer
---@param attempt integer
---@return integer taken number of items taken back
function failures:refused(worker_id, first, count, attempt)
  return take_back(self, worker_id, first, count, attempt, function(b)
    return b.history, "not_begun"
  end)
end

--- Takes back a range that had not begun when its worker died, before `remove_worker` is called for
--- that death: it is queued again, and the attempt does not count unless
--- fleet.scheduler.attribution says otherwise.
---@param worker_id any
---@param first integer
---@param count integer
---@param attempt integer
---@param cause fleet.Cause
---@return integer taken number of items taken back
function failures:not_begun(worker_id, first, count, attempt, cause)
  return take_back(self, worker_id, first, count, attempt, function(b)
    return attribution.not_begun(b, cause, self.last_attempt)
  end)
end

-- The worker of a batch was removed.
local function fail_batch(self, b, cause, verdict)
  if b.is_cancelled then return speculation.release(self, b) end
  if verdict == "killed" then
    return retry.failed(self, b, b.first, errors.new({
      kind = cause.kind, message = cause.message, signal = cause.signal,
      node = cause.node or b.worker.node.name, attempt = b.attempt, applied = "yes",
    }), 0, true)
  end
  local history = b.history
  if verdict ~= "not_begun" then
    history = attribution.lost(b, verdict, cause, self.last_attempt)
  end
  if b.duplicate then
    speculation.withdraw(self, b).history = history
    return
  end
  batch.take_back(self, b, b.first, b.last, function(from, to)
    put_back(self, b, from, to, history, verdict)
  end)
end

--- Removes a worker; what it had in flight goes to others, or fails when it has no attempt left.
--- fleet.scheduler.attribution says what counts as an attempt.
---@param id any
---@param cause fleet.Cause
---@return boolean removed false when there is no such worker
function failures:remove_worker(id, cause)
  local worker = self.workers[id]
  if not worker then return false end
  local named, culprit = cause.culprit, nil
  if named and math.type(named.id) == "integer" then
    culprit = window.find(self, id, named.id, named.attempt)
    culprit = culprit and batch.split(self, culprit, named.id)
  end
  local was_alone = worker.in_flight == 1
  workers.set_available(self, id, false)
  self.workers[id] = nil
  for _, b in ipairs(batch.of({ worker })) do
    fail_batch(self, b, cause, attribution.verdict(cause, b, culprit, was_alone))
  end
  return true
end

return failures
