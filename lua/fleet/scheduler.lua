-- SPDX-License-Identifier: MIT
-- Which item goes to which worker, and what becomes of it: queue, batches,
-- retries and the order of the output of one map. A pure state machine: it is
-- told what happened and asked what to send; it does no I/O and has no clock.
--
-- An item is queued, in flight with one batch on one worker, or finished; then
-- it waits in the window for its turn to be popped. Whatever comes late, twice
-- or from somebody else does not match the batch that the item is out with.

local backlog = require("fleet.backlog")
local check = require("fleet.check")
local credit = require("fleet.credit")
local loss = require("fleet.loss")
local window = require("fleet.window")

local admit, find, settle = window.admit, window.find, window.settle
local QUEUED, OK, FAILED = window.QUEUED, window.OK, window.FAILED

local WINDOW_MOST = 1 << 20

local scheduler = {}

--- @class fleet.Scheduler: fleet.Window
local Scheduler = {
  pop = window.pop,
  refused = loss.refused,
  drain_worker = loss.drain_worker,
  remove_worker = loss.remove_worker,
  stop = loss.stop,
  abort = loss.abort,
}
Scheduler.__index = Scheduler

--- @class fleet.Batch what to send to a worker; read-only
--- @field first integer id of the first item
--- @field count integer its ids are first .. first + count - 1
--- @field attempt integer 1 for the first attempt
--- @field items any[] the items are items[from] .. items[to], valid until the
--- next call to the scheduler
--- @field from integer may be 0
--- @field to integer

local function integer_between(least, most)
  return function(value)
    local n = math.type(value) and math.tointeger(value)
    if n and n >= least and n <= most then return true end
    return nil, ("must be an integer from %d to %d"):format(least, most)
  end
end

local function batch_rule(value)
  if value == "auto" or integer_between(1, WINDOW_MOST)(value) then return true end
  return nil, ("must be 'auto' or an integer from 1 to %d"):format(WINDOW_MOST)
end

local OPTIONS = {
  retries = integer_between(0, 1000000),
  concurrency = integer_between(1, 1000000),
  batch = batch_rule,
  ordered = "boolean",
  window = integer_between(1, WINDOW_MOST),
  held_bytes = check.positive,
}

--- Makes the scheduler of one map. Options: `retries` (2) attempts after the
--- first when a worker or a node is lost; `concurrency` (64) tasks that a worker
--- runs at a time; `batch` ("auto") most items in a batch; `ordered` (true)
--- output in input order, else in order of completion; `window` (65536) items
--- from the oldest unreleased to the newest; `held_bytes` (32 MiB) results
--- waiting to be popped beyond which nothing more is admitted or begun.
---@param opts table|nil
---@return fleet.Scheduler
function scheduler.new(opts)
  opts = check.options("scheduler.new", opts, OPTIONS)
  local self = window.new(math.tointeger(opts.window) or 65536, opts.ordered ~= false)
  self.last_attempt = (math.tointeger(opts.retries) or 2) + 1
  self.concurrency = math.tointeger(opts.concurrency) or 64
  self.batch = opts.batch ~= "auto" and math.tointeger(opts.batch) or nil
  self.held_most = opts.held_bytes or 32 * 1024 * 1024
  self.fresh = 0                -- number of items never sent
  self.next_fresh = 1           -- all of those have this id or a later one
  self.again = backlog.new()    -- items to send once more
  self.isolated = backlog.new() -- the same, for attempts that need a worker alone
  self.reserved = 0             -- busy workers kept free for an isolated attempt
  self.workers, self.worker_count, self.nodes = {}, 0, {}
  self.bad_input, self.late, self.retried = 0, 0, 0
  self.closed, self.stopped = false, false
  return setmetatable(self, Scheduler)
end

--- Adds a worker; it may be given work at once.
---@param id any non-nil; no present worker has it
---@param node_name string
function Scheduler:add_worker(id, node_name)
  if self.workers[id] then error("scheduler: that worker is already there", 2) end
  local node = self.nodes[node_name]
  if not node then
    node = { name = node_name, workers = 0, ok = 0, failed = 0 }
    self.nodes[node_name] = node
  end
  node.workers = node.workers + 1
  self.worker_count = self.worker_count + 1
  self.workers[id] = {
    id = id,
    node = node,
    credit = credit.new(self.concurrency, self.batch),
    in_flight = 0,
    batches = {},
    exclusive = nil,  -- the isolated batch it runs
    reserved = false, -- finishes what it has, then takes an isolated item
    draining = false, -- takes nothing more
    hungry = false,   -- has nothing to run: even a small batch is welcome
  }
end

--- Returns how many items may be pushed now. Results held back cannot stop a
--- map for good: what they wait for is admitted already.
---@return integer
function Scheduler:room()
  if self.closed or self.held >= self.held_most then return 0 end
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

--- Admits an item that is already an error, say an unreadable line: it is
--- released in its turn and never runs. Raises as push does.
---@param item any non-nil
---@param err fleet.Error
---@return integer id
function Scheduler:push_failed(item, err)
  local id = item ~= nil and not self.closed and admit(self, item) or reject(self, item)
  self.bad_input = self.bad_input + 1
  settle(self, id, FAILED, err, 0)
  return id
end

--- Says that the input has ended.
function Scheduler:close()
  self.closed = true
end

-- Items first .. first + count - 1, all queued, go out to a worker.
local function send(self, worker, first, count, attempt)
  local from = first & self.mask
  local batch = {
    first = first, last = first + count - 1, count = count, attempt = attempt,
    items = self.items, from = from, to = from + count - 1,
    worker_id = worker.id, worker = worker, unfinished = count,
  }
  local state = self.state
  for slot = from, batch.to do state[slot] = batch end
  worker.batches[batch] = true
  worker.in_flight = worker.in_flight + count
  worker.hungry = false
  return batch
end

local function send_again(self, worker, list, range, most)
  local first = range.first
  local count = math.min(range.suspect and 1 or most, range.last - first + 1)
  list:take(range, count)
  local batch = send(self, worker, first, count, range.attempt)
  batch.suspect, batch.loss = range.suspect, range.loss
  return batch
end

-- The slots of a batch are contiguous: it ends with the ring at the latest.
local function send_fresh(self, worker, most)
  local state, mask = self.state, self.mask
  local first = math.max(self.next_fresh, self.oldest)
  while state[first & mask] ~= QUEUED do first = first + 1 end -- failed on input
  local last_most = math.min(first + most - 1, self.newest, first | mask)
  local last = first
  while last < last_most and state[(last + 1) & mask] == QUEUED do last = last + 1 end
  local count = last - first + 1
  self.next_fresh, self.fresh = last + 1, self.fresh - count
  return send(self, worker, first, count, 1)
end

-- Whether items that should keep away from the worker's node must take it all
-- the same: nobody is elsewhere, or all those are busy while this one is idle.
local function is_alone(self, worker)
  if worker.node.workers == self.worker_count then return true end
  if worker.in_flight > 0 then return false end
  for _, other in pairs(self.workers) do
    local busy = other.exclusive or other.reserved or other.in_flight >= other.credit.size
    if other.node ~= worker.node and not busy and not other.draining then
      return false
    end
  end
  return true
end

local function set_reserved(self, worker, reserved)
  if worker.reserved == reserved then return end
  worker.reserved = reserved
  self.reserved = self.reserved + (reserved and 1 or -1)
end

-- The last attempt of an item under suspicion gets a worker for itself, so that
-- blame is exact. A busy worker would never run dry, as it is always given more:
-- hence it is reserved first. Returns whether the worker is taken by this, and
-- the batch when there is one.
local function isolate(self, worker, alone)
  if worker.exclusive then return true end
  local range = self.isolated:oldest(worker.node.name, alone)
  if not range then
    set_reserved(self, worker, false)
    return false
  end
  if worker.in_flight > 0 then
    if self.reserved < self.isolated.size then set_reserved(self, worker, true) end
    return worker.reserved
  end
  set_reserved(self, worker, false)
  worker.exclusive = send_again(self, worker, self.isolated, range, 1)
  return true, worker.exclusive
end

--- Returns what to send to a worker now, or nil. To be called until it returns
--- nil, for every worker, after anything that may have changed the answer: input,
--- results, hunger, a worker that came or went.
---@param worker_id any
---@return fleet.Batch|nil
function Scheduler:next_batch(worker_id)
  local worker = self.workers[worker_id]
  if not worker or worker.draining or self.stopped then return nil end
  local alone = self.again.size + self.isolated.size > 0 and is_alone(self, worker)
  if worker.exclusive or worker.reserved or self.isolated.size > 0 then
    local taken, batch = isolate(self, worker, alone)
    if taken then return batch end
  end

  local range = self.again.size > 0 and self.again:oldest(worker.node.name, alone)
  -- What the held results wait for is older, hence not fresh: it can go on.
  local fresh = self.held < self.held_most and self.fresh or 0
  if not range and fresh == 0 then return nil end

  local size = worker.credit.size
  local free = size - worker.in_flight
  if free <= 0 then return nil end
  local left = fresh + self.again.size
  -- One large message rather than many small ones.
  if free * 4 < size and free < left and not worker.hungry then return nil end
  local most = math.min(free, self.batch or free)
  if self.closed then -- share the tail among all workers
    local shares = 2 * self.worker_count
    most = math.min(most, (left + shares - 1) // shares)
  end
  if range then return send_again(self, worker, self.again, range, most) end
  return send_fresh(self, worker, most)
end

--- Takes the result of one item: `value` is its value, or its error when not
--- `ok`. Returns false when the item is not in flight there in that attempt, or
--- is finished: the result is late, and ignored.
---@param worker_id any
---@param id integer
---@param attempt integer
---@param ok boolean
---@param value any
---@param bytes number|nil size of the value, for the limit on held results
---@return boolean taken
function Scheduler:result(worker_id, id, attempt, ok, value, bytes)
  local batch = find(self, worker_id, id, attempt)
  if not batch then
    self.late = self.late + 1
    return false
  end
  local worker = batch.worker
  local node = worker.node
  if ok then
    node.ok = node.ok + 1
  else
    node.failed = node.failed + 1
  end
  worker.in_flight = worker.in_flight - 1
  local unfinished = batch.unfinished - 1
  batch.unfinished = unfinished
  if unfinished == 0 then loss.retire(batch) end
  settle(self, id, ok and OK or FAILED, value, bytes or 0)
  return true
end

--- How many items a worker has; 0 for one that is not there.
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

--- Learns that all `running` tasks of a worker wait and that it could run more.
---@param worker_id any
---@param running integer
function Scheduler:hungry(worker_id, running)
  local worker = self.workers[worker_id]
  if not worker then return end
  worker.hungry = true
  worker.credit:hungry(running)
end

--- Whether the input has ended and every item has been popped or dropped.
---@return boolean
function Scheduler:finished()
  return self.closed and self.oldest > self.newest
end

--- Whether work waits and there is no worker to take it.
---@return boolean
function Scheduler:idle()
  return self.worker_count == 0 and self.fresh + self.again.size + self.isolated.size > 0
end

--- Returns how many items were admitted, are done (ended well), failed, were
--- dropped by stop, are in flight, are queued; how many results were late, how
--- many items were sent out again after a loss, and how many workers take work.
---@return table<string, integer>
function Scheduler:counts()
  local done, failed, in_flight = 0, self.bad_input, 0
  for _, node in pairs(self.nodes) do
    done, failed = done + node.ok, failed + node.failed
  end
  for _, worker in pairs(self.workers) do in_flight = in_flight + worker.in_flight end
  return {
    admitted = self.newest,
    done = done,
    failed = failed,
    dropped = self.dropped,
    in_flight = in_flight,
    queued = self.fresh + self.again.size + self.isolated.size,
    late = self.late,
    retried = self.retried,
    workers = self.worker_count,
  }
end

--- Returns what each node did: {[name] = {ok =, failed =}}. Items lost with a
--- node have failed there; items that were bad input ran nowhere.
---@return table<string, {ok: integer, failed: integer}>
function Scheduler:node_counts()
  local counts = {}
  for name, node in pairs(self.nodes) do
    counts[name] = { ok = node.ok, failed = node.failed }
  end
  return counts
end

return scheduler
