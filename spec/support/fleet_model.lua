-- SPDX-License-Identifier: MIT
-- The fleet in the model of the scheduler: workers that start and die, the attempts
-- sent to them, and how these end. spec.support.scheduler_model is the rest.

local item_model = require("spec.support.item_model")

local expect, random = item_model.expect, math.random

--- @class spec.Fleet its `workers` are a list of {id, node, live = attempts,
--- cancelled = attempts to be stopped, exclusive = id, draining, suspended}
local Fleet = {}
Fleet.__index = Fleet

local function pick(list) return list[random(#list)] end
local function chance(p) return random() < p end

local function tasks_of(worker) return #worker.live + #worker.cancelled end

local function remove_from(list, entry)
  for i, other in ipairs(list) do
    if other == entry then
      list[i] = list[#list]
      list[#list] = nil
      return
    end
  end
  error("model: not in the list")
end

-- ---- workers come and go ----

function Fleet:join()
  if self:takers() >= 12 then return end
  local id = 1 -- ids are used again, as a driver may
  while self.s.workers[id] do id = id + 1 end
  local worker = { id = id, node = "n" .. random(4), live = {}, cancelled = {} }
  self.workers[#self.workers + 1] = worker
  self.s:add_worker(worker.id, worker.node)
end

local function takes(worker) return not worker.draining and not worker.suspended end

function Fleet:takers()
  local number = 0
  for _, worker in ipairs(self.workers) do
    if takes(worker) then number = number + 1 end
  end
  return number
end

-- Whether an item that should avoid the worker's node can do so.
function Fleet:has_choice(worker)
  for _, other in ipairs(self.workers) do
    local inner = self.s.workers[other.id]
    local busy = inner.exclusive or inner.reserved or #other.cancelled > 0
      or tasks_of(other) >= inner.credit.size
    if other.node ~= worker.node and takes(other) and not (busy and tasks_of(worker) == 0) then
      return true
    end
  end
  return false
end

function Fleet:suspend(worker)
  worker.suspended = true
  self:meet("suspended")
  expect(self.s:set_available(worker.id, false), "unknown worker")
end

function Fleet:resume(worker)
  worker.suspended = false
  expect(self.s:set_available(worker.id, not worker.draining), "unknown worker")
end

-- ---- items go out ----

-- A second attempt while the first one runs.
function Fleet:check_straggler(worker, batch, record)
  local options, first = self.options, record.out[1]
  expect(options.speculate and self.closed and batch.count == 1, "item %d goes twice", record.id)
  expect(first.worker.node ~= worker.node, "item %d goes twice to one node", record.id)
  expect(tasks_of(worker) == 0, "item %d goes twice, to a busy worker", record.id)
  expect(batch.attempt == math.max(first.attempt, record.tried) + 1, "straggler %d: attempt %d",
    record.id, batch.attempt)
  expect(not (record.suspect or record.alone), "item %d may not go twice",
    record.id)
  expect(self.limit and self.s.now >= (first.sent or first.seen) + self.limit,
    "item %d is no straggler", record.id)
  self.speculated = self.speculated + 1
  expect(self.speculated <= math.max(1, self.pushed / 10), "too many extra attempts")
end

function Fleet:check_item(worker, batch, record)
  local id = record.id
  expect(not record.outcome, "finished item %d is sent", id)
  expect(not record.due, "item %d is sent before its time", id)
  expect(batch.items[batch.from + id - batch.first] == record.item, "item %d is another", id)
  if #record.out > 0 then return self:check_straggler(worker, batch, record) end
  expect(batch.attempt == record.next, "item %d: attempt %d, not %d", id, batch.attempt,
    record.next)
  if record.suspect then expect(batch.count == 1, "suspect %d is not sent alone", id) end
  if record.alone then
    expect(batch.count == 1 and tasks_of(worker) == 0, "item %d is not isolated", id)
    worker.exclusive = id
    self:meet("isolated")
  end
  if record.avoid == worker.node then
    expect(not self:has_choice(worker), "item %d goes back to its node", id)
  end
  if not record.loss and not record.returned then
    expect(self.buffered < self.options.buffer_bytes or self.options.ordered and id == self.oldest,
      "fresh item %d though results are held", id)
    expect(random() > 0.01 or not self:is_anything_due(worker), "fresh item %d goes first", id)
  end
end

-- Whether a returned item could go to that worker immediately.
function Fleet:is_anything_due(worker)
  local elsewhere = self:has_choice(worker)
  for id = self.oldest, self.pushed do
    local record = self.records[id]
    if record and not record.outcome and #record.out == 0 and (record.loss or record.returned)
      and not record.alone and not record.due
      and not (record.avoid == worker.node and elsewhere) then
      return true
    end
  end
  return false
end

function Fleet:send(worker)
  for _ = 1, random(4) do
    local batch = self.s:next_batch(worker.id)
    if not batch then return end
    expect(not self.stopped, "a batch after stop")
    expect(takes(worker), "a batch for a worker that takes none")
    expect(not worker.exclusive, "a batch for a worker that must be alone")
    expect(#worker.cancelled == 0, "a batch for a worker that has to stop a task")
    expect(batch.count >= 1 and batch.to - batch.from + 1 == batch.count,
      "batch of %d from %d to %d", batch.count, batch.from, batch.to)
    expect(not self.options.batch or batch.count <= self.options.batch, "batch too large")
    local last = batch.first + batch.count - 1
    for id = batch.first, last do
      expect(self.records[id], "item %d has ended and is sent", id)
      self:check_item(worker, batch, self.records[id])
    end
    for id = batch.first, last do
      local attempt = {
        worker = worker, id = id, attempt = batch.attempt, sent = self.s.now,
      }
      if #self.records[id].out == 0 then self.in_flight = self.in_flight + 1 end
      self.records[id]:goes_out(attempt)
      worker.live[#worker.live + 1] = attempt
    end
    expect(tasks_of(worker) <= self.s.workers[worker.id].credit.size, "more in flight than credit")
  end
end

-- ---- attempts end ----

-- An attempt is no longer at its worker.
function Fleet:unassign(attempt)
  local worker, record = attempt.worker, self.records[attempt.id]
  remove_from(worker.live, attempt)
  if worker.exclusive == attempt.id then worker.exclusive = nil end
  self.stale[random(20)] = attempt
  record:comes_back(attempt)
  if #record.out == 0 then self.in_flight = self.in_flight - 1 end
  return record
end

-- An attempt is a cancelled duplicate: its task must still be stopped.
function Fleet:cancel_duplicate(attempt)
  local record = self.records[attempt.id]
  local worker = attempt.worker
  remove_from(worker.live, attempt)
  if worker.exclusive == attempt.id then worker.exclusive = nil end
  record:comes_back(attempt)
  worker.cancelled[#worker.cancelled + 1] = attempt
  self:meet("cancelled duplicate")
  self.cancels[#self.cancels + 1] = attempt
end

function Fleet:ends(record, outcome, fields)
  record:ends(outcome, fields)
  self.buffered = self.buffered + record.bytes
end

-- An attempt came back: decides what becomes of the item.
function Fleet:decide(record)
  if #record.out > 0 then return end
  if record:decide(self.stopped) == "goes" then
    self.records[record.id] = nil
    self.dropped = self.dropped + 1
  end
end

function Fleet:is_asked(record, attempt, err)
  return self.options.retry_on and not self.stopped and record:may_retry(attempt, err.kind)
end

-- An attempt ends with an error of the function. Returns whether the item waits now.
function Fleet:errs(attempt, err, alone, bytes)
  local record = self.records[attempt.id]
  local another = self:is_asked(record, attempt, err) and err.again and not err.raises
  if another then
    self:unassign(attempt)
    record:errs(attempt, err, alone)
    if #record.out > 0 then return false end
    record.next = record.tried + 1
    return true
  end
  if #record.out == 2 then
    self:cancel_duplicate(record.out[1] == attempt and record.out[2] or record.out[1])
  end
  self:unassign(attempt)
  self:ends(record, err.kind, {
    value = err, exact = not alone, bytes = bytes, applied = "yes", attempt = attempt.attempt,
  })
  return false
end

-- The scheduler has just received an error: returns until when the item waits.
function Fleet:set_due(record)
  local backoff = self.options.backoff
  if backoff == 0 then return end
  local most = math.min(backoff * 2.0 ^ (record.next - 2), math.max(10, backoff))
  self:meet("backoff")
  record.due = (self.s.now or 0) + most * self.jitter
  self.waiting[record.id] = record
end

function Fleet:result(worker)
  for _ = 1, random(30) do
    if #worker.live == 0 then return end
    local attempt = pick(worker.live)
    local record = self.records[attempt.id]
    if record.item.killer then return self:die_of(worker, attempt) end
    if record.item.slow and chance(0.97) then return end
    if chance(0.9) then
      self:ends_well(worker, attempt, record)
    else
      self:ends_in_error(worker, attempt, record)
    end
  end
end

function Fleet:ends_well(worker, attempt, record)
  local value, bytes = { result_of = attempt.id }, random(0, 50)
  if chance(0.2) then value = nil end
  if chance(0.2) then value = false end
  if #record.out == 2 then
    self:cancel_duplicate(record.out[1] == attempt and record.out[2] or record.out[1])
  end
  self:unassign(attempt)
  self:ends(record, "ok", { value = value, exact = true, bytes = bytes })
  local sent = attempt.sent or attempt.seen
  if sent then self.durations[#self.durations + 1] = self.s.now - sent end
  expect(self.s:result(worker.id, attempt.id, attempt.attempt, true, value, bytes),
    "result refused")
end

function Fleet:ends_in_error(worker, attempt, record)
  local bytes = random(0, 50)
  local err = {
    kind = pick({ "raise", "raise", "timeout", "cancelled" }), message = "own fault",
    applied = "yes", attempt = attempt.attempt, again = chance(0.7), raises = chance(0.1),
  }
  local asked = self:is_asked(record, attempt, err)
  local waits = self:errs(attempt, err, false, bytes)
  expect(self.s:result(worker.id, attempt.id, attempt.attempt, false, err, bytes),
    "error refused")
  if waits then self:set_due(record) end
  expect((err.message ~= "own fault") == (asked and err.raises or false),
    "item %d: %s", attempt.id, err.message)
end

-- ---- workers die ----

-- Removes a worker of the model; verdict(attempt) returns what this means for each
-- of its tasks, or nil for one that needs nothing.
function Fleet:lose(worker, cause, verdict)
  remove_from(self.workers, worker)
  table.sort(worker.live, function(a, b) return a.id < b.id end)
  for _, attempt in ipairs({ table.unpack(worker.live) }) do
    local what = verdict(attempt)
    if what then
      local record = self:unassign(attempt)
      if what == "not_begun" then
        record:is_refused()
      else
        record:loses(attempt, what, cause.kind)
      end
      self:decide(record)
    end
  end
  for _, attempt in ipairs(worker.cancelled) do self.stale[random(20)] = attempt end
  self:skip_dropped()
  expect(self.s:remove_worker(worker.id, cause), "unknown worker")
  expect(not self.s:remove_worker(worker.id, cause), "removed twice")
end

-- Runs an item that kills its worker.
function Fleet:die_of(worker, killer)
  local cause = { kind = "crash", message = "gone", node = worker.node, signal = 9 }
  local named = self.culprits == "named" or self.culprits == "either" and chance(0.5)
  if named then cause.culprit = { id = killer.id, attempt = killer.attempt } end
  local was_alone = tasks_of(worker) == 1
  self:lose(worker, cause, function(attempt)
    if attempt == killer and named then return "culprit" end
    if named then
      local hurt = self.records[attempt.id].hurt_by
      expect(not hurt[killer.id] or self.culprits == "either" or self.options.speculate,
        "item %d is hurt twice by %d", attempt.id, killer.id)
      hurt[killer.id] = true
      return "bystander"
    end
    return was_alone and self.records[attempt.id].suspect and "culprit" or "suspect"
  end)
end

-- A worker dies for a reason unknown to the model.
function Fleet:die(worker)
  local cause = { kind = pick({ "crash", "memory" }), message = "gone", node = worker.node }
  if chance(0.3) then cause.culprit = pick({ {}, { id = self.pushed + 1, attempt = 1 } }) end
  local was_alone = tasks_of(worker) == 1
  self:lose(worker, cause, function(attempt)
    if cause.culprit then return "bystander" end
    return was_alone and self.records[attempt.id].suspect and "culprit" or "suspect"
  end)
end

-- A worker is killed because of a task.
function Fleet:punish(worker)
  if #worker.live == 0 then return end
  local culprit = pick(worker.live)
  local record = self.records[culprit.id]
  local kind = pick({ "timeout", "memory", "cancelled" })
  local cause = {
    kind = kind, message = "killed", signal = 9, node = worker.node,
    culprit = { id = culprit.id, attempt = culprit.attempt },
  }
  local waits
  local err = { kind = kind, again = self.retries_killed }
  self:lose(worker, cause, function(attempt)
    if attempt ~= culprit then return "bystander" end
    waits = self:errs(attempt, err, true, 0)
  end)
  if waits then self:set_due(record) end
end

function Fleet:leave(worker)
  self:lose(worker, { kind = "draining", message = "leaves" }, function() return "not_begun" end)
end

function Fleet:lose_node()
  local node = "n" .. random(4)
  for i = #self.workers, 1, -1 do
    local worker = self.workers[i]
    if worker and worker.node == node then
      self:lose(worker, { kind = "lost", message = "gone" }, function() return "lost" end)
    end
  end
end

function Fleet:refuse(worker)
  if #worker.live == 0 then return end
  local first, count = pick(worker.live), random(5)
  local expected = 0
  local function is_meant(attempt)
    return attempt.id >= first.id and attempt.id < first.id + count
      and attempt.attempt == first.attempt
  end
  for _, attempt in ipairs({ table.unpack(worker.live) }) do
    if is_meant(attempt) then
      expected = expected + 1
      local record = self:unassign(attempt)
      record:is_refused()
      self:decide(record)
    end
  end
  for _, attempt in ipairs({ table.unpack(worker.cancelled) }) do
    if is_meant(attempt) then remove_from(worker.cancelled, attempt) end
  end
  self:skip_dropped()
  local taken
  if chance(0.5) then
    taken = self.s:refused(worker.id, first.id, count, first.attempt)
  else -- or it had not begun when the worker died of another task
    local cause = { kind = "crash", message = "gone", culprit = {} }
    taken = self.s:not_begun(worker.id, first.id, count, first.attempt, cause)
  end
  expect(taken == expected, "%d of %d refused items are taken back", taken, expected)
end

return { Fleet = Fleet, pick = pick, chance = chance, tasks_of = tasks_of }
