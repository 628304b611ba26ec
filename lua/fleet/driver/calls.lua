-- SPDX-License-Identifier: MIT
-- Single calls of functions on nodes: a job of the cluster (see fleet.cluster.session) whose every
-- task is a call of its own, with a future. A call runs at most once: if its worker or node is lost
-- it fails, and the error tells whether it may have run.

local attribution = require("fleet.scheduler.attribution")
local codec = require("host.codec")
local digest = require("fleet.digest")
local errors = require("fleet.errors")
local future = require("fleet.base.future")
local log = require("fleet.log")
local sys = require("host.sys")
local task = require("host.task")

local calls = {}

-- A task that calls waits for what it called, in the same workers: with a limit on calls at a time
-- they might wait for each other for ever. Memory is the limit.
local CONCURRENCY = 1000000
-- A worker that does not stop a cancelled call is killed, and what runs beside it fails, so a
-- worker with such a call counts as this loaded.
local CANCELLING_LOAD = 1000000000

--- @class fleet.Calls
--- @field number integer as a job
local Calls = {}
Calls.__index = Calls

local run_timer -- below, with the time limits

--- Makes the calls of a cluster and adds them to it. Does not wait.
---@param cluster fleet.Cluster
---@return fleet.Calls
function calls.new(cluster)
  local definition = assert(codec.encode({ kind = "call", concurrency = CONCURRENCY }))
  local key = digest.sha256(definition)
  local self = setmetatable({
    cluster = cluster,
    key = key, blobs = { { key = key, bytes = definition } }, -- what every call needs
    keys = codec.encode({ key }),
    by_id = {}, last_id = 0,
    sessions = {},   -- by name or address of a node: the session that was found last
    waiting = {},    -- by session: list of calls that were not sent yet
    counts = {},     -- by worker: calls that it has, including those being cancelled
    cancelling = {}, -- by worker: the latter
    idle = nil,      -- the worker that has ended the last of its calls
    queues = {}, next_timeout = math.huge, timer = task.event(), -- see below, time limits
  }, Calls)
  self.sink = self
  task.spawn(run_timer, self)
  cluster:add_job(self)
  return self
end

-- ---- as a job ----

function Calls.starved() end

function Calls:in_flight(worker)
  return self.counts[worker] or 0
end

local end_timeout -- below, with the time limits

-- Takes a call away from its worker.
local function take_back(self, call)
  local worker, session = call.worker, call.session
  local count = worker and self.counts[worker]
  if count then
    self.counts[worker] = count - 1
    if count == 1 then self.idle = worker end
    local cancelling = call.cancelled and self.cancelling[worker]
    if cancelling then self.cancelling[worker] = cancelling > 1 and cancelling - 1 or nil end
  end
  if session and call.modules[1] then session:release(call) end
  call.worker, call.session = nil, nil
end

local function forget(self, call)
  self.by_id[call.first] = nil
  end_timeout(call)
  take_back(self, call)
end

local function fail(self, call, err)
  forget(self, call)
  return call:fail(err)
end

-- Fails a call that a worker had. For a cast, all that was asked for is that it begins: if it has,
-- the error can only be logged.
local function fail_in_worker(self, call, err)
  if fail(self, call, err) or not call.cast then return end
  log.warn("a function that was cast failed", { node = err.node, error = tostring(err) })
end

-- Fails a call whose worker was removed.
local function fail_by(self, call, cause, kind, applied)
  fail_in_worker(self, call, errors.new({
    kind = kind, message = cause.message, signal = cause.signal, node = cause.node,
    attempt = call.worker and 1 or nil, applied = applied,
  }))
end

local function on_worker(self, worker)
  local list = {}
  for _, call in pairs(self.by_id) do
    if call.worker == worker then list[#list + 1] = call end
  end
  table.sort(list, function(a, b) return a.first < b.first end)
  return list
end

function Calls:worker_down(worker, cause)
  self.counts[worker], self.cancelling[worker] = nil, nil
  for _, call in ipairs(on_worker(self, worker)) do
    local culprit = cause.culprit
    local is_culprit = culprit and culprit.id == call.first
    if call.cancelled or cause.kind == "refused" then
      self:refused(worker, call.first)
    else
      fail_by(self, call, cause, (is_culprit or not culprit) and cause.kind or "crash",
        is_culprit and "yes" or "unknown")
    end
  end
  -- calls for this very process will not find it again
  for _, call in ipairs(self.waiting[worker.session] or {}) do
    if call.target.worker == worker and self.by_id[call.first] then
      fail_by(self, call, cause, cause.kind, "no")
    end
  end
end

function Calls:cluster_closed()
  local open = {}
  for _, call in pairs(self.by_id) do open[#open + 1] = call end
  for _, call in ipairs(open) do
    fail(self, call, errors.new({
      kind = "cancelled", message = "the connections were closed",
      applied = call.worker and "unknown" or "no",
    }))
  end
  self.timer:notify()
end

--- As a job: gives back the calls that a worker cannot have got, as the message `received` was the
--- last that came in time.
function Calls:give_back(worker, received)
  for _, call in ipairs(on_worker(self, worker)) do
    if call.message > received then self:refused(worker, call.first) end
  end
end

function Calls:refused(worker, first)
  local call = self.by_id[first]
  if not call or call.worker ~= worker then return end
  if call.cancelled then
    forget(self, call)
  else
    take_back(self, call)
    self:submit(call)
  end
end

function Calls:not_begun(worker, first, count, _, cause)
  for id = first, first + count - 1 do
    local call = self.by_id[id]
    if call and call.worker == worker then
      call.not_begun = (call.not_begun or 0) + (cause.culprit and 0 or 1)
      if call.not_begun <= attribution.MAX_NOT_BEGUN then
        self:refused(worker, id)
      else
        fail_by(self, call, cause, cause.kind, "no")
      end
    end
  end
end

function Calls:progress(_, id, value)
  local call = self.by_id[id]
  if not call then return end
  call.progressed = value
  if call.cast and call:resolve({ n = 0 }) then end_timeout(call) end
end

-- The worker that has ended its last call, if it belongs to the session and has nothing to do.
local function idle_worker(self, session)
  local worker = self.idle
  if worker and worker.session == session and worker.ready and not worker.removed
    and not self.cancelling[worker] and session:load(worker) == 0 then
    return worker
  end
  return nil
end

-- The worker of the session with the least to do, and its load.
local function least_loaded(self, session)
  local found, least
  for _, worker in pairs(session.workers) do
    local load = worker.ready and not worker.removed
      and session:load(worker) + (self.cancelling[worker] and CANCELLING_LOAD or 0)
    if load and (not found or load < least or load == least and worker.index < found.index) then
      found, least = worker, load
    end
  end
  return found, least
end

-- Sends a call; returns whether there was room and a worker.
local function send(self, session, call)
  if not session.takes then return false end
  local worker = call.target.worker or idle_worker(self, session) or least_loaded(self, session)
  if not worker then return false end
  session:need(self, self.blobs)
  if call.modules[1] then session:need(call, call.modules) end
  local n, message = session.messages:batch(worker.index, worker.generation, call.keys,
    self.number, call.first, 1, call.cast and 0 or call.timeout, call.item)
  if n == 0 then return false end
  call.worker, call.message = worker, message
  local counts = self.counts
  counts[worker] = (counts[worker] or 0) + 1
  return true
end

function Calls:gather(session)
  local list = self.waiting[session]
  local left
  for _, call in ipairs(list or {}) do
    if self.by_id[call.first] and not send(self, session, call) then -- else it has already ended
      left = left or {}
      left[#left + 1] = call
    end
  end
  self.waiting[session] = left
  return false
end

--- As a sink: takes the result of a call.
function Calls:result(worker, id, _, ok, value)
  local call = self.by_id[id]
  if not call or call.worker ~= worker then
    if worker then worker.session.late = worker.session.late + 1 end
  elseif call.cancelled then
    worker.session.late = worker.session.late + 1
    forget(self, call)
  elseif ok then
    forget(self, call)
    call:resolve(value)
  else
    fail_in_worker(self, call, value)
  end
end

-- ---- which node ----

-- The session with the node of that name or address; or nil and the error of there being none.
local function find_session(self, name)
  local found, draining = self.sessions[name], nil
  if found and not (found.closed or found.draining) then
    local n = found.connection
    if n.name == name or n.address == name then return found end
  end
  for session in pairs(self.cluster.sessions) do
    local n = session.connection
    if not session.closed and (n.name == name or n.address == name) then
      if not session.draining then
        self.sessions[name] = session
        return session
      end
      draining = true -- a node that comes back meanwhile has another session
    end
  end
  if draining then
    return nil, { kind = "draining", message = ("node %s is draining"):format(name) }
  end
  local names = {}
  for i, n in ipairs(self.cluster.nodes) do
    if n.name == name or n.address == name then
      local why = n.error and n.error.message or "it is " .. n.state
      return nil, { kind = n.state == "skew" and "skew" or "connect",
        message = ("node %s cannot be used: %s"):format(name, why) }
    end
    names[i] = n.name
  end
  table.sort(names)
  return nil, {
    kind = "connect",
    message = ("there is no node '%s'; there are: %s"):format(name, table.concat(names, ", ")),
  }
end

-- The session whose node answers and whose least loaded worker has the least to do; or nil.
local function best_session(self)
  local idle = self.idle
  if idle and idle.session.takes and idle_worker(self, idle.session) then return idle.session end
  local found, least
  for session in pairs(self.cluster.sessions) do
    if not session.draining and not session.suspect and not session.closed then
      local worker, load = least_loaded(self, session)
      load = worker and load + (#(self.waiting[session] or {}))
      if worker and (not found or load < least) then found, least = session, load end
    end
  end
  return found
end

local function any_session(self)
  local found = best_session(self)
  if found then return found end
  for session in pairs(self.cluster.sessions) do -- it has workers in a moment, if it is not full
    if not session.draining and not session.closed and (not found or found.full) then
      found = session
    end
  end
  if found then return found end
  return nil, self.cluster:no_workers()
end

local function session_of_worker(worker)
  if worker.session.draining then
    return nil, { kind = "draining", message = "the worker's node is draining" }
  end
  if worker.removed then return nil, { kind = "lost", message = "the worker is gone" } end
  return worker.session
end

--- Chooses the node of a call that has not begun, and queues it there.
function Calls:submit(call)
  local session, err
  if call.target.worker then
    session, err = session_of_worker(call.target.worker)
  elseif call.target.node then
    session, err = find_session(self, call.target.node)
  else
    session, err = any_session(self)
  end
  if not session then
    err.applied = "no"
    fail(self, call, errors.new(err))
    return
  end
  call.session = session
  local list = self.waiting[session]
  if list then
    list[#list + 1] = call
  elseif send(self, session, call) then
    session.messages:flush()
  else
    self.waiting[session] = { call }
    session:wake()
  end
end

-- Submits the waiting calls of some sessions again: all of them, or those to any node.
local function submit_again(self, is_left, all)
  local moving = {}
  for session, list in pairs(self.waiting) do
    if is_left(session) then
      local staying = {}
      for _, call in ipairs(list) do
        local to_any = not (call.target.node or call.target.worker)
        table.insert((all or to_any) and moving or staying, call)
      end
      self.waiting[session] = staying[1] and staying
    end
  end
  table.sort(moving, function(a, b) return a.first < b.first end)
  for _, call in ipairs(moving) do
    if self.by_id[call.first] then
      take_back(self, call)
      self:submit(call)
    end
  end
end

function Calls:session_down(session)
  submit_again(self, function(other) return other == session end, true)
end

-- Moves calls to any node that wait for one that does not answer, or has no session of ours, to one
-- that does. Calls that were sent may run there, and stay.
local function leave_suspects(self)
  if not best_session(self) then return end
  submit_again(self, function(session) return session.suspect or not session.is_open end, false)
end

Calls.worker_up = leave_suspects
Calls.session_full = leave_suspects

function Calls:worker_changed(worker)
  if worker.session.draining then self:session_down(worker.session) end
  leave_suspects(self)
end

local function cancel(self, call, err)
  if not self.by_id[call.first] or call.cancelled then return end
  local worker = call.worker
  err.applied = worker and "unknown" or "no"
  if not worker then
    fail(self, call, errors.new(err))
    return
  end
  call.cancelled = true -- forgotten when the worker has stopped it
  self.cancelling[worker] = (self.cancelling[worker] or 0) + 1
  end_timeout(call)
  call.session:cancel(worker, self, call.first, 1)
  call:fail(errors.new(err))
end

local function cancel_future(call)
  cancel(call.job, call, { kind = "cancelled", message = "the call was cancelled" })
end

-- ---- time limits ----

-- There is one queue for each limit, as its calls time out in the order of their begin: a ring of
-- the queue and its calls.

function end_timeout(call)
  local following = call.following
  if not following then return end
  local preceding = call.preceding
  following.preceding, preceding.following = preceding, following
  call.following = nil
end

local function begin_timeout(self, call, began)
  local queue = self.queues[call.timeout]
  if not queue then
    queue = {}
    queue.following, queue.preceding = queue, queue
    self.queues[call.timeout] = queue
  end
  local last, times_out_at = queue.preceding, began + call.timeout
  call.preceding, call.following, call.times_out_at = last, queue, times_out_at
  last.following, queue.preceding = call, call
  if times_out_at < self.next_timeout then self.timer:notify() end
end

-- Cancels the calls whose time is over; returns when the next one times out.
local function cancel_late(self, now)
  local next_timeout = math.huge
  for seconds, queue in pairs(self.queues) do
    local call = queue.following
    while call ~= queue and call.times_out_at <= now do
      cancel(self, call, {
        kind = "timeout", node = call.session and call.session.connection.name,
        message = ("the call took longer than %g s"):format(call.timeout),
      })
      call = queue.following
    end
    if call ~= queue then
      next_timeout = math.min(next_timeout, call.times_out_at)
    else
      self.queues[seconds] = nil
    end
  end
  return next_timeout
end

function run_timer(self)
  while not self.cluster.closed do
    self.next_timeout = cancel_late(self, sys.now())
    local seconds = self.next_timeout - sys.now()
    self.timer:wait(seconds < math.huge and math.max(0, seconds) or nil)
  end
end

--- @class fleet.CallTarget one of these, or neither: any node
--- @field node? string name or address
--- @field worker? fleet.Worker

--- Makes a call. If the node cannot be reached, the future fails.
---@param target fleet.CallTarget
---@param item string the call, encoded for fleet.worker.runner
---@param modules {key: string, bytes: string}[] that it needs
---@param timeout number seconds; 0: none
---@param began number by sys.now, when its time began
---@param cast boolean|nil the call ends when it has begun, and has no time limit from then on
---@return fleet.Future of the values
function Calls:send(target, item, modules, timeout, began, cast)
  local id, keys = self.last_id + 1, self.keys
  self.last_id = id
  if modules[1] then
    keys = {}
    for i, module in ipairs(modules) do keys[i] = module.key end
    keys[#keys + 1] = self.key
    keys = codec.encode(keys)
  end
  local call = future.make({
    on_cancel = cancel_future, job = self, first = id, item = item, modules = modules, keys = keys,
    timeout = timeout, target = target,
    -- room for later
    done = nil, values = nil, session = nil, worker = nil, message = nil, preceding = nil,
    following = nil, times_out_at = nil,
  })
  if cast then call.cast = true end
  self.by_id[id] = call
  self:submit(call)
  if timeout > 0 and not call.values then begin_timeout(self, call, began) end
  return call
end

return calls
