-- SPDX-License-Identifier: MIT
-- A run of items that is in flight to one worker. Meanwhile the state of each of them in the window
-- is the batch.

local batch = {}

--- @class fleet.Batch what to send to a worker; read-only
--- @field first integer id of the first item
--- @field count integer its ids are first .. first + count - 1
--- @field last integer
--- @field attempt integer 1 for the first attempt
--- @field items any[] the items are items[from] .. items[to], valid until the next call to the
--- scheduler
--- @field from integer may be 0
--- @field to integer
--- @field worker_id any
--- @field worker fleet.SchedulerWorker
--- @field unfinished integer how many of its items are still in flight with it
--- @field history fleet.AttemptHistory|nil of the items
--- @field sent number|nil when it was sent, if the time was known
--- @field duplicate fleet.Batch|nil the other attempt at the same item; both batches have just it
--- @field is_cancelled boolean|nil a duplicate whose item has ended; its task is to be stopped

--- Sends items first .. first + count - 1 to a worker; their slots are contiguous.
---@param self fleet.Scheduler
---@param worker fleet.SchedulerWorker
---@param first integer
---@param count integer
---@param attempt integer
---@param history fleet.AttemptHistory|nil
---@return fleet.Batch
function batch.send(self, worker, first, count, attempt, history)
  local from = first & self.mask
  local sent = {
    first = first, last = first + count - 1, count = count, attempt = attempt,
    items = self.items, from = from, to = from + count - 1,
    worker_id = worker.id, worker = worker, unfinished = count,
    history = history, sent = self.now,
  }
  local state = self.state
  for slot = from, sent.to do state[slot] = sent end
  worker.batches[sent] = true
  worker.in_flight = worker.in_flight + count
  worker.starved = false
  return sent
end

--- Takes `n` items off a batch, which ends with its last item.
---@param b fleet.Batch
---@param n integer
function batch.release(b, n)
  local worker = b.worker
  worker.in_flight = worker.in_flight - n
  b.unfinished = b.unfinished - n
  if b.unfinished == 0 then
    worker.batches[b] = nil
    if worker.exclusive == b then worker.exclusive = nil end
  end
end

--- Moves item `id` of a batch into a batch of its own, on the same worker in the same attempt.
---@param self fleet.Scheduler
---@param b fleet.Batch
---@param id integer
---@return fleet.Batch single
function batch.split(self, b, id)
  if b.count == 1 then return b end
  local starved = b.worker.starved
  batch.release(b, 1)
  local single = batch.send(self, b.worker, id, 1, b.attempt, b.history)
  single.sent, b.worker.starved = b.sent, starved
  return single
end

--- Takes the items among first .. last that are in flight with `b` off it, and calls
--- action(from, to) for each run of them.
---@param self fleet.Scheduler
---@param b fleet.Batch
---@param first integer
---@param last integer
---@param action fun(from: integer, to: integer)
---@return integer taken number of items
function batch.take_back(self, b, first, last, action)
  local state, mask = self.state, self.mask
  local taken, id = 0, math.max(first, b.first)
  last = math.min(last, b.last)
  while id <= last do
    local run = id
    while id <= last and state[id & mask] == b do id = id + 1 end
    if id > run then
      action(run, id - 1)
      taken = taken + id - run
    end
    id = id + 1
  end
  batch.release(b, taken)
  return taken
end

local function before(a, b)
  if a.first ~= b.first then return a.first < b.first end
  return a.attempt < b.attempt
end

--- Returns the batches of some workers in the order of their ids, so that the same events always
--- have the same outcome.
---@param workers table<any, fleet.SchedulerWorker>
---@return fleet.Batch[]
function batch.of(workers)
  local list = {}
  for _, worker in pairs(workers) do
    for b in pairs(worker.batches) do list[#list + 1] = b end
  end
  table.sort(list, before)
  return list
end

return batch
