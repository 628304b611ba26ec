-- SPDX-License-Identifier: MIT
-- What a node sends in a session: events, each the result of a task, or news of a task, a worker or
-- the node (see host/wire/protocol.h).

local errors = require("fleet.errors")
local log = require("fleet.log")

local events = {}

-- Receives the results of jobs that have ended: they are late.
events.NO_SINK = { result = function() end }

-- The results that follow are those of the worker and the job of this report.
local function on_report(self, index, generation, number, n, cpu, wall, bytes)
  local worker, job = self.workers[index], self.jobs.by_number[number]
  if worker and worker.generation ~= generation then worker = nil end
  self.from, self.bytes = worker, n > 0 and bytes / n or bytes
  if not job then
    self.sink, self.late = events.NO_SINK, self.late + n
    return
  end
  self.sink = job.sink
  if worker and n > 0 and job.report then job:report(worker, n, cpu, wall) end
  if job.arrived then self.touched[job] = true end
end

-- ---- rarer events, by name ----

local handlers = {}

-- The worker and the job of an event; nil when the worker's process is another one by now.
local function find(self, index, event)
  local worker = self.workers[index]
  if not worker or worker.generation ~= event.generation then return nil end
  return worker, self.jobs.by_number[event.job]
end

function handlers.starved(self, index, event)
  local worker, job = find(self, index, event)
  if job then job:starved(worker, event.running) end
end

function handlers.output(self, index, event)
  local worker, job = find(self, index, event)
  if job and event.what == "print" then
    self.on_print(self.connection.name, event.value)
  elseif job then
    job:progress(worker, event.id, event.value)
  end
end

function handlers.upcall(self, index, event)
  local worker = find(self, index, event)
  if worker then self.on_upcall(self, worker, event.number, event.bytes) end
end

-- Why the node killed a worker.
local KILLED = {
  timeout = "killed: a task that was out of time would not stop",
  cancelled = "killed: a task that was cancelled would not stop",
  frozen = "killed: it gave no sign of life",
  draining = "killed: its node had no more time to drain",
  memory = "out of memory",
}

-- Returns a function that gives the cause of a worker's death as a job sees it: the one whose task
-- was the culprit, or another.
local function death(self, index, event)
  local node, signal = self.connection.name, event.signal ~= 0 and event.signal or nil
  local why = KILLED[event.why] or signal and "killed by signal " .. signal
    or "exit code " .. event.code
  return function(job)
    local cause = {
      kind = event.why == "memory" and "memory" or "crash", signal = signal, node = node,
      message = ("worker %d of %s died (%s)"):format(index, node, why),
    }
    if event.job == job.number and (event.id or 0) > 0 then
      cause.culprit = { id = event.id, attempt = event.attempt }
      cause.kind = event.why or "crash"
    elseif event.why == "frozen" or event.why == "draining"
      or event.job and event.job ~= job.number then
      cause.culprit = { id = 0, attempt = 0 } -- no task of this job
    end
    return cause
  end
end

-- Gives back the tasks that certainly had not begun when their worker died: those that the node had
-- not passed on to it, and those of messages that have not reached the node.
local function give_back_not_begun(self, worker, event, cause_for)
  for _, range in ipairs(event.not_begun or {}) do
    local job = self.jobs.by_number[range[1]]
    if job then job:not_begun(worker, range[2], range[3], range[4], cause_for(job)) end
  end
  if event.received then self:give_back(worker, event.received) end
end

function handlers.worker(self, index, event)
  if event.state == "up" then
    self:add_worker(index, event.generation)
    return
  end
  local worker = find(self, index, event)
  if not worker then return end
  log.info("worker died",
    { node = self.connection.name, worker = index, signal = event.signal, why = event.why })
  local cause_for = death(self, index, event)
  worker.removed = true -- gets nothing of what is given back
  give_back_not_begun(self, worker, event, cause_for)
  self:remove_worker(worker, cause_for)
end

-- The blobs of this driver alone are too large for the node.
local function fail_batch(self, worker, job, batch)
  local err = errors.new({
    kind = "too_large", node = self.connection.name, applied = "no",
    message = "the functions and modules of this driver need too much memory at the node",
  })
  for id = batch.first, batch.first + batch.count - 1 do
    job.sink:result(worker, id, batch.attempt, false, err, 0)
  end
  if job.arrived then self.touched[job] = true end
end

function handlers.refused(self, index, batch)
  local worker = self.workers[index]
  if not worker then return end
  local job, why = self.jobs.by_number[batch.job], batch.why
  if job and why == "too_large" then return fail_batch(self, worker, job, batch) end
  -- it is not to be sent again at once
  local is_removed = why == "gone" and batch.generation ~= worker.generation
  if is_removed then
    worker.removed = true
  elseif why == "draining" then
    self:set_draining()
  elseif why == "room" and job then
    self:forget_blobs(job)
  end
  if job then job:refused(worker, batch.first, batch.count, batch.attempt) end
  if is_removed then
    local cause = { kind = "refused", message = "the worker is gone", node = self.connection.name }
    self:remove_worker(worker, function() return cause end)
    if batch.generation then self:add_worker(index, batch.generation) end
  end
  self:wake()
end

function handlers.state(self, _, event)
  if event.state == "draining" then self:set_draining() end
end

-- ---- all events ----

--- Takes one event; the hot path of the driver. `self.from` is the worker of the last report,
--- `self.sink` takes the results of its job.
---@param self fleet.Session
---@param id integer of a task; or 0, and then its name, the worker, and its fields
function events.take(self, id, attempt, ok, value, job, n, cpu, wall, bytes)
  if id == 0 then
    if attempt == "report" then return on_report(self, ok, value, job, n, cpu, wall, bytes) end
    local handler = handlers[attempt]
    if handler then handler(self, ok, value) end
    return
  end
  if not ok then
    value = errors.wrap(value)
    value.node, value.attempt = self.connection.name, attempt
    value.applied = value.applied or "yes"
  end
  self.sink:result(self.from, id, attempt, ok, value, self.bytes)
end

--- Ends a message of events.
---@param self fleet.Session
function events.arrived(self)
  self.from, self.sink = nil, events.NO_SINK
  local touched = self.touched
  if not next(touched) then return end
  self:wake() -- its workers have room for more
  for job in pairs(touched) do
    touched[job] = nil
    job:arrived()
  end
end

return events
