-- SPDX-License-Identifier: MIT
-- Our session with one node, shared by all jobs (maps and calls): what goes there and what
-- comes back, whether it lives, and what becomes of the session when a connection breaks.
--
-- Tasks: one that opens the session, by a message that brings no work, so that a node that is full
-- is given none; then a few lanes (each has one request under way; one at least is held at a node
-- that has work, for its answers); and a heartbeat, which also connects, at first and again.
-- Messages carry numbers, so one whose answer was lost is sent again and not run again; so do the
-- chunks of records, which are taken in order and once.
--
-- A job is a table with `number` and these methods, none of which waits:
--   worker_up(worker), worker_down(worker, cause)
--   worker_changed(worker)       the draining or suspect of its session is another
--   gather(session, out)            adds what the node is to get now (see Session:add_batch)
--   in_flight(worker) -> n       tasks it has there
--   report(worker, n, cpu, wall), starved(worker, running)
--   refused(worker, first, count, attempt)
--   not_begun(worker, first, count, attempt, cause)   certainly; worker_down of that cause follows
--   output(worker, id, attempt, what, value)
--   arrived()                    results were taken
--   session_full(session)              the node takes no session more for now, and has no workers for us
--   session_down(session)              the node is lost, its workers were taken down before
--   cluster_closed()                there will be no node any more
-- and the field `sink`, whose method result(worker, id, attempt, ok, value, bytes) takes results.

local blobs = require("fleet.cluster.blobs")
local codec = require("host.codec")
local errors = require("fleet.errors")
local log = require("fleet.log")
local sys = require("host.sys")
local task = require("host.task")

local session = {}

local LANES = 4
-- Bytes in one message; what is more goes with the next. Twice as much still goes in one request.
session.MESSAGE_BYTES = 240 * 1024
-- About what a batch, an answer and each key take besides their contents.
local HEAD_BYTES = 64
-- Seconds: a longer time limit is none, 30 years are as much as the protocol can say.
local LONGEST = 1e9
local CONNECT_TIMEOUT = 5
local REDIAL_FIRST, REDIAL_LAST = 0.05, 2
-- Answers of a node that has too much to do, and when to ask again.
local BUSY, BUSY_DELAY = { refused = true, memory = true }, 0.2
-- How often in a row a message, or its answer, may be damaged on its way before it is taken to
-- have been wrong from the beginning.
local MOST_DAMAGED = 5
-- For the last words to a node that we leave.
local FAREWELL = 1
-- Between two looks at whether a node that leaves has finished.
local RETIRE_LOOK = 0.1

--- Seconds; every one can be set (see fleet.cluster).
session.TIMES = {
  heartbeat = 1,
  suspect_after = 5, -- without an answer: gets no new work
  dead_after = 15,   -- without an answer: what it had runs elsewhere
  reply_after = 10,  -- without a reply, though the node answers every 5 s: sent again
}

--- @class fleet.Worker
--- @field index integer
--- @field generation integer which process of that index
--- @field session fleet.Session
--- @field ready boolean whether jobs know of it

--- @class fleet.Session
--- @field node fleet.Connection
--- @field workers table<integer, fleet.Worker> by index
--- @field draining boolean
--- @field suspect boolean
--- @field known boolean whether the node has our session, and we its workers
--- @field full fleet.Error|nil why it takes no session, as long as it does not
--- @field answered number by sys.now: its last sign of life
--- @field over boolean lost or closed: nothing is sent or taken any more
local Session = { MESSAGE_BYTES = session.MESSAGE_BYTES }
Session.__index = Session

--- @class fleet.SessionOptions
--- @field jobs table[] the jobs there are, by number and as a list; shared, read only
--- @field times table as session.TIMES
--- @field prepare fun(worker: fleet.Worker, ready: fun()) does what a new worker needs first
--- @field on_upcall fun(session: fleet.Session, worker: fleet.Worker, number: integer, bytes: string)
--- @field on_gone fun(worker: fleet.Worker)
--- @field on_lost fun(session: fleet.Session, err: fleet.Error)
--- @field on_change fun(session: fleet.Session) whether it is known, suspect or full has changed

-- ---- workers come and go ----

local function each_ready(self, method)
  for _, worker in pairs(self.workers) do
    if worker.ready then
      for _, job in ipairs(self.jobs) do job[method](job, worker) end
    end
  end
end

local function worker_ready(self, worker)
  if self.over or worker.gone or worker.ready then return end
  worker.ready = true
  for _, job in ipairs(self.jobs) do self:introduce(job, worker) end
  self.work:notify_one()
end

--- Tells a job of a worker that is ready.
function Session:introduce(job, worker)
  job:worker_up(worker)
  if self.draining or self.suspect then job:worker_changed(worker) end
end

local function add_worker(self, index, generation)
  if generation <= (self.seen[index] or 0) then return end
  self.seen[index] = generation
  local worker = { index = index, generation = generation, session = self, ready = false }
  self.workers[index] = worker
  self.prepare(worker, function() worker_ready(self, worker) end)
end

local function remove_worker(self, worker, cause_for)
  if self.workers[worker.index] ~= worker then return end
  self.workers[worker.index], worker.gone = nil, true
  for _, job in ipairs(self.jobs) do job:worker_down(worker, cause_for(job)) end
  self.on_gone(worker)
  self.work:notify_one()
end

-- Its workers finish what they have and get nothing more.
local function set_draining(self)
  if self.draining then return end
  self.draining = true
  each_ready(self, "worker_changed")
  self.work:notify_one()
end

local function set_suspect(self, suspect)
  if self.suspect == suspect then return end
  self.suspect = suspect
  if suspect then
    log.info("node does not answer", { node = self.connection.name })
  else
    log.info("node answers again", { node = self.connection.name })
  end
  each_ready(self, "worker_changed")
  self.work:notify_one()
  self.on_change(self)
end

-- The node takes no session: nothing of ours is there.
local function set_full(self, err)
  if self.full then return end
  self.full, self.full_since = err, sys.now()
  self.connection.full, self.connection.error = true, err
  log.warn("node takes no more drivers for now", { node = self.connection.name, error = err.message })
  for _, job in ipairs(self.jobs) do job:session_full(self) end
  self.on_change(self)
end

-- Whether the node may have something to tell: results, or a worker's return.
local function busy(self)
  if not next(self.workers) then return true end
  for _, worker in pairs(self.workers) do
    for _, job in ipairs(self.jobs) do
      if job:in_flight(worker) > 0 then return true end
    end
  end
  return false
end

--- Tasks that the worker has, of all jobs.
---@param worker fleet.Worker
---@return integer
function Session:load(worker)
  local n = 0
  for _, job in ipairs(self.jobs) do n = n + job:in_flight(worker) end
  return n
end

-- Whether anything of ours runs there.
local function works(self)
  for _, worker in pairs(self.workers) do
    if self:load(worker) > 0 then return true end
  end
  return false
end

-- ---- records ----

local events = {}

-- Results follow the report of their job and worker. For a job that is over they are late.
local LATE = { result = function() end }

function events.report(self, index, report)
  local worker = self.workers[index]
  if worker and worker.generation ~= report.generation then worker = nil end
  local job = self.jobs.by_number[report.job]
  self.from, self.bytes = worker, report.bytes / math.max(report.n, 1)
  self.sink = job and job.sink or LATE
  if not job then
    self.late = self.late + report.n
    return
  end
  if worker and report.n > 0 then job:report(worker, report.n, report.cpu, report.wall) end
  self.touched[job] = true
end

local function of(self, index, fields)
  local worker = self.workers[index]
  if not worker or worker.generation ~= fields.generation then return nil end
  return worker, self.jobs.by_number[fields.job]
end

function events.starved(self, index, state)
  local worker, job = of(self, index, state)
  if job then job:starved(worker, state.running) end
end

function events.output(self, index, words)
  local worker, job = of(self, index, words)
  if job then job:output(worker, words.id, words.attempt, words.what, words.value) end
end

function events.upcall(self, index, upcall)
  local worker = of(self, index, upcall)
  if worker then self.on_upcall(self, worker, upcall.number, upcall.bytes) end
end

-- Why the process died, for the job whose task is to blame and for the others.
local function death(self, index, how)
  local name, signal = self.connection.name, how.signal ~= 0 and how.signal or nil
  local why = signal and "killed by signal " .. signal or "exit code " .. how.code
  if how.why == "timeout" or how.why == "cancelled" then
    why = ("killed: a task that was %s would not stop"):format(how.why == "timeout"
      and "out of time" or "cancelled")
  elseif how.why == "frozen" then
    why = "killed: it gave no sign of life"
  elseif how.why == "memory" then
    why = "out of memory"
  end
  return function(job)
    local cause = {
      kind = how.why == "memory" and "memory" or "crash", signal = signal, node = name,
      message = ("worker %d of %s died (%s)"):format(index, name, why),
    }
    if how.job == job.number and (how.id or 0) > 0 then
      cause.culprit = { id = how.id, attempt = how.attempt }
      cause.kind = how.why or "crash"
    elseif how.why == "frozen" or how.job and how.job ~= job.number then
      cause.culprit = { id = 0, attempt = 0 } -- nobody here
    end
    return cause
  end
end

-- The tasks of a worker that died that have certainly not begun: the node knows those that it had
-- passed on, and we the messages that have not come there.
local function give_back_not_begun(self, worker, how, cause_for)
  local by_number, missing = self.jobs.by_number, {}
  for _, range in ipairs(how.not_begun or {}) do
    local job = by_number[range[1]]
    if job then job:not_begun(worker, range[2], range[3], range[4], cause_for(job)) end
  end
  for _, seq in ipairs(how.missing or {}) do missing[seq] = true end
  for seq, batches in pairs(self.under_way) do
    local has_come = not how.seq or seq <= how.seq and not missing[seq]
    for _, batch in ipairs(has_come and {} or batches) do
      local job = by_number[batch[3]]
      if job and batch[1] == worker.index and batch[2] == worker.generation then
        job:refused(worker, batch[5], batch[6], batch[7])
      end
    end
  end
end

function events.worker(self, index, how)
  local worker = self.workers[index]
  if how.state == "up" then
    add_worker(self, index, how.generation)
  elseif worker and worker.generation == how.generation then
    log.info("worker died",
      { node = self.connection.name, worker = index, signal = how.signal, why = how.why })
    local cause_for = death(self, index, how)
    give_back_not_begun(self, worker, how, cause_for)
    remove_worker(self, worker, cause_for)
  end
end

function events.refused(self, index, batch)
  local worker = self.workers[index]
  if not worker then return end
  local job = self.jobs.by_number[batch.job]
  if job then job:refused(worker, batch.first, batch.count, batch.attempt) end
  if batch.why == "draining" then
    set_draining(self)
  elseif batch.generation ~= worker.generation then
    local cause = { kind = "refused", message = "the worker is gone", node = self.connection.name }
    remove_worker(self, worker, function() return cause end)
    if batch.generation then add_worker(self, index, batch.generation) end
  end
  self.work:notify_one()
end

function events.state(self, _, state)
  if state.state == "draining" then set_draining(self) end
end

-- One record; the hot path of the whole driver. `self.from` is the worker of the last report,
-- `self.sink` what takes its job's results.
local function on_record(self, id, attempt, ok, value)
  if id == 0 then
    local event = events[attempt]
    if event then event(self, ok, value) end
    return
  end
  if not ok then
    value = errors.wrap(value)
    value.node, value.attempt = self.connection.name, attempt
    value.applied = value.applied or "yes"
  end
  self.sink:result(self.from, id, attempt, ok, value, self.bytes)
end

-- Takes a chunk of records in its turn. Connections and nng's threads may reorder them.
local function take(self, number, records)
  if number <= self.ack then return true end -- none, or one that came before
  local chunk = records
  if number > self.ack + 1 then self.early[number], chunk = records, nil end
  while chunk do
    self.ack = self.ack + 1
    self.from, self.sink = nil, LATE
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

-- ---- what goes to the node ----

--- Makes sure that the node has (or gets with this message) what a job needs.
---@param out table
---@param owner table who uses them, until Session:release(owner)
---@param list {key: string, bytes: string}[]
function Session:need(out, owner, list)
  if self.users[owner] then return end
  self.users[owner] = list
  for _, blob in ipairs(list) do
    if self.blobs:use(blob.key, #blob.bytes) then
      out.blobs[#out.blobs + 1] = { blob.key, blob.bytes }
      out.bytes = out.bytes + #blob.bytes
    end
  end
end

--- Says that `owner` needs its blobs no more.
function Session:release(owner)
  local list = self.users[owner]
  if not list then return end
  self.users[owner] = nil
  for _, blob in ipairs(list) do
    for _, key in ipairs(self.blobs:release(blob.key) or {}) do
      self.out.drops[#self.out.drops + 1] = key
    end
  end
end

--- Adds a batch to a message.
---@param out table
---@param worker fleet.Worker
---@param job table
---@param keys string[] blobs it needs; the last is the job's definition
---@param range {first: integer, count: integer, attempt: integer, timeout: number, items: string}
function Session.add_batch(_, out, worker, job, keys, range)
  keys = table.move(keys, 1, #keys, 1, {}) -- no table goes twice into a message
  out.batches[#out.batches + 1] = {
    worker.index, worker.generation, job.number, keys, range.first, range.count,
    range.attempt, range.timeout < LONGEST and range.timeout or 0, range.items,
  }
  out.bytes = out.bytes + #range.items + HEAD_BYTES * (1 + #keys)
end

--- Answers an "upcall" of a task.
---@param worker fleet.Worker
---@param number integer
---@param bytes string
function Session:reply(worker, number, bytes)
  self.replies[#self.replies + 1] = { worker.index, worker.generation, number, bytes }
  self.work:notify_one()
end

--- Has tasks of a worker cancelled. Does not wait; they end with results as ever.
---@param worker fleet.Worker
---@param job table
---@param first integer
---@param count integer
function Session:cancel(worker, job, first, count)
  if self.over or worker.gone then return end
  local range = { worker.index, worker.generation, job.number, first, count }
  task.spawn(function()
    while not self.over and not worker.gone do
      if self.connection:cancel({ range }, self.times.suspect_after) then return end
      task.sleep(REDIAL_LAST) -- the heartbeat sees to the connection
    end
  end)
end

-- Answers first: tasks wait for them, and hold their workers' memory.
local function take_replies(self, out)
  local left = {}
  for _, reply in ipairs(self.replies) do
    if out.bytes > session.MESSAGE_BYTES then
      left[#left + 1] = reply
    else
      out.replies[#out.replies + 1] = reply
      out.bytes = out.bytes + #reply[4] + HEAD_BYTES
    end
  end
  self.replies = left
end

-- Whether a request should be at the node: for what it may have to tell, or to say that its last
-- words have come (it keeps them until then, and does not leave before).
local function wanted(self)
  return self.held == 0 and (self.acked < self.ack or busy(self))
end

local PARTS = { "blobs", "drops", "closes", "batches", "replies" }

-- Puts what there is to say into the next message; whether there is anything.
local function gather(self)
  local out = self.out
  if #self.replies > 0 then take_replies(self, out) end
  if not self.draining and not self.suspect then
    -- another job is first each time
    local jobs = self.jobs
    self.turn = self.turn + 1
    for i = 1, #jobs do
      if out.bytes > session.MESSAGE_BYTES then break end
      jobs[(self.turn + i) % #jobs + 1]:gather(self, out)
    end
  end
  return #out.batches + #out.replies + #out.drops + #out.closes + #out.blobs > 0
end

-- The next message as bytes; the one after it begins.
local function take_message(self)
  local out = self.out
  self.seq = self.seq + 1
  out.seq, out.ack, self.acked = self.seq, self.ack, self.ack
  local bytes, err = self.connection:encode_work(out)
  if #out.batches > 0 then self.under_way[self.seq] = out.batches end
  out.bytes = 0
  for _, part in ipairs(PARTS) do
    if #out[part] > 0 then out[part] = {} end
  end
  return bytes, err
end

-- ---- lanes ----

local lose

-- Sends a message until it is answered, or the session is over.
local function exchange(self, bytes, seq)
  local damaged = 0
  while not self.over do
    local bulk = self.connection.bulk
    local number, records, answered = self.connection:work(bytes, self.times.reply_after, seq)
    if self.over then return end
    if number then
      self.known = true
      local ok, err = take(self, number, records)
      if not ok then lose(self, err) end
      return
    elseif answered and BUSY[records.kind] then -- it was not acted upon
      if self.known then
        log.info("node takes nothing more for now",
          { node = self.connection.name, error = records.message })
      else
        set_full(self, records)
        if sys.now() - self.full_since >= self.times.dead_after then
          lose(self, records)
          return
        end
      end
      task.sleep(BUSY_DELAY)
    elseif answered and records.kind == "protocol" and damaged < MOST_DAMAGED then
      damaged = damaged + 1
    elseif answered then
      lose(self, records)
    elseif records.kind ~= "timeout" then -- the connection broke
      if bulk == self.connection.bulk then self.connection:close_bulk() end
      self.alarm:notify()
      if not self.connection.bulk then self.mended:wait() end
    end
  end
end

local function lane(self)
  while not self.over do
    if not (gather(self) or wanted(self)) then
      self.work:wait()
    else
      local full = self.out.bytes > session.MESSAGE_BYTES
      local bytes, err = take_message(self)
      if not bytes then
        lose(self, err)
        return
      end
      -- one that is full: another lane may have the rest
      if full then self.work:notify_one() end
      local seq = self.seq
      self.held = self.held + 1
      exchange(self, bytes, seq)
      self.held = self.held - 1
      self.under_way[seq] = nil
    end
  end
end

local function on_status(self, status)
  if status.state == "draining" then set_draining(self) end
  if not self.known then return end
  -- also tells of workers that came while no session was there to be told
  for _, w in ipairs(status.workers) do
    if not self.workers[w[1]] and w[2] > 0 then add_worker(self, w[1], w[2]) end
  end
end

-- Opens the session, then takes in the node's workers and begins to send.
local function open_session(self)
  while not self.over and not self.connection.bulk do self.mended:wait() end
  local bytes, err = take_message(self)
  if not bytes then return lose(self, err) end
  exchange(self, bytes, self.seq)
  if self.over then return end
  self.full, self.connection.full, self.connection.error = nil, nil, nil
  on_status(self, self.connection.status)
  for _ = 1, LANES do task.spawn(lane, self) end
  self.on_change(self)
end

-- ---- heartbeat ----

-- Whether the node is still the one, and still has our session.
local function is_same(self)
  local status = self.connection.status
  return status.boot == self.boot and (status.session or not self.known)
end

-- What says nothing of whether the node lives: "protocol" is an answer that was damaged.
local PASSES = { timeout = true, lost = true, protocol = true }

-- Connects again to a node that may live on, as long as it may be alive. A refusal is certain:
-- nobody listens there, so the process is gone.
local function mend(self)
  local delay, failure = REDIAL_FIRST
  set_suspect(self, true)
  self.connection:close()
  repeat
    local left = self.answered + self.times.dead_after - sys.now()
    local ok, err = self.connection:connect(math.max(0.1, math.min(CONNECT_TIMEOUT, left)))
    if self.over then
      self.connection:close()
      return nil, err
    end
    if ok and not is_same(self) then
      return nil, errors.new({ kind = "lost", message = self.connection.name .. " has started anew" })
    elseif ok then
      ok, err = self.connection:open_bulk()
      if ok then
        self.answered = sys.now()
        set_suspect(self, false)
        on_status(self, self.connection.status)
        self.mended:notify()
        return true
      end
    end
    failure = err
    if not PASSES[failure.kind] then return nil, failure end
    task.sleep(delay)
    delay = math.min(2 * delay, REDIAL_LAST)
  until self.over or sys.now() - self.answered >= self.times.dead_after
  return nil, failure
end

local function beat(self)
  local times, silent = self.times, sys.now() - self.answered
  -- it is suspect when it has been silent for so long, whenever it was asked
  local patience = self.suspect and math.min(times.suspect_after, times.dead_after - silent)
    or times.suspect_after - silent
  local status, err = self.connection:ask_status(math.max(0.1, patience))
  if self.over then return true end
  if status and is_same(self) then
    self.answered = sys.now()
    if not self.connection.bulk then return mend(self) end
    set_suspect(self, false)
    on_status(self, status)
    return true
  elseif status then
    return nil, errors.new({ kind = "lost", message = self.connection.name .. " dropped our session" })
  elseif err.kind == "lost" then
    return mend(self)
  elseif not PASSES[err.kind] then
    return nil, err
  end
  set_suspect(self, true)
  if sys.now() - self.answered < self.times.dead_after then return true end
  return nil, errors.new({
    kind = "timeout", message = ("no answer for %g s"):format(self.times.dead_after),
  })
end

-- Connects for the first time.
local function connect(self)
  local ok = self.connection:open_bulk()
  if self.over then
    self.connection:close()
  elseif ok then
    self.mended:notify()
    return true
  else
    return mend(self)
  end
end

local function heartbeat(self)
  local alive, err = connect(self)
  while not self.over do
    if not alive then return lose(self, err) end
    self.beats = self.beats + 1
    self.beaten:notify()
    self.alarm:wait(self.times.heartbeat)
    if not self.over then alive, err = beat(self) end
  end
end

--- Has the heartbeat ask the node at once, and waits until it has an answer, or the session is over.
---@param deadline number by sys.now
function Session:look(deadline)
  local beats = self.beats
  self.alarm:notify()
  while not self.over and self.beats == beats do
    local left = deadline - sys.now()
    if left <= 0 then return end
    self.beaten:wait(left)
  end
end

-- ---- beginning and end ----

--- Makes a session with a connected node, a session of its own.
---@param node fleet.Connection
---@param options fleet.SessionOptions
---@return fleet.Session
function session.new(node, options)
  node:begin_session()
  return setmetatable({
    node = node, boot = node.status.boot, session_key = node.session_key,
    jobs = options.jobs, times = options.times, prepare = options.prepare,
    on_upcall = options.on_upcall, on_gone = options.on_gone, on_lost = options.on_lost,
    on_change = options.on_change,
    workers = {}, seen = {}, draining = node.state == "draining", suspect = false, over = false,
    blobs = blobs.new(), users = {}, replies = {},
    out = { bytes = 0, blobs = {}, drops = {}, closes = {}, batches = {}, replies = {} },
    known = false, full = nil, full_since = nil,
    under_way = {}, -- batches by the number of their message, until that is known to have come
    seq = 0, ack = 0, acked = 0, early = {}, touched = {}, late = 0, held = 0, turn = 0,
    answered = sys.now(),
    work = task.event(),   -- there may be something to send: one lane is to look
    alarm = task.event(),  -- the heartbeat is to look at once
    mended = task.event(), -- there is a new bulk connection
    beats = 0, beaten = task.event(), -- the heartbeat knows how it stands
  }, Session)
end

--- Opens the session, and has the node work for the jobs. To be called once. Does not wait.
function Session:start()
  if self.connection.state == "draining" then self.draining = true end
  task.spawn(heartbeat, self)
  task.spawn(open_session, self)
end

local function stop(self)
  self.over = true
  self.work:notify()
  self.alarm:notify()
  self.mended:notify()
  self.beaten:notify()
end

local function drop_workers(self, cause)
  local workers = {}
  for _, worker in pairs(self.workers) do workers[#workers + 1] = worker end
  for _, worker in ipairs(workers) do remove_worker(self, worker, function() return cause end) end
  for _, job in ipairs(self.jobs) do job:session_down(self) end
end

function lose(self, err)
  if self.over then return end
  local node, has_left = self.connection, self.draining and not works(self)
  local name = node.name
  stop(self)
  if has_left then
    node.left = true
    err = errors.new({ kind = "draining", message = name .. " has drained and left" })
    log.info("node drained and left", { node = name })
  else
    log.warn("node lost", { node = name, error = err.message })
  end
  node.state, node.error = "down", err -- jobs may say so
  local cause = {
    kind = "lost", node = name, message = ("node %s was lost (%s)"):format(name, err.message),
  }
  drop_workers(self, cause)
  self.connection:close()
  self.on_lost(self, err)
end

--- Says that a job is over: what it still has there is cancelled.
---@param job table
function Session:close_job(job)
  self.out.closes[#self.out.closes + 1] = job.number
  self:release(job)
  self.work:notify_one()
end

--- Gives the node nothing more, and ends the session when it has finished what it has of ours.
--- Waits for that.
function Session:retire()
  set_draining(self)
  while not self.over and works(self) do task.sleep(RETIRE_LOOK) end
  if self.over then return end
  local name = self.connection.name
  drop_workers(self, {
    kind = "lost", node = name, message = ("node %s left the fleet"):format(name),
  })
  self:close()
end

--- Forgets the session: nothing is said to the node or to jobs. Idempotent.
function Session:abandon()
  if not self.over then stop(self) end
  self.connection:close()
end

--- Ends the session and closes the connections; waits for the node's word for a second at most.
function Session:close()
  if self.over then return end
  stop(self)
  if self.seq > 0 and self.connection.control then self.connection:end_session(FAREWELL) end
  self.connection:close()
end

return session
