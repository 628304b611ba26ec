-- SPDX-License-Identifier: MIT
-- The scheduler of one map: which item goes to which worker, and what becomes of it. It does
-- queueing, batching, retries and the order of the output. A pure state machine: the caller reports
-- events and asks what to send; the scheduler does no I/O and has no clock.
--
-- An item is queued, in flight with one batch on one worker (a straggler with two on two workers),
-- or finished; then it waits in the window for its turn to be popped. A result that is late,
-- repeated, or from another worker does not match the batch that the item is in flight with.
--
-- Other modules of this folder define methods of the scheduler, and call each other's by the name
-- of the module: speculation.cancel(self, b).

local batch = require("fleet.scheduler.batch")
local check = require("fleet.base.check")
local failures = require("fleet.scheduler.failures")
local heap = require("fleet.scheduler.heap")
local requeue = require("fleet.scheduler.requeue")
local retry = require("fleet.scheduler.retry")
local shutdown = require("fleet.scheduler.shutdown")
local speculation = require("fleet.scheduler.speculation")
local window = require("fleet.scheduler.window")
local workers = require("fleet.scheduler.workers")

local admit, find, resolve = window.admit, window.find, window.resolve
local QUEUED, OK, FAILED = window.QUEUED, window.OK, window.FAILED

local MAX_WINDOW = 1 << 20
local MAX_COUNT = 1000000

local scheduler = {}

--- @class fleet.Scheduler: fleet.Window
local Scheduler = {
  pop = window.pop,
  add_worker = workers.add_worker,
  set_available = workers.set_available,
  remove_worker = failures.remove_worker,
  refused = failures.refused,
  not_begun = failures.not_begun,
  take_cancels = speculation.take_cancels,
  stop = shutdown.stop,
  abort = shutdown.abort,
  expire = shutdown.expire,
}
Scheduler.__index = Scheduler

local OPTIONS = {
  retries = check.integer(0, MAX_COUNT),
  concurrency = check.integer(1, MAX_COUNT),
  batch = check.integer(1, MAX_WINDOW),
  ordered = "boolean",
  window = check.integer(1, MAX_WINDOW),
  buffer_bytes = check.positive,
  retry_on = "function",
  backoff = check.non_negative,
  random = "function",
  on_resolve = "function",
  speculate = "boolean",
}

--- Makes the scheduler of one map. Options:
---   retries      attempts after the first when a worker or a node is lost, or `retry_on` asks for
---                one (default: 2)
---   concurrency  tasks that a worker runs at a time (default: 64)
---   batch        most items in a batch (default: as many as a worker is to have)
---   ordered      output in input order, else in order of completion (default: true)
---   window       items from the oldest unreleased to the newest (default: 65536)
---   buffer_bytes results waiting to be popped beyond which nothing more is admitted or begun
---                (default: 32 MiB)
---   retry_on     function(err) -> whether an item that ended in this error is to be tried again;
---                must not wait; not called for errors of kind "cancelled"
---   backoff      most seconds before the first such attempt, doubled for each further one up to
---                10 s (default: 0.2)
---   random       function that returns numbers from 0 to 1 (default: math.random)
---   speculate    run stragglers twice, for items that may (default: false)
---   on_resolve   function(item, ok, value), called with the outcome of every item pushed by push
---                before it can be popped; must not call the scheduler
---@param opts table|nil
---@return fleet.Scheduler
function scheduler.new(opts)
  opts = check.options("scheduler.new", opts, OPTIONS)
  local self = window.new(opts.window or 65536, opts.ordered ~= false)
  self.last_attempt = (opts.retries or 2) + 1
  self.concurrency = opts.concurrency or 64
  self.batch = opts.batch
  self.max_buffered = opts.buffer_bytes or 32 * 1024 * 1024
  self.retry_on, self.backoff = opts.retry_on, opts.backoff or 0.2
  self.random = opts.random or math.random
  self.on_resolve = opts.on_resolve or false -- not nil: read for each result
  self.now = nil                          -- the time of the last tick
  self.fresh = 0                          -- number of items never sent
  self.next_fresh = 1                     -- all of those have this id or a later one
  self.retry_queue = requeue.new()        -- items to send again
  self.isolation_queue = requeue.new()    -- the same, for attempts that need a worker alone
  self.delay_queue = heap.new("due")      -- the same, for attempts whose time has not come
  self.reserved = 0                       -- busy workers kept free for an isolated attempt
  self.speculation = opts.speculate and speculation.new() or false -- not nil: as on_resolve
  self.duplicates, self.cancelling = 0, 0 -- items in flight twice; duplicates being cancelled
  self.cancels = {}
  self.workers, self.worker_count, self.nodes = {}, 0, {}
  self.no_node = { failed = 0 }           -- in place of a node
  self.resumed, self.late, self.retried = 0, 0, 0
  self.closed, self.stopped = false, false
  return setmetatable(self, Scheduler)
end

--- Returns how many items may be pushed now. Buffered results cannot block a map: the items that
--- they wait for are already admitted.
---@return integer
function Scheduler:room()
  if self.closed or self.buffered >= self.max_buffered then return 0 end
  return self.size - (self.newest - self.oldest + 1)
end

local function reject(self, item)
  if item == nil then error("scheduler: an item may not be nil", 3) end
  if self.closed then error("scheduler: the input is closed", 3) end
  error("scheduler: no room for another item", 3)
end

--- Admits an item. Raises when it is nil, the window full or the input closed.
---@param item any non-nil
---@return integer id
function Scheduler:push(item)
  local id = item ~= nil and not self.closed and admit(self, item) or reject(self, item)
  self.fresh = self.fresh + 1
  return id
end

--- Admits an item that is already an error, such as an unreadable line: it is released in its turn
--- and never runs. Raises as push does.
---@param item any non-nil
---@param err fleet.Error
---@return integer id
function Scheduler:push_failed(item, err)
  local id = item ~= nil and not self.closed and admit(self, item) or reject(self, item)
  self.no_node.failed = self.no_node.failed + 1
  resolve(self, id, FAILED, err, 0)
  return id
end

--- Admits an item whose result is known, for example from a journal: it is released in its turn and
--- never runs. Raises as push does.
---@param item any non-nil
---@param ok boolean
---@param value any its value, or its error when not `ok`
---@param bytes number|nil size of the value, for the limit on buffered results
---@return integer id
function Scheduler:push_done(item, ok, value, bytes)
  local id = item ~= nil and not self.closed and admit(self, item) or reject(self, item)
  self.resumed = self.resumed + 1
  resolve(self, id, ok and OK or FAILED, value, bytes or 0)
  return id
end

--- Ends the input.
function Scheduler:close()
  self.closed = true
end

local function send_again(self, worker, queue, range, max)
  local first, history = range.first, range.history
  local count = math.min(history and history.suspect and 1 or max, range.last - first + 1)
  queue:take(range, count)
  return batch.send(self, worker, first, count, range.attempt, history)
end

-- Slots must be contiguous: the batch ends with the ring at the latest.
local function send_fresh(self, worker, max)
  local state, mask = self.state, self.mask
  local first = math.max(self.next_fresh, self.oldest)
  while state[first & mask] ~= QUEUED do first = first + 1 end -- already ended
  local max_last = math.min(first + max - 1, self.newest, first | mask)
  local last = first
  while last < max_last and state[(last + 1) & mask] == QUEUED do last = last + 1 end
  local count = last - first + 1
  self.next_fresh, self.fresh = last + 1, self.fresh - count
  return batch.send(self, worker, first, count, 1)
end

-- Whether items that should avoid the worker's node may go there nevertheless: there is no worker
-- on another node, or all those are busy while this one is idle.
local function is_alone(self, worker)
  if worker.node.workers == self.worker_count then return true end
  if worker.in_flight > 0 then return false end
  for _, other in pairs(self.workers) do
    local busy = other.exclusive or other.reserved or other.cancelling > 0
      or other.in_flight >= other.credit.size
    if other.node ~= worker.node and not busy and other.available then return false end
  end
  return true
end

-- Gives a worker an item that must be alone there (fleet.scheduler.attribution says when). A busy
-- worker would never run dry, as it always gets more, so it is reserved first. Returns whether the
-- worker is taken by this, and the batch when there is one.
local function isolate(self, worker, alone)
  if worker.exclusive then return true end
  local range = self.isolation_queue:oldest(worker.node.name, alone)
  if not range then
    workers.set_reserved(self, worker, false)
    return false
  end
  if worker.in_flight > 0 then
    if self.reserved < self.isolation_queue.size then workers.set_reserved(self, worker, true) end
    return worker.reserved
  end
  workers.set_reserved(self, worker, false)
  worker.exclusive = send_again(self, worker, self.isolation_queue, range, 1)
  return true, worker.exclusive
end

-- How many fresh items may be sent while too much is buffered: the oldest item, if it is fresh. The
-- other items that the buffered results wait for have been sent before.
local function fresh_under_pressure(self)
  local oldest = self.oldest
  local is_fresh = oldest >= self.next_fresh and self.state[oldest & self.mask] == QUEUED
  return self.ordered and is_fresh and 1 or 0
end

--- Returns what to send to a worker now, or nil. To be called until it returns nil, for every
--- worker, after every event that may have changed the answer: input, results, starvation, a worker
--- that came or went, a tick that says so.
---@param worker_id any
---@return fleet.Batch|nil
function Scheduler:next_batch(worker_id)
  local worker = self.workers[worker_id]
  if not worker or not worker.available or self.stopped or worker.cancelling > 0 then return nil end
  local alone = self.retry_queue.size + self.isolation_queue.size > 0 and is_alone(self, worker)
  if worker.exclusive or worker.reserved or self.isolation_queue.size > 0 then
    local taken, isolated = isolate(self, worker, alone)
    if taken then return isolated end
  end

  local range = self.retry_queue.size > 0 and self.retry_queue:oldest(worker.node.name, alone)
  local under_pressure = self.buffered >= self.max_buffered
  local fresh = under_pressure and fresh_under_pressure(self) or self.fresh
  if not range and fresh == 0 then
    if self.speculation and worker.in_flight == 0 then return speculation.begin(self, worker) end
    return nil
  end

  local size = worker.credit.size
  local free = size - worker.in_flight
  if free <= 0 then return nil end
  local left = fresh + self.retry_queue.size
  -- One large message rather than many small ones.
  if free * 4 < size and free < left and not worker.starved then return nil end
  local max = math.min(free, self.batch or free)
  if self.closed then -- share the tail among all workers
    local shares = 2 * self.worker_count
    max = math.min(max, (left + shares - 1) // shares)
  end
  if range then return send_again(self, worker, self.retry_queue, range, max) end
  return send_fresh(self, worker, under_pressure and 1 or max)
end

--- Takes the result of one item: `value` is its value, or its error when not `ok`. A result is
--- late, and ignored, when the item is not in flight there in that attempt.
---@param worker_id any
---@param id integer
---@param attempt integer
---@param ok boolean
---@param value any
---@param bytes number|nil size of the value, for the limit on buffered results
---@return boolean taken false: it is late
function Scheduler:result(worker_id, id, attempt, ok, value, bytes)
  local b = find(self, worker_id, id, attempt)
  if not b then
    self.late = self.late + 1
    speculation.release_range(self, worker_id, id, id, attempt)
    return false
  elseif not ok then
    retry.failed(self, b, id, value, bytes or 0, false)
    return true
  end
  local worker, speculates = b.worker, self.speculation
  local node, unfinished = worker.node, b.unfinished - 1
  node.ok = node.ok + 1
  if speculates and b.sent then speculation.sample(speculates, self.now - b.sent) end
  if unfinished == 0 then
    if b.duplicate then speculation.cancel(self, b.duplicate) end
    batch.release(b, 1)
  else
    b.unfinished = unfinished
    worker.in_flight = worker.in_flight - 1
  end
  if self.on_resolve then self.on_resolve(self.items[id & self.mask], true, value) end
  resolve(self, id, OK, value, bytes or 0)
  return true
end

--- Sets the time, in seconds of a monotonic clock; it stands still in between.
---@param now number
---@return number|nil at when there will be something to do if nothing else happens: the delay of an
--- item is over, or an item is overdue
---@return boolean ready whether there may be something to send now
function Scheduler:tick(now)
  self.now = now
  local at, ready = retry.release(self, now)
  if not self.speculation then return at, ready end
  local overdue_at, overdue = speculation.find_overdue(self, now)
  if overdue_at and (not at or overdue_at < at) then at = overdue_at end
  return at, ready or overdue
end

--- Returns how many tasks a worker has, including those being cancelled; 0 for an unknown worker.
---@param worker_id any
---@return integer
function Scheduler:in_flight(worker_id)
  local worker = self.workers[worker_id]
  return worker and worker.in_flight or 0
end

--- Learns from a worker that `n` tasks have finished there.
---@param worker_id any
---@param n integer
---@param cpu_seconds number processor time that they used together
---@param wall_seconds number sum of the time from start to end of each
function Scheduler:report(worker_id, n, cpu_seconds, wall_seconds)
  local worker = self.workers[worker_id]
  if worker then worker.credit:report(n, cpu_seconds, wall_seconds) end
end

--- Learns that all `running` tasks of a worker wait and that it has free slots.
---@param worker_id any
---@param running integer
function Scheduler:starved(worker_id, running)
  local worker = self.workers[worker_id]
  if not worker then return end
  worker.starved = true
  worker.credit:starved(running)
end

--- Returns whether the input has ended and every item has been popped or dropped.
---@return boolean
function Scheduler:finished()
  return self.closed and self.oldest > self.newest
end

local function queued(self)
  return self.fresh + self.retry_queue.size + self.isolation_queue.size + #self.delay_queue
end

local function in_flight(self)
  local tasks = 0
  for _, worker in pairs(self.workers) do tasks = tasks + worker.in_flight end
  return tasks - self.duplicates - self.cancelling
end

--- Returns whether work waits and no worker is available.
---@return boolean
function Scheduler:idle()
  return self.worker_count == 0 and queued(self) > 0
end

--- Returns how many of the items admitted have not ended.
---@return integer
function Scheduler:unfinished()
  return queued(self) + in_flight(self)
end

--- Returns how many items were admitted, are done (succeeded), failed, were resumed (their results
--- were known), were dropped by stop, are in flight, are queued (including those that wait for
--- another attempt); how many results were late, how often an item was sent again after a loss or
--- an error, how many duplicate attempts there were, and how many workers are available.
---@return table<string, integer>
function Scheduler:counts()
  local done, failed = 0, self.no_node.failed
  for _, node in pairs(self.nodes) do
    done, failed = done + node.ok, failed + node.failed
  end
  return {
    admitted = self.newest, done = done, failed = failed, resumed = self.resumed,
    dropped = self.dropped, in_flight = in_flight(self), queued = queued(self), late = self.late,
    retried = self.retried, speculated = self.speculation and self.speculation.extra or 0,
    workers = self.worker_count,
  }
end

--- Returns how many items ended at each node, by its name. Items lost with a node have failed
--- there; bad input and items that were cancelled unsent count for no node.
---@return table<string, {ok: integer, failed: integer}>
function Scheduler:node_counts()
  local counts = {}
  for name, node in pairs(self.nodes) do
    counts[name] = { ok = node.ok, failed = node.failed }
  end
  return counts
end

return scheduler
