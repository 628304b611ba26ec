-- SPDX-License-Identifier: MIT
-- What a node sends in a session: numbered chunks of records. A record is the result of a task, or
-- an event: of a task, a worker or the node (see host/wire/protocol.h).

local codec = require("host.codec")
local errors = require("fleet.errors")
local log = require("fleet.log")

local events = {}

-- Receives the results of jobs that have ended: they are late.
local NO_SINK = { result = function() end }

-- ---- events, by name ----

local handlers = {}

-- The results that follow are those of the worker and the job of this report.
function handlers.report(self, index, report)
  local worker = self.workers[index]
  if worker and worker.generation ~= report.generation then worker = nil end
  local job = self.jobs.by_number[report.job]
  self.from, self.bytes = worker, report.bytes / math.max(report.n, 1)
  self.sink = job and job.sink or NO_SINK
  if not job then
    self.late = self.late + report.n
    return
  end
  if worker and report.n > 0 then job:report(worker, report.n, report.cpu, report.wall) end
  self.touched[job] = true
end

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
    elseif event.why == "frozen" or event.job and event.job ~= job.number then
      cause.culprit = { id = 0, attempt = 0 } -- no task of this job
    end
    return cause
  end
end

-- Gives back the tasks that certainly had not begun when their worker died: those that the node had
-- not passed on to it, and those of messages that have not reached the node.
local function give_back_not_begun(self, worker, event, cause_for)
  local by_number, missing = self.jobs.by_number, {}
  for _, range in ipairs(event.not_begun or {}) do
    local job = by_number[range[1]]
    if job then job:not_begun(worker, range[2], range[3], range[4], cause_for(job)) end
  end
  for _, seq in ipairs(event.missing or {}) do missing[seq] = true end
  for seq, batches in pairs(self.unconfirmed) do
    local received = not event.seq or seq <= event.seq and not missing[seq]
    for _, batch in ipairs(received and {} or batches) do
      local job = by_number[batch[3]]
      if job and batch[1] == worker.index and batch[2] == worker.generation then
        job:refused(worker, batch[5], batch[6], batch[7])
      end
    end
  end
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
  give_back_not_begun(self, worker, event, cause_for)
  self:remove_worker(worker, cause_for)
end

function handlers.refused(self, index, batch)
  local worker = self.workers[index]
  if not worker then return end
  local job = self.jobs.by_number[batch.job]
  if job then job:refused(worker, batch.first, batch.count, batch.attempt) end
  if batch.why == "draining" then
    self:set_draining()
  elseif batch.generation ~= worker.generation then
    local cause = { kind = "refused", message = "the worker is gone", node = self.connection.name }
    self:remove_worker(worker, function() return cause end)
    if batch.generation then self:add_worker(index, batch.generation) end
  end
  self.work:notify_one()
end

function handlers.state(self, _, event)
  if event.state == "draining" then self:set_draining() end
end

-- ---- records ----

-- Takes one record; the hot path of the driver. `self.from` is the worker of the last report,
-- `self.sink` takes the results of its job.
local function on_record(self, id, attempt, ok, value)
  if id == 0 then
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

--- Takes a chunk of records when those before it have come, and each only once: connections and
--- nng's threads may reorder chunks.
---@param self fleet.Session
---@param number integer of the chunk, 0 for none
---@param records string
---@return boolean|nil true, or nil and an error when it is malformed
---@return fleet.Error|nil
function events.receive(self, number, records)
  if number <= self.ack then return true end -- none, or one that has come before
  local chunk = records
  if number > self.ack + 1 then self.early[number], chunk = records, nil end
  while chunk do
    self.ack = self.ack + 1
    self.from, self.sink = nil, NO_SINK
    local n, err = codec.each_result(chunk, on_record, self)
    if not n then return nil, err end
    chunk = self.early[self.ack + 1]
    self.early[self.ack + 1] = nil
  end
  for job in pairs(self.touched) do
    self.touched[job] = nil
    job:arrived()
  end
  return true
end

return events
