-- SPDX-License-Identifier: MIT
-- Single calls of functions on nodes: a job (see lua/fleet/cluster/session.lua) whose every
-- task is a call of its own, with a future. At most once: a call whose worker or node is lost
-- fails, and the error says whether it may have run.

local codec = require("host.codec")
local digest = require("fleet.digest")
local errors = require("fleet.errors")
local future = require("fleet.base.future")
local log = require("fleet.log")
local sys = require("host.sys")
local task = require("host.task")

local calls = {}

-- A task that calls waits for what it called, in the same workers: a bound on calls at a time
-- would have them wait for each other for ever. Memory is the bound.
local CONCURRENCY = 1000000
-- How often a call may come back not_begun from workers that nobody is known to have killed: it may
-- be the coming of the call that they die of.
local UNBEGUN = 5
-- A worker that does not stop a call is killed, and what runs beside it fails: a worker with such a
-- call to stop counts as full.
local STOPPING = 1000000000

--- @class fleet.Calls
--- @field number integer as a job
local Calls = {}
Calls.__index = Calls

local keep_time -- below, with the time limits

--- Makes the calls of a cluster and adds them to it. Does not wait.
---@param cluster fleet.Cluster
---@return fleet.Calls
function calls.new(cluster)
  local definition = assert(codec.encode({ kind = "call", concurrency = CONCURRENCY }))
  local key = digest.sha256(definition)
  local self = setmetatable({
    cluster = cluster,
    blobs = { { key = key, bytes = definition } }, keys = { key }, -- what every call needs
    by_id = {}, last_id = 0,
    waiting = {}, -- by session: list of calls not sent yet
    counts = {},  -- by worker: calls it has, those that it is to stop included
    stopping = {}, -- by worker: the latter
    lines = {}, look_at = math.huge, clock = task.event(), -- see below, time limits
  }, Calls)
  self.sink = self
  task.spawn(keep_time, self)
  cluster:add_job(self)
  return self
end

-- ---- as a job ----

function Calls.report() end
function Calls.starved() end
function Calls.arrived() end

function Calls:in_flight(worker)
  return self.counts[worker] or 0
end

local unwatch -- below, with the time limits

-- Takes a call away from its worker.
local function take_back(self, call)
  local worker, counts, stopping = call.worker, self.counts, self.stopping
  if worker and counts[worker] then counts[worker] = counts[worker] - 1 end
  if worker and call.over and stopping[worker] then
    stopping[worker] = stopping[worker] > 1 and stopping[worker] - 1 or nil
  end
  if call.session then call.session:release(call) end
  call.worker, call.session = nil, nil
end

local function forget(self, call)
  self.by_id[call.id] = nil
  unwatch(call)
  take_back(self, call)
end

local function fail(self, call, err)
  forget(self, call)
  return call.future:fail(err)
end

-- What fails after it was all that was asked for, namely begun, can only be logged.
local function fail_in_worker(self, call, err)
  if fail(self, call, err) or not call.cast then return end
  log.warn("a function that was cast failed", { node = err.node, error = tostring(err) })
end

local function on_worker(self, worker)
  local list = {}
  for _, call in pairs(self.by_id) do
    if call.worker == worker then list[#list + 1] = call end
  end
  table.sort(list, function(a, b) return a.id < b.id end)
  return list
end

function Calls:worker_down(worker, cause)
  self.counts[worker], self.stopping[worker] = nil, nil
  for _, call in ipairs(on_worker(self, worker)) do
    local culprit = cause.culprit
    local guilty = culprit and culprit.id == call.id
    if call.over then
      forget(self, call)
    elseif cause.kind == "refused" then
      take_back(self, call)
      self:submit(call)
    else
      fail_in_worker(self, call, errors.new({
        kind = (guilty or not culprit) and cause.kind or "crash", message = cause.message,
        signal = cause.signal, node = cause.node, attempt = 1,
        applied = guilty and "yes" or "unknown",
      }))
    end
  end
  -- what was for this very process will not find it again
  for _, call in ipairs(self.waiting[worker.session] or {}) do
    if call.only == worker and self.by_id[call.id] then
      fail(self, call, errors.new({
        kind = cause.kind, message = cause.message, node = cause.node, applied = "no",
      }))
    end
  end
end

-- What waits for a node that takes nothing more goes elsewhere, or fails.
local function move_on(self, session)
  local list = self.waiting[session] or {}
  self.waiting[session] = nil
  for _, call in ipairs(list) do
    if self.by_id[call.id] then
      call.session = nil
      self:submit(call)
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
  self.clock:notify()
end

function Calls:session_down(session)
  move_on(self, session)
end

function Calls:refused(worker, first)
  local call = self.by_id[first]
  if not call or call.worker ~= worker then return end
  if call.over then
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
      if call.not_begun <= UNBEGUN then
        self:refused(worker, id)
      else
        fail_in_worker(self, call, errors.new({
          kind = cause.kind, message = cause.message, signal = cause.signal, node = cause.node,
          attempt = 1, applied = "no",
        }))
      end
    end
  end
end

function Calls:output(worker, id, _, what, value)
  local call = self.by_id[id]
  if what == "print" then
    self.cluster.on_print(worker.session.connection.name, value)
  elseif call then
    call.future.progressed = value
    if call.cast and call.future:resolve({ n = 0 }) then unwatch(call) end
  end
end

-- The worker of the session with the least to do.
local function least_loaded(self, session)
  local found, least
  for _, worker in pairs(session.workers) do
    local load = worker.ready and session:load(worker) + (self.stopping[worker] and STOPPING or 0)
    if load and (not found or load < least or load == least and worker.index < found.index) then
      found, least = worker, load
    end
  end
  return found, least
end

function Calls:gather(session, out)
  local list = self.waiting[session]
  if not list then return end
  local left
  local most = session.MESSAGE_BYTES
  for _, call in ipairs(list) do
    local worker = call.only or least_loaded(self, session)
    if self.by_id[call.id] and (not worker or out.bytes > most) then
      left = left or {}
      left[#left + 1] = call
    elseif self.by_id[call.id] then -- else it is over already
      call.worker = worker
      self.counts[worker] = (self.counts[worker] or 0) + 1
      session:need(out, self, self.blobs)
      if #call.modules > 0 then session:need(out, call, call.modules) end
      session:add_batch(out, worker, self, call.keys, {
        first = call.id, count = 1, attempt = 1, timeout = call.cast and 0 or call.timeout,
        items = call.item,
      })
    end
  end
  self.waiting[session] = left
end

--- As a sink: the result of a call.
function Calls:result(worker, id, _, ok, value)
  local call = self.by_id[id]
  if not call or call.worker ~= worker then
    if worker then worker.session.late = worker.session.late + 1 end
    return
  end
  if call.over then
    worker.session.late = worker.session.late + 1
    forget(self, call)
  elseif ok then
    forget(self, call)
    call.future:resolve(value)
  else
    fail_in_worker(self, call, value)
  end
end

-- ---- as what calls are made by ----

-- The session to the node of that name, or a reason why there is none.
local function find_session(self, name)
  local draining
  for session in pairs(self.cluster.sessions) do
    if not session.over and (session.connection.name == name or session.connection.address == name) then
      if not session.draining then return session end
      draining = true -- one that comes back meanwhile has another session
    end
  end
  if draining then
    return nil, { kind = "draining", message = ("node %s is draining"):format(name) }
  end
  for _, n in ipairs(self.cluster.nodes) do
    if n.name == name or n.address == name then
      local why = n.error and n.error.message or "it is " .. n.state
      return nil, { kind = n.state == "skew" and "skew" or "connect",
        message = ("node %s cannot be used: %s"):format(name, why) }
    end
  end
  local names = {}
  for _, n in ipairs(self.cluster.nodes) do names[#names + 1] = n.name end
  table.sort(names)
  return nil, {
    kind = "connect",
    message = ("there is no node '%s'; there are: %s"):format(name, table.concat(names, ", ")),
  }
end

-- The session that answers whose least loaded worker has the least to do; or nil.
local function best_session(self)
  local found, least
  for session in pairs(self.cluster.sessions) do
    if not session.draining and not session.suspect and not session.over then
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
  for session in pairs(self.cluster.sessions) do -- one that has its workers in a moment, if it is not full
    if not session.draining and not session.over and (not found or found.full) then found = session end
  end
  if found then return found end
  return nil, self.cluster:no_workers()
end

--- Sends a call on its way; for calls that were not begun.
function Calls:submit(call)
  local session, err
  if call.only then
    session, err = call.only.session, { kind = "lost", message = "the worker is gone" }
    if session.draining then err = { kind = "draining", message = "the worker's node is draining" } end
    if call.only.gone or session.draining then session = nil end
  elseif call.node then
    session, err = find_session(self, call.node)
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
  else
    self.waiting[session] = { call }
  end
  session.work:notify_one()
end

-- Calls to any node that wait for one that does not answer, or has no session of ours: nothing of
-- them was sent, so they go to one that does. Those that were sent may run there, and stay.
local function leave_suspects(self)
  if not best_session(self) then return end
  local moving = {}
  for session, list in pairs(self.waiting) do
    if session.suspect or not session.known then
      local staying
      for _, call in ipairs(list) do
        if call.node or call.only then
          staying = staying or {}
          staying[#staying + 1] = call
        else
          moving[#moving + 1] = call
        end
      end
      self.waiting[session] = staying
    end
  end
  table.sort(moving, function(a, b) return a.id < b.id end)
  for _, call in ipairs(moving) do
    if self.by_id[call.id] then self:submit(call) end
  end
end

Calls.worker_up = leave_suspects
Calls.session_full = leave_suspects

function Calls:worker_changed(worker)
  if worker.session.draining then move_on(self, worker.session) end
  leave_suspects(self)
end

local function cancel(self, call, err)
  if not self.by_id[call.id] or call.over then return end
  local worker = call.worker
  err.applied = worker and "unknown" or "no"
  if not worker then
    fail(self, call, errors.new(err))
    return
  end
  call.over = true -- forgotten when the worker has stopped it
  self.stopping[worker] = (self.stopping[worker] or 0) + 1
  unwatch(call)
  call.session:cancel(worker, self, call.id, 1)
  call.future:fail(errors.new(err))
end

local function cancel_future(f)
  local call = f.of
  cancel(call.calls, call, { kind = "cancelled", message = "the call was cancelled" })
end

-- ---- time limits: calls of one limit end in the order in which they began ----

local function drop_ended(line)
  while line.first <= line.last and not line[line.first] do line.first = line.first + 1 end
end

function unwatch(call)
  local line = call.line
  if not line then return end
  line[call.place] = nil
  drop_ended(line)
end

local function watch(self, call, began)
  local line = self.lines[call.timeout]
  if not line then
    line = { first = 1, last = 0 }
    self.lines[call.timeout] = line
  end
  line.last = line.last + 1
  line[line.last] = call
  call.line, call.place, call.ends_at = line, line.last, began + call.timeout
  if call.ends_at < self.look_at then self.clock:notify() end
end

-- Ends calls whose time is over and returns when to look again.
local function end_late(self, now)
  local next_look = math.huge
  for seconds, line in pairs(self.lines) do
    local call = line[line.first]
    while call and call.ends_at <= now do
      cancel(self, call, {
        kind = "timeout", node = call.session and call.session.connection.name,
        message = ("the call took longer than %g s"):format(call.timeout),
      })
      call = line[line.first]
    end
    if call then
      next_look = math.min(next_look, call.ends_at)
    else
      self.lines[seconds] = nil
    end
  end
  return next_look
end

function keep_time(self)
  while not self.cluster.closed do
    self.look_at = end_late(self, sys.now())
    local seconds = self.look_at - sys.now()
    self.clock:wait(seconds < math.huge and math.max(0, seconds) or nil)
  end
end

--- @class fleet.CallTarget one of these, or neither: any node
--- @field node? string name or address
--- @field worker? fleet.Worker

--- Makes a call. Failures to reach the node are failures of the future.
---@param target fleet.CallTarget
---@param item string the call, encoded for fleet.worker.runner
---@param modules {key: string, bytes: string}[] that it needs
---@param timeout number seconds from now on, 0: none
---@param cast boolean|nil the call ends when it has begun, and has no time limit from then on
---@param began number|nil by sys.now, when its time began; nil: now
---@return fleet.Future of the values
function Calls:send(target, item, modules, timeout, cast, began)
  local id, keys = self.last_id + 1, self.keys
  self.last_id = id
  if #modules > 0 then
    keys = {}
    for i, module in ipairs(modules) do keys[i] = module.key end
    keys[#keys + 1] = self.keys[1]
  end
  local call = {
    calls = self, id = id, item = item, modules = modules, keys = keys, timeout = timeout,
    node = target.node, only = target.worker, cast = cast, future = false,
    session = nil, worker = nil, line = nil, place = nil, ends_at = nil, over = nil, -- room for later
  }
  call.future = future.new(cancel_future, call)
  self.by_id[id] = call
  self:submit(call)
  if timeout > 0 and self.by_id[id] then watch(self, call, began or sys.now()) end
  return call.future
end

return calls
