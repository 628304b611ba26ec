-- SPDX-License-Identifier: MIT
-- Stragglers: near the end of a map, an item that takes much longer than most is also sent to a
-- worker on another node, as another attempt. The first result counts; the other attempt is
-- cancelled. The same item runs twice at the same time, so this is only for items that may.
--
-- Both attempts are batches of that one item, each the `duplicate` of the other; the state of the
-- item is the older one. A cancelled duplicate stays with its worker, which gets nothing new, until
-- its task has ended: the worker may have to be killed for it.

local batch = require("fleet.scheduler.batch")

--- @class fleet.SchedulerSpeculation: fleet.Scheduler
local speculation = {}

-- Speculation begins when the input has ended and this share of the items has.
local MIN_DONE_SHARE = 0.75
-- An item is overdue after so many seconds, and so many times the median time of an item.
local MIN_OVERDUE_SECONDS, OVERDUE_FACTOR = 5, 2
-- Extra attempts per item of the map; at least one is allowed.
local MAX_EXTRA_SHARE = 0.1
-- The median is that of so many items that ended last.
local SAMPLES = 255

local NO_HISTORY = { tried = 0, free_attempts = 0 }

--- @class fleet.Speculation
--- @field times number[] a ring
--- @field ended integer how many times were added to it
--- @field overdue fleet.Batch[] those with items that are overdue, the longest first
--- @field extra integer extra attempts made

---@return fleet.Speculation
function speculation.new()
  return { times = {}, ended = 0, overdue = {}, extra = 0 }
end

--- Learns how long an item was in flight.
---@param state fleet.Speculation
---@param seconds number
function speculation.sample(state, seconds)
  state.times[state.ended % SAMPLES + 1] = seconds
  state.ended = state.ended + 1
end

local function median(times)
  local sorted = table.move(times, 1, #times, 1, {})
  table.sort(sorted)
  return sorted[(#sorted + 1) // 2]
end

local function by_time(a, b)
  if a.sent ~= b.sent then return a.sent < b.sent end
  return a.first < b.first
end

local function extra_left(self)
  return self.speculation.extra < math.max(1, self.newest * MAX_EXTRA_SHARE // 1)
end

-- The number of a second attempt at the items of a batch; nil if there is to be none: it runs
-- twice already, may kill workers, or has used its attempts up.
local function number_of(self, b)
  if b.duplicate or b.is_cancelled then return nil end
  local history = b.history or NO_HISTORY
  if history.suspect or history.alone then return nil end
  local attempt = math.max(b.attempt, history.tried) + 1
  return attempt - history.free_attempts <= self.last_attempt + 1 and attempt or nil
end

--- Finds the items that are overdue.
---@param now number
---@return number|nil at when there will be one more if nothing else happens
---@return boolean found whether there is one now
function speculation:find_overdue(now)
  local state = self.speculation
  state.overdue = {}
  if not self.closed or self.stopped or state.ended == 0 or not extra_left(self)
    or self:unfinished() > self.newest * (1 - MIN_DONE_SHARE) then
    return nil, false
  end
  local limit = math.max(OVERDUE_FACTOR * median(state.times), MIN_OVERDUE_SECONDS)
  local at = math.huge
  for _, worker in pairs(self.workers) do
    for b in pairs(worker.batches) do
      b.sent = b.sent or now
      local overdue_at = number_of(self, b) and b.sent + limit
      if overdue_at and overdue_at <= now then
        state.overdue[#state.overdue + 1] = b
      elseif overdue_at then
        at = math.min(at, overdue_at)
      end
    end
  end
  table.sort(state.overdue, by_time)
  return at < math.huge and at or nil, state.overdue[1] ~= nil
end

-- The longest overdue item that is with another node than the worker's: the batch it is in, its id,
-- and the number of the attempt to make.
local function next_straggler(self, worker)
  local state, mask = self.state, self.mask
  for _, b in ipairs(self.speculation.overdue) do
    local attempt = b.worker.node ~= worker.node and number_of(self, b)
    if attempt then
      for id = b.first, b.last do
        if state[id & mask] == b then return b, id, attempt end
      end
    end
  end
end

--- Returns the batch of another attempt for an idle worker, or nil.
---@param worker fleet.SchedulerWorker
---@return fleet.Batch|nil
function speculation:begin(worker)
  if not extra_left(self) then return nil end
  local b, id, attempt = next_straggler(self, worker)
  if not b then return nil end
  local older = batch.split(self, b, id)
  local newer = batch.send(self, worker, id, 1, attempt, older.history)
  self.state[id & self.mask] = older
  older.duplicate, newer.duplicate = newer, older
  self.duplicates = self.duplicates + 1
  self.speculation.extra = self.speculation.extra + 1
  return newer
end

-- Parts two duplicates: the item is in flight with the other one only. Returns that.
local function part(self, b)
  local other = b.duplicate
  b.duplicate, other.duplicate = nil, nil
  self.state[b.first & self.mask] = other
  self.duplicates = self.duplicates - 1
  return other
end

--- Takes one of two duplicates off its worker and returns the other, which continues as the only
--- attempt.
---@param b fleet.Batch
---@return fleet.Batch other
function speculation:withdraw(b)
  local other = part(self, b)
  batch.release(b, 1)
  return other
end

--- Cancels one of two duplicates: its task is to be stopped.
---@param b fleet.Batch
function speculation:cancel(b)
  part(self, b)
  b.is_cancelled = true
  self.cancelling = self.cancelling + 1
  b.worker.cancelling = b.worker.cancelling + 1
  self.cancels[#self.cancels + 1] = { worker = b.worker_id, id = b.first, attempt = b.attempt }
end

--- Takes a cancelled duplicate off its worker: its task has ended.
---@param b fleet.Batch
function speculation:release(b)
  self.cancelling = self.cancelling - 1
  b.worker.cancelling = b.worker.cancelling - 1
  batch.release(b, 1)
end

--- Takes those cancelled duplicates off a worker that are item `first` .. `last` in that attempt.
---@param worker_id any
---@param first integer
---@param last integer
---@param attempt integer
function speculation:release_range(worker_id, first, last, attempt)
  local worker = self.workers[worker_id]
  if not worker or worker.cancelling == 0 then return end
  for b in pairs(worker.batches) do
    if b.is_cancelled and b.attempt == attempt and b.first >= first and b.first <= last then
      speculation.release(self, b)
    end
  end
end

--- Returns the duplicates that were cancelled since the last call. Their tasks are to be cancelled
--- if the worker is still there; their results are late.
---@return {worker: any, id: integer, attempt: integer}[]
function speculation:take_cancels()
  local cancels = self.cancels
  self.cancels = {}
  return cancels
end

return speculation
