-- SPDX-License-Identifier: MIT
-- Stragglers: near the end of a map an item that takes much longer than most is
-- sent to a worker on another node as well, as another attempt. The first result
-- counts; the other attempt has lost and is to be stopped. The same item runs
-- twice at the same time, hence only for what may run twice.
--
-- Both attempts are batches of that one item, each the duplicate of the other; the
-- state of the item is the older one. A loser stays with its worker, which gets
-- nothing new, until the task has ended: the worker may have to be killed for it.

local batch = require("fleet.scheduler.batch")

local speculation = {}

-- The input has ended and this share of the items has.
local DONE = 0.75
-- Seconds; and times the median time of an item.
local LEAST, FACTOR = 5, 2
-- Extra attempts per item of the map; one at least is allowed.
local EXTRA = 0.1
-- The median is taken of that many items that ended last.
local SAMPLES = 255

local NO_HISTORY = { tried = 0, spared = 0 }

--- @class fleet.Speculation
--- @field times number[] a ring
--- @field ended integer how many times were put in
--- @field overdue fleet.Batch[] those with items out too long, longest first
--- @field extra integer extra attempts made

---@return fleet.Speculation
function speculation.new()
  return { times = {}, ended = 0, overdue = {}, extra = 0 }
end

--- Learns how long an item was out.
---@param race fleet.Speculation
---@param seconds number
function speculation.sample(race, seconds)
  race.times[race.ended % SAMPLES + 1] = seconds
  race.ended = race.ended + 1
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
  return self.speculation.extra < math.max(1, self.newest * EXTRA // 1)
end

-- The number of a second attempt at the items of a batch, or nil: it runs twice
-- already, may kill workers, is not to be tried again, or was tried enough.
local function number_of(self, b)
  if b.duplicate or b.is_cancelled or b.cancel_error then return nil end
  local history = b.history or NO_HISTORY
  if history.suspect or history.alone then return nil end
  local attempt = math.max(b.attempt, history.tried) + 1
  return attempt - history.spared <= self.last_attempt + 1 and attempt or nil
end

--- Looks for items that are out too long. Returns when there will be one if
--- nothing else happens, and whether there is one now.
---@param self fleet.Scheduler
---@param now number
---@return number|nil at
---@return boolean found
function speculation.look(self, now)
  local race = self.speculation
  race.overdue = {}
  if not self.closed or self.stopped or race.ended == 0 or not extra_left(self)
    or self:unfinished() > self.newest * (1 - DONE) then
    return nil, false
  end
  local limit, at = math.max(FACTOR * median(race.times), LEAST), math.huge
  for _, worker in pairs(self.workers) do
    for b in pairs(worker.batches) do
      b.sent = b.sent or now
      local late_at = number_of(self, b) and b.sent + limit
      if late_at and late_at <= now then
        race.overdue[#race.overdue + 1] = b
      elseif late_at then
        at = math.min(at, late_at)
      end
    end
  end
  table.sort(race.overdue, by_time)
  return at < math.huge and at or nil, race.overdue[1] ~= nil
end

-- The longest overdue item that is with another node than the worker's: the
-- batch it is in, its id, and the number of the attempt to make.
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
---@param self fleet.Scheduler
---@param worker fleet.SchedulerWorker
---@return fleet.Batch|nil
function speculation.begin(self, worker)
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

--- Takes one of two duplicates off its worker and returns the other, which goes on
--- as if alone.
---@param self fleet.Scheduler
---@param b fleet.Batch
---@return fleet.Batch duplicate
function speculation.withdraw(self, b)
  local duplicate = b.duplicate
  b.duplicate, duplicate.duplicate = nil, nil
  self.state[b.first & self.mask] = duplicate
  self.duplicates = self.duplicates - 1
  batch.release(b, 1)
  return duplicate
end

--- Says that one of two duplicates has lost: its task is to be stopped.
---@param self fleet.Scheduler
---@param b fleet.Batch
function speculation.cancel(self, b)
  local duplicate, worker = b.duplicate, b.worker
  b.duplicate, duplicate.duplicate = nil, nil
  self.state[b.first & self.mask] = duplicate
  self.duplicates = self.duplicates - 1
  self.cancelling = self.cancelling + 1
  b.is_cancelled = true
  worker.cancelling = worker.cancelling + 1
  self.cancels[#self.cancels + 1] = { worker = b.worker_id, id = b.first, attempt = b.attempt }
end

--- Takes a loser off its worker: its task has ended.
---@param self fleet.Scheduler
---@param b fleet.Batch
function speculation.release(self, b)
  self.cancelling = self.cancelling - 1
  b.worker.cancelling = b.worker.cancelling - 1
  batch.release(b, 1)
end

--- Takes the losers of a worker off it that are item `first` .. `last` in that
--- attempt.
---@param self fleet.Scheduler
---@param worker_id any
---@param first integer
---@param last integer
---@param attempt integer
function speculation.release_range(self, worker_id, first, last, attempt)
  local worker = self.workers[worker_id]
  if not worker or worker.cancelling == 0 then return end
  for b in pairs(worker.batches) do
    if b.is_cancelled and b.attempt == attempt and b.first >= first and b.first <= last then
      speculation.release(self, b)
    end
  end
end

--- Returns the tasks that have lost since the last call: {worker =, id =,
--- attempt =} each. They are to be cancelled, if the worker is still there; what
--- they end in is late.
---@param self fleet.Scheduler
---@return {worker: any, id: integer, attempt: integer}[]
function speculation.take_cancels(self)
  local cancels = self.cancels
  self.cancels = {}
  return cancels
end

return speculation
