-- SPDX-License-Identifier: MIT
-- The driver's session with one node, shared by all jobs (maps and calls): what is sent and
-- received there, whether the node lives, and what becomes of the session when a channel breaks.
-- host.channel numbers the messages of both directions, sends again what was lost and limits what
-- is under way.
--
-- Its tasks: a heartbeat, which opens the session first and connects again when the channel breaks,
-- and a sender, which has the jobs send while there is room.
--
-- A job is a table with `number` and these methods, none of which may wait:
--   worker_up(worker), worker_down(worker, cause)
--   worker_changed(worker)       its session became, or is no longer, draining or suspect
--   gather(session) -> more      sends about one message of what the node is to get now; whether
--                                there is more
--   in_flight(worker) -> n       tasks that it has there
--   report(worker, n, cpu, wall)  may be missing
--   starved(worker, running)
--   refused(worker, first, count, attempt)
--   give_back(worker, received)  takes back what messages after that bring for a worker that died;
--                                may be missing, see Session:remember
--   not_begun(worker, first, count, attempt, cause)   certainly; worker_down of that cause follows
--   progress(worker, id, value)  a task called fleet.progress
--   arrived()                    results were received; may be missing
--   session_full(session)        the node accepts no session for now, and has no workers for us
--   session_down(session)        the node is lost; worker_down was called for its workers
--   cluster_closed()             there will be no nodes any more
-- and the fields `sink`, whose method result(worker, id, attempt, ok, value, bytes) takes results,
-- `keys`, the encoded list of the blobs that its workers need, of which the last is its definition,
-- and `timeout`, of one task in seconds.

local blobs = require("fleet.cluster.blobs")
local errors = require("fleet.errors")
local events = require("fleet.cluster.events")
local log = require("fleet.log")
local sys = require("host.sys")
local task = require("host.task")

local session = {}

-- Seconds.
local CONNECT_TIMEOUT = 5
local MIN_TIMEOUT = 0.1
local FIRST_REDIAL_DELAY, MAX_REDIAL_DELAY = 0.05, 2
local END_TIMEOUT = 1
local RETIRE_POLL_INTERVAL = 0.1
-- When to try again after a node was full, or had no room for a blob.
local BUSY_DELAY = 0.2
-- Kinds of the errors of an overloaded node.
local BUSY = { refused = true, memory = true }

--- Times in seconds; each can be set (see fleet.cluster).
session.TIMES = {
  heartbeat = 1,
  suspect_after = 5, -- without an answer: gets no new work
  dead_after = 15,   -- without an answer: what it had runs elsewhere
}

--- @class fleet.Worker
--- @field index integer
--- @field generation integer which process of that index
--- @field session fleet.Session
--- @field ready boolean whether jobs know of it
--- @field removed boolean|nil it died, or its node was lost

--- @class fleet.Session
--- @field connection fleet.Connection
--- @field messages host.Session
--- @field workers table<integer, fleet.Worker> by index
--- @field draining boolean
--- @field suspect boolean
--- @field takes boolean whether jobs may send tasks now, as far as there is room
--- @field is_open boolean whether the node has the session, and the session its workers
--- @field full fleet.Error|nil why the node accepts no session, as long as it does not
--- @field answered_at number by sys.now: its last sign of life
--- @field closed boolean lost or closed: nothing is sent or received any more
local Session = {}
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

-- Sets whether jobs may send tasks now, as far as there is room.
local function update(self)
  self.takes = self.is_open and not (self.closed or self.draining or self.suspect
    or self.lacks_room)
end

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
    self:wake()
  end)
end

--- Removes a worker; `cause_for(job)` gives the cause as each job is to see it.
function Session:remove_worker(worker, cause_for)
  if self.workers[worker.index] ~= worker then return end
  self.workers[worker.index], worker.removed = nil, true
  for _, job in ipairs(self.jobs) do job:worker_down(worker, cause_for(job)) end
  self.on_removed(worker)
  self:wake()
end

local function workers_changed(self)
  for _, worker in pairs(self.workers) do
    for _, job in ipairs(worker.ready and self.jobs or {}) do job:worker_changed(worker) end
  end
  self:wake()
end

--- Gives the workers nothing more; they finish what they have.
function Session:set_draining()
  if self.draining then return end
  self.draining = true
  update(self)
  workers_changed(self)
end

local function set_suspect(self, suspect)
  if self.suspect == suspect then return end
  self.suspect = suspect
  update(self)
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

--- Has the sender run: a job may have something to send.
function Session:wake()
  self.work:notify_one()
end

--- Returns how many tasks may be sent now; when that is 0, the jobs are asked to gather later.
---@return integer
function Session:room()
  return self.takes and self.messages:room() or 0
end

-- Appends to the next message, whatever room there is: it is little, or waited for.
local function add(self, ...)
  if self.closed then return end
  local ok, err = self.messages:add(...)
  if not ok then log.error("cannot send", { node = self.connection.name, error = err.message }) end
  self.messages:flush()
end

--- Sends the blobs that their user needs, unless the node has them.
---@param user table uses them until Session:release(user)
---@param list {key: string, bytes: string}[]
function Session:need(user, list)
  if self.users[user] and not self.has_forgotten then return end
  for _, blob in ipairs(list) do
    local is_new = not self.users[user] and self.blobs:use(blob.key, #blob.bytes)
    if is_new or self.forgotten[blob.key] then add(self, "blob", blob.key, blob.bytes) end
    self.forgotten[blob.key] = nil
  end
  self.users[user], self.has_forgotten = list, next(self.forgotten) ~= nil
end

--- Ends the use of blobs that `need` began.
---@param user table
function Session:release(user)
  local list = self.users[user]
  if not list then return end
  self.users[user] = nil
  for _, blob in ipairs(list) do
    for _, key in ipairs(self.blobs:release(blob.key) or {}) do add(self, "drop", key) end
  end
end

--- The node had no room for blobs of a job: they are sent again, a little later.
---@param job table
function Session:forget_blobs(job)
  for user, list in pairs(self.users) do
    for _, blob in ipairs((user == job or user.job == job) and list or {}) do
      self.forgotten[blob.key] = true
    end
  end
  self.has_forgotten = next(self.forgotten) ~= nil
  if self.lacks_room then return end
  self.lacks_room = true
  update(self)
  task.spawn(function()
    task.sleep(BUSY_DELAY)
    self.lacks_room = false
    update(self)
    self:wake()
  end)
end

--- Remembers tasks of a job that has no method give_back, until their message has arrived for
--- certain.
---@param sent table {message: integer, worker: fleet.Worker, job: table, first: integer,
--- count: integer, attempt: integer}
function Session:remember(sent)
  self.last_sent = self.last_sent + 1
  self.unconfirmed[self.last_sent] = sent
end

-- Forgets the tasks of messages that have arrived.
local function confirm(self, acked)
  local list, first = self.unconfirmed, self.first_sent
  while first <= self.last_sent and list[first].message <= acked do
    list[first] = nil
    first = first + 1
  end
  self.first_sent = first
end

--- Gives tasks back to their jobs that cannot have reached a worker: their messages came too late.
---@param worker fleet.Worker
---@param received integer number of the last message that came in time
function Session:give_back(worker, received)
  for _, job in ipairs(self.jobs) do
    if job.give_back then job:give_back(worker, received) end
  end
  for i = self.first_sent, self.last_sent do
    local sent = self.unconfirmed[i]
    if sent.worker == worker and sent.message > received then
      sent.job:refused(worker, sent.first, sent.count, sent.attempt)
    end
  end
end

--- Replies to an upcall of a task.
---@param worker fleet.Worker
---@param number integer
---@param bytes string
function Session:reply(worker, number, bytes)
  add(self, "answer", worker.index, worker.generation, number, bytes)
end

--- Cancels tasks of a worker; they still end with results. Does not wait.
---@param worker fleet.Worker
---@param job table
---@param first integer
---@param count integer
function Session:cancel(worker, job, first, count)
  if self.closed or worker.removed then return end
  local range = { worker.index, worker.generation, job.number, first, count }
  local after = self.messages:number()
  task.spawn(function()
    while not self.closed and not worker.removed do
      if self.connection:cancel(after, { range }, self.times.suspect_after) then return end
      task.sleep(MAX_REDIAL_DELAY) -- the heartbeat reconnects
    end
  end)
end

-- Has the jobs send what they have, while there is room: about a message of each in turn.
local function gather(self)
  local jobs, more = self.jobs, self:room() > 0
  while more do
    more = false
    self.rotation = self.rotation + 1 -- another job is first each time
    for i = 1, #jobs do
      more = jobs[(self.rotation + i) % #jobs + 1]:gather(self) or more
    end
    more = more and self:room() > 0
  end
  if not self.closed then self.messages:flush() end
end

local function send(self)
  while not self.closed do
    gather(self)
    self.work:wait()
  end
end

-- ---- opening ----

local abort -- below

local function on_status(self, status)
  if status.state == "draining" then self:set_draining() end
  if not self.is_open then return end
  -- a worker may have come while the node had no session to report it to
  for _, w in ipairs(status.workers) do
    if not self.workers[w[1]] and w[2] > 0 then self:add_worker(w[1], w[2]) end
  end
end

-- Opens the session at the node, or goes on with it. Returns true, also when the node is full for
-- now; or nil and an error.
local function open(self, timeout)
  local ok, err, by_node = self.connection:open_session(self.messages, self.key, timeout)
  if self.closed then return nil, err end
  if ok then
    self.answered_at = sys.now()
    self.full, self.connection.full, self.connection.error = nil, nil, nil
    if self.is_open then return true end
    self.is_open = true
    update(self)
    on_status(self, self.connection.status)
    task.spawn(send, self)
    self.on_change(self)
    return true
  elseif not (by_node and BUSY[err.kind]) then
    return nil, err, by_node
  elseif self.is_open then
    return nil, err -- it has no memory for a moment
  end
  set_full(self, err)
  if sys.now() - self.full_since >= self.times.dead_after then return nil, err, true end
  return true
end

-- ---- heartbeat ----

-- Seconds until the node counts as dead, unless it answers before.
local function time_left(self)
  return math.max(0, self.answered_at + self.times.dead_after - sys.now())
end

-- How long to wait for an answer: not beyond that time, but for one that may already be there.
local function within(self, seconds)
  return math.max(MIN_TIMEOUT, math.min(seconds, time_left(self)))
end

-- Whether the node is still the same process, and still has our session.
local function is_same(self)
  local status = self.connection.status
  return status.boot == self.boot and (status.session or not self.is_open)
end

-- Kinds of errors after which the node may still live: "protocol" is an answer that was damaged,
-- and "tls" may be due to keys that are being replaced on one side before the other.
local INCONCLUSIVE = {
  timeout = true, lost = true, protocol = true, refused = true, memory = true, tls = true,
}

-- Logs why the node or we refuse the other's certificate, once.
local function report_refusal(self, err)
  if err.kind ~= "tls" or err.message == self.refusal then return end
  self.refusal = err.message
  log.warn("cannot go on with a node yet", { node = self.connection.name, error = err.message })
end

-- Connects again to a node that may still live, and goes on with the session there, until the node
-- must be dead. A refused connection is certain: nothing listens there, so the process has ended.
local function reconnect(self)
  local delay = FIRST_REDIAL_DELAY
  set_suspect(self, true)
  while true do
    self.connection:close()
    -- which waits that long for the connection, and again for the answer
    local ok, err, by_node = self.connection:connect(within(self, 2 * CONNECT_TIMEOUT) / 2)
    if ok and not is_same(self) then
      return nil, errors.format("lost", "%s has restarted", self.connection.name)
    elseif ok and not self.closed then
      ok, err, by_node = open(self, within(self, self.times.suspect_after))
    end
    if self.closed then
      self.connection:close()
      return nil, err
    elseif ok then
      self.answered_at = sys.now()
      set_suspect(self, false)
      on_status(self, self.connection.status)
      self:wake()
      return true
    elseif by_node or not INCONCLUSIVE[err.kind] or time_left(self) == 0 then
      return nil, err
    end
    report_refusal(self, err)
    task.sleep(math.min(delay, time_left(self)))
    delay = math.min(2 * delay, MAX_REDIAL_DELAY)
  end
end

-- Asks the node for its status once. Returns true, or nil and why the session is lost.
local function poll_status(self)
  local timeout = self.times.suspect_after
  -- a node is suspect when it has been silent that long, whenever it was asked
  if not self.suspect then timeout = timeout - (sys.now() - self.answered_at) end
  local status, err = self.connection:request_status(within(self, timeout))
  if self.closed then return true end
  if status and not is_same(self) then
    return nil, errors.format("lost", "%s dropped our session", self.connection.name)
  elseif status then
    self.answered_at = sys.now()
    set_suspect(self, false)
    on_status(self, status)
    return true
  elseif err.kind == "lost" then
    return reconnect(self)
  elseif not INCONCLUSIVE[err.kind] then
    return nil, err
  end
  set_suspect(self, true)
  if time_left(self) > 0 then return true end
  return nil, errors.format("timeout", "no answer for %g s", self.times.dead_after)
end

-- Opens the session, unless it is open.
local function open_first(self)
  if self.is_open then return true end
  local ok, err, by_node = open(self, self.times.suspect_after)
  if ok or by_node or self.closed or not INCONCLUSIVE[err.kind] then return ok, err end
  return reconnect(self)
end

local function heartbeat(self)
  local alive, err = open_first(self)
  while not self.closed do
    if not alive then return abort(self, err) end
    self.polls = self.polls + 1
    self.polled:notify()
    self.poll_now:wait(self.is_open and math.min(self.times.heartbeat, time_left(self))
      or BUSY_DELAY)
    if self.closed then return end
    alive, err = poll_status(self)
    if alive and not self.closed then alive, err = open_first(self) end
  end
end

--- Has the heartbeat find out immediately whether the channel still works. Does not wait.
function Session:check_now()
  self.poll_now:notify()
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

local function on_arrived(self, acked)
  confirm(self, acked)
  events.arrived(self)
end

-- The channel has ended.
local function on_end(self, err, final)
  if final then return abort(self, err) end
  self.poll_now:notify()
end

--- Makes a session with a node that is connected.
---@param connection fleet.Connection
---@param options fleet.SessionOptions
---@return fleet.Session
function session.new(connection, options)
  local self = setmetatable({
    connection = connection, boot = connection.status.boot, key = sys.random(16),
    jobs = options.jobs, times = options.times, prepare = options.prepare,
    on_upcall = options.on_upcall, on_print = options.on_print, on_removed = options.on_removed,
    on_lost = options.on_lost, on_change = options.on_change,
    workers = {}, generations = {}, draining = connection.state == "draining", suspect = false,
    closed = false, takes = false, is_open = false, full = nil, full_since = nil,
    answered_at = sys.now(),
    blobs = blobs.new(), users = {}, rotation = 0,
    forgotten = {}, has_forgotten = false, -- keys of blobs for which the node had no room
    lacks_room = false, -- because of them, nothing is sent for a moment
    unconfirmed = {}, first_sent = 1, last_sent = 0, -- see Session:remember
    sink = events.NO_SINK, from = nil, bytes = 0, touched = {}, late = 0, -- see events.lua
    work = task.event(),     -- the jobs may have something to send
    poll_now = task.event(), -- the heartbeat is to poll immediately
    polls = 0, polled = task.event(), -- the heartbeat has polled
  }, Session)
  self.messages = connection:new_messages({
    self = self, on_event = events.take, on_arrived = on_arrived, on_room = Session.wake,
    on_end = on_end,
  })
  return self
end

--- Opens the session and has the node work for the jobs. To be called once. Does not wait.
function Session:start()
  task.spawn(heartbeat, self)
end

local function stop(self)
  self.closed = true
  update(self)
  self.messages:close()
  for _, event in ipairs({ self.work, self.poll_now, self.polled }) do event:notify() end
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
  add(self, "close", job.number)
  self:release(job)
end

--- Gives the node nothing more, waits until it has finished our tasks, and ends the session.
function Session:retire()
  self:set_draining()
  while not self.closed and has_tasks(self) do task.sleep(RETIRE_POLL_INTERVAL) end
  if self.closed then return end
  drop_workers(self, ("node %s left the fleet"):format(self.connection.name))
  self:close()
end

--- Ends the session and closes the channel. Waits at most a second for the node's reply, or, if
--- the session is to be `abandoned`, sends the node nothing. Idempotent.
---@param abandoned boolean|nil
function Session:close(abandoned)
  local ends_at_node = self.is_open and not (self.closed or abandoned)
  if not self.closed then stop(self) end
  if ends_at_node then self.connection:end_session(END_TIMEOUT, self.key) end
  self.connection:close()
end

return session
