-- SPDX-License-Identifier: MIT
-- The driver's session with one node, shared by all jobs (maps and calls): what is sent and
-- received there, whether the node lives, and what becomes of the session when a connection breaks.
--
-- Its tasks: one opens the session with a message that carries no work, so that a full node gets
-- none; then each of a few request slots has one request under way (at least one is a long poll at
-- a node that has work, for its results); and a heartbeat also connects, at first and again.
-- Messages are numbered, so that one whose reply was lost is sent again but not acted upon again;
-- so are the chunks of records, which are taken in order and once.
--
-- A job is a table with `number` and these methods, none of which may wait:
--   worker_up(worker), worker_down(worker, cause)
--   worker_changed(worker)       its session became, or is no longer, draining or suspect
--   gather(session, out)         adds what the node is to get now (see Session:add_batch)
--   in_flight(worker) -> n       tasks that it has there
--   report(worker, n, cpu, wall), starved(worker, running)
--   refused(worker, first, count, attempt)
--   not_begun(worker, first, count, attempt, cause)   certainly; worker_down of that cause follows
--   progress(worker, id, value)  a task called fleet.progress
--   arrived()                    results were received
--   session_full(session)        the node accepts no session for now, and has no workers for us
--   session_down(session)        the node is lost; worker_down was called for its workers
--   cluster_closed()             there will be no nodes any more
-- and the field `sink`, whose method result(worker, id, attempt, ok, value, bytes) takes results.

local blobs = require("fleet.cluster.blobs")
local errors = require("fleet.errors")
local events = require("fleet.cluster.events")
local log = require("fleet.log")
local sys = require("host.sys")
local task = require("host.task")

local session = {}

local REQUEST_SLOTS = 4
-- Bytes in one message; more goes with the next. Twice as much still goes in one request.
session.MESSAGE_BYTES = 240 * 1024
-- Approximate size of a batch, a reply or a key without its contents.
local HEAD_BYTES = 64
-- Seconds; a longer time limit counts as none (the protocol can express 30 years).
local MAX_TIMEOUT = 1e9
-- Seconds.
local CONNECT_TIMEOUT = 5
local FIRST_REDIAL_DELAY, MAX_REDIAL_DELAY = 0.05, 2
local END_TIMEOUT = 1
local RETIRE_POLL_INTERVAL = 0.1
-- Kinds of the errors of an overloaded node, and when to try again.
local BUSY, BUSY_DELAY = { refused = true, memory = true }, 0.2
-- How often in a row a message or its reply may be damaged on its way before it counts as malformed
-- from the beginning.
local MAX_DAMAGED = 5

--- Times in seconds; each can be set (see fleet.cluster).
session.TIMES = {
  heartbeat = 1,
  suspect_after = 5, -- without an answer: gets no new work
  dead_after = 15,   -- without an answer: what it had runs elsewhere
  reply_after = 10,  -- without a reply, although the node ends a long poll after 5 s: sent again
}

--- @class fleet.Worker
--- @field index integer
--- @field generation integer which process of that index
--- @field session fleet.Session
--- @field ready boolean whether jobs know of it
--- @field removed boolean|nil it died, or its node was lost

--- @class fleet.Session
--- @field connection fleet.Connection
--- @field workers table<integer, fleet.Worker> by index
--- @field draining boolean
--- @field suspect boolean
--- @field is_open boolean whether the node has the session, and the session its workers
--- @field full fleet.Error|nil why the node accepts no session, as long as it does not
--- @field answered_at number by sys.now: its last sign of life
--- @field closed boolean lost or closed: nothing is sent or received any more
--- @field work host.Event there may be something to send
local Session = { MESSAGE_BYTES = session.MESSAGE_BYTES }
Session.__index = Session

--- @class fleet.SessionOptions
--- @field jobs table[] the present jobs, by number and as a list; shared, read-only
--- @field times table as session.TIMES
--- @field prepare fun(worker: fleet.Worker, ready: fun()) does what a new worker needs first
--- @field on_upcall fun(session: fleet.Session, worker: fleet.Worker, number: integer,
--- bytes: string)
--- @field on_print fun(node: string, text: string)
--- @field on_removed fun(worker: fleet.Worker)
--- @field on_lost fun(session: fleet.Session, err: fleet.Error)
--- @field on_change fun(session: fleet.Session) is_open, suspect or full has changed

-- ---- workers ----

--- Introduces a ready worker to a job.
function Session:introduce(job, worker)
  job:worker_up(worker)
  if self.draining or self.suspect then job:worker_changed(worker) end
end

--- Adds a worker, once for each of its generations.
function Session:add_worker(index, generation)
  if generation <= (self.generations[index] or 0) then return end
  self.generations[index] = generation
  local worker = { index = index, generation = generation, session = self, ready = false }
  self.workers[index] = worker
  self.prepare(worker, function()
    if self.closed or worker.removed or worker.ready then return end
    worker.ready = true
    for _, job in ipairs(self.jobs) do self:introduce(job, worker) end
    self.work:notify_one()
  end)
end

--- Removes a worker; `cause_for(job)` gives the cause as each job is to see it.
function Session:remove_worker(worker, cause_for)
  if self.workers[worker.index] ~= worker then return end
  self.workers[worker.index], worker.removed = nil, true
  for _, job in ipairs(self.jobs) do job:worker_down(worker, cause_for(job)) end
  self.on_removed(worker)
  self.work:notify_one()
end

local function workers_changed(self)
  for _, worker in pairs(self.workers) do
    for _, job in ipairs(worker.ready and self.jobs or {}) do job:worker_changed(worker) end
  end
  self.work:notify_one()
end

--- Gives the workers nothing more; they finish what they have.
function Session:set_draining()
  if self.draining then return end
  self.draining = true
  workers_changed(self)
end

local function set_suspect(self, suspect)
  if self.suspect == suspect then return end
  self.suspect = suspect
  log.info(suspect and "node does not answer" or "node answers again",
    { node = self.connection.name })
  workers_changed(self)
  self.on_change(self)
end

-- The node accepts no session, so nothing of ours is there.
local function set_full(self, err)
  if self.full then return end
  self.full, self.full_since = err, sys.now()
  self.connection.full, self.connection.error = true, err
  log.warn("node accepts no more drivers for now",
    { node = self.connection.name, error = err.message })
  for _, job in ipairs(self.jobs) do job:session_full(self) end
  self.on_change(self)
end

--- Returns the number of tasks that a worker has, of all jobs.
---@param worker fleet.Worker
---@return integer
function Session:load(worker)
  local n = 0
  for _, job in ipairs(self.jobs) do n = n + job:in_flight(worker) end
  return n
end

-- Whether any task of ours is there.
local function has_tasks(self)
  for _, worker in pairs(self.workers) do
    if self:load(worker) > 0 then return true end
  end
  return false
end

-- ---- what is sent to the node ----

--- Makes sure that the node has, or gets with this message, the blobs that their user needs.
---@param out table
---@param user table uses them until Session:release(user)
---@param list {key: string, bytes: string}[]
function Session:need(out, user, list)
  if self.users[user] then return end
  self.users[user] = list
  for _, blob in ipairs(list) do
    if self.blobs:use(blob.key, #blob.bytes) then
      out.blobs[#out.blobs + 1] = { blob.key, blob.bytes }
      out.bytes = out.bytes + #blob.bytes
    end
  end
end

--- Ends the use of blobs that `need` began.
---@param user table
function Session:release(user)
  local list = self.users[user]
  if not list then return end
  self.users[user] = nil
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
---@param keys string[] blobs that it needs; the last is the job's definition
---@param range {first: integer, count: integer, attempt: integer, timeout: number, items: string}
function Session.add_batch(_, out, worker, job, keys, range)
  keys = table.move(keys, 1, #keys, 1, {}) -- no table may be in a message twice
  out.batches[#out.batches + 1] = {
    worker.index, worker.generation, job.number, keys, range.first, range.count,
    range.attempt, range.timeout < MAX_TIMEOUT and range.timeout or 0, range.items,
  }
  out.bytes = out.bytes + #range.items + HEAD_BYTES * (1 + #keys)
end

--- Replies to an upcall of a task.
---@param worker fleet.Worker
---@param number integer
---@param bytes string
function Session:reply(worker, number, bytes)
  self.replies[#self.replies + 1] = { worker.index, worker.generation, number, bytes }
  self.work:notify_one()
end

--- Cancels tasks of a worker; they still end with results. Does not wait.
---@param worker fleet.Worker
---@param job table
---@param first integer
---@param count integer
function Session:cancel(worker, job, first, count)
  if self.closed or worker.removed then return end
  local range = { worker.index, worker.generation, job.number, first, count }
  task.spawn(function()
    while not self.closed and not worker.removed do
      if self.connection:cancel({ range }, self.times.suspect_after) then return end
      task.sleep(MAX_REDIAL_DELAY) -- the heartbeat reconnects
    end
  end)
end

local function new_message()
  return { bytes = 0, blobs = {}, drops = {}, closes = {}, batches = {}, replies = {} }
end

-- Adds replies to the next message, before anything else: tasks wait for them, and occupy their
-- workers' memory.
local function gather_replies(self, out)
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

-- Fills the next message; returns whether there is anything in it.
local function gather(self)
  local out = self.out
  if #self.replies > 0 then gather_replies(self, out) end
  if not self.draining and not self.suspect then
    local jobs = self.jobs
    self.rotation = self.rotation + 1 -- another job is first each time
    for i = 1, #jobs do
      if out.bytes > session.MESSAGE_BYTES then break end
      jobs[(self.rotation + i) % #jobs + 1]:gather(self, out)
    end
  end
  return #out.batches + #out.replies + #out.drops + #out.closes + #out.blobs > 0
end

-- Whether there should be a long poll at the node: it may have results or a new worker to report,
-- or it must learn that its last chunk has come (it keeps that until then, and does not leave
-- before).
local function needs_poll(self)
  if self.requests > 0 then return false end
  return self.acked < self.ack or not next(self.workers) or has_tasks(self)
end

-- Returns the next message as bytes, and begins the one after it; or nil and an error.
local function take_message(self)
  local out = self.out
  self.out = new_message()
  self.seq = self.seq + 1
  out.seq, out.ack, self.acked = self.seq, self.ack, self.ack
  if #out.batches > 0 then self.unconfirmed[self.seq] = out.batches end
  return self.connection:encode_work(out)
end

-- ---- request slots ----

local abort -- below

-- Sends a message until there is a reply or the session is closed.
local function exchange(self, bytes, seq)
  local damaged = 0
  while not self.closed do
    local bulk = self.connection.bulk
    local number, records, by_node = self.connection:work(bytes, self.times.reply_after, seq)
    if self.closed then return end
    if number then
      self.is_open = true
      local ok, err = events.receive(self, number, records)
      if not ok then abort(self, err) end
      return
    elseif by_node and BUSY[records.kind] then -- it was not acted upon
      if self.is_open then
        log.info("node is overloaded; trying again",
          { node = self.connection.name, error = records.message })
      else
        set_full(self, records)
        if sys.now() - self.full_since >= self.times.dead_after then
          abort(self, records)
          return
        end
      end
      task.sleep(BUSY_DELAY)
    elseif by_node and records.kind == "protocol" and damaged < MAX_DAMAGED then
      damaged = damaged + 1
    elseif by_node then
      abort(self, records)
    elseif records.kind ~= "timeout" then -- the connection broke
      if bulk == self.connection.bulk then self.connection:close_bulk() end
      self.poll_now:notify()
      if not self.connection.bulk then self.reconnected:wait() end
    end
  end
end

local function run_slot(self)
  while not self.closed do
    if not (gather(self) or needs_poll(self)) then
      self.work:wait()
    else
      local is_full = self.out.bytes > session.MESSAGE_BYTES
      local bytes, err = take_message(self)
      if not bytes then
        abort(self, err)
        return
      end
      if is_full then self.work:notify_one() end -- another slot may send the rest
      local seq = self.seq
      self.requests = self.requests + 1
      exchange(self, bytes, seq)
      self.requests = self.requests - 1
      self.unconfirmed[seq] = nil
    end
  end
end

local function on_status(self, status)
  if status.state == "draining" then self:set_draining() end
  if not self.is_open then return end
  -- a worker may have come while the node had no session to report it to
  for _, w in ipairs(status.workers) do
    if not self.workers[w[1]] and w[2] > 0 then self:add_worker(w[1], w[2]) end
  end
end

-- Opens the session, then adds the node's workers and begins to send.
local function open_session(self)
  while not self.closed and not self.connection.bulk do self.reconnected:wait() end
  local bytes, err = take_message(self)
  if not bytes then return abort(self, err) end
  exchange(self, bytes, self.seq)
  if self.closed then return end
  self.full, self.connection.full, self.connection.error = nil, nil, nil
  on_status(self, self.connection.status)
  for _ = 1, REQUEST_SLOTS do task.spawn(run_slot, self) end
  self.on_change(self)
end

-- ---- heartbeat ----

-- Whether the node is still the same process, and still has our session.
local function is_same(self)
  local status = self.connection.status
  return status.boot == self.boot and (status.session or not self.is_open)
end

-- Kinds of errors after which the node may still live; "protocol" is an answer that was damaged.
local INCONCLUSIVE = { timeout = true, lost = true, protocol = true }

-- Reconnects to a node that may still live, until it must be dead. A refused connection is certain:
-- nothing listens there, so the process has ended.
local function reconnect(self)
  local delay, failure = FIRST_REDIAL_DELAY
  set_suspect(self, true)
  self.connection:close()
  repeat
    local left = self.answered_at + self.times.dead_after - sys.now()
    local ok, err = self.connection:connect(math.max(0.1, math.min(CONNECT_TIMEOUT, left)))
    if self.closed then
      self.connection:close()
      return nil, err
    end
    if ok and not is_same(self) then
      return nil, errors.format("lost", "%s has restarted", self.connection.name)
    elseif ok then
      ok, err = self.connection:open_bulk()
    end
    if ok then
      self.answered_at = sys.now()
      set_suspect(self, false)
      on_status(self, self.connection.status)
      self.reconnected:notify()
      return true
    end
    failure = err
    if not INCONCLUSIVE[failure.kind] then return nil, failure end
    task.sleep(delay)
    delay = math.min(2 * delay, MAX_REDIAL_DELAY)
  until self.closed or sys.now() - self.answered_at >= self.times.dead_after
  return nil, failure
end

-- Asks the node for its status once. Returns true, or nil and why the session is lost.
local function poll_status(self)
  local times, silent = self.times, sys.now() - self.answered_at
  -- a node is suspect when it has been silent that long, whenever it was asked
  local timeout = self.suspect and math.min(times.suspect_after, times.dead_after - silent)
    or times.suspect_after - silent
  local status, err = self.connection:request_status(math.max(0.1, timeout))
  if self.closed then return true end
  if status and not is_same(self) then
    return nil, errors.format("lost", "%s dropped our session", self.connection.name)
  elseif status then
    self.answered_at = sys.now()
    if not self.connection.bulk then return reconnect(self) end
    set_suspect(self, false)
    on_status(self, status)
    return true
  elseif err.kind == "lost" then
    return reconnect(self)
  elseif not INCONCLUSIVE[err.kind] then
    return nil, err
  end
  set_suspect(self, true)
  if sys.now() - self.answered_at < times.dead_after then return true end
  return nil, errors.format("timeout", "no answer for %g s", times.dead_after)
end

local function heartbeat(self)
  local alive, err = self.connection:open_bulk()
  if self.closed then return self.connection:close() end
  if alive then
    self.reconnected:notify()
  else
    alive, err = reconnect(self)
  end
  while not self.closed do
    if not alive then return abort(self, err) end
    self.polls = self.polls + 1
    self.polled:notify()
    self.poll_now:wait(self.times.heartbeat)
    if not self.closed then alive, err = poll_status(self) end
  end
end

--- Polls the node's status immediately, and waits for the answer or until the session is closed.
---@param deadline number by sys.now
function Session:poll(deadline)
  local polls = self.polls
  self.poll_now:notify()
  while not self.closed and self.polls == polls do
    local left = deadline - sys.now()
    if left <= 0 then return end
    self.polled:wait(left)
  end
end

-- ---- beginning and end ----

--- Makes a session with a node that is connected.
---@param connection fleet.Connection
---@param options fleet.SessionOptions
---@return fleet.Session
function session.new(connection, options)
  connection:begin_session()
  return setmetatable({
    connection = connection, boot = connection.status.boot, key = connection.session_key,
    jobs = options.jobs, times = options.times, prepare = options.prepare,
    on_upcall = options.on_upcall, on_print = options.on_print, on_removed = options.on_removed,
    on_lost = options.on_lost, on_change = options.on_change,
    workers = {}, generations = {}, draining = connection.state == "draining", suspect = false,
    closed = false, is_open = false, full = nil, full_since = nil, answered_at = sys.now(),
    blobs = blobs.new(), users = {}, replies = {}, out = new_message(), rotation = 0,
    unconfirmed = {}, -- batches by the number of their message, until that has come for certain
    seq = 0, ack = 0, acked = 0, early = {}, touched = {}, late = 0,
    requests = 0,               -- requests under way
    work = task.event(),        -- there may be something to send: wakes one request slot
    poll_now = task.event(),    -- the heartbeat is to poll immediately
    reconnected = task.event(), -- there is a new bulk connection
    polls = 0, polled = task.event(), -- the heartbeat has polled
  }, Session)
end

--- Opens the session and has the node work for the jobs. To be called once. Does not wait.
function Session:start()
  task.spawn(heartbeat, self)
  task.spawn(open_session, self)
end

local function stop(self)
  self.closed = true
  for _, event in ipairs({ self.work, self.poll_now, self.reconnected, self.polled }) do
    event:notify()
  end
end

local function drop_workers(self, message)
  local cause = { kind = "lost", node = self.connection.name, message = message }
  local workers = {}
  for _, worker in pairs(self.workers) do workers[#workers + 1] = worker end
  for _, worker in ipairs(workers) do self:remove_worker(worker, function() return cause end) end
  for _, job in ipairs(self.jobs) do job:session_down(self) end
end

-- Ends the session because of an error, also a draining node's when it leaves.
function abort(self, err)
  if self.closed then return end
  local connection, has_left = self.connection, self.draining and not has_tasks(self)
  local name = connection.name
  stop(self)
  if has_left then
    connection.left = true
    err = errors.format("draining", "%s has drained and left", name)
    log.info("node drained and left", { node = name })
  else
    log.warn("node lost", { node = name, error = err.message })
  end
  connection.state, connection.error = "down", err -- jobs may mention it
  drop_workers(self, ("node %s was lost (%s)"):format(name, err.message))
  connection:close()
  self.on_lost(self, err)
end

--- Ends a job: its tasks at the node are cancelled.
---@param job table
function Session:close_job(job)
  self.out.closes[#self.out.closes + 1] = job.number
  self:release(job)
  self.work:notify_one()
end

--- Gives the node nothing more, waits until it has finished our tasks, and ends the session.
function Session:retire()
  self:set_draining()
  while not self.closed and has_tasks(self) do task.sleep(RETIRE_POLL_INTERVAL) end
  if self.closed then return end
  drop_workers(self, ("node %s left the fleet"):format(self.connection.name))
  self:close()
end

--- Ends the session and closes the connections. Waits at most a second for the node's reply, or, if
--- the session is to be `abandoned`, sends the node nothing. Idempotent.
---@param abandoned boolean|nil
function Session:close(abandoned)
  local ends_at_node = not (self.closed or abandoned) and self.seq > 0 and self.connection.control
  if not self.closed then stop(self) end
  if ends_at_node then self.connection:end_session(END_TIMEOUT) end
  self.connection:close()
end

return session
