-- SPDX-License-Identifier: MIT
-- A model of a driver and its fleet for random walks over the scheduler: it does
-- random things, knows what must come of them, and raises when it does not.

local scheduler = require("fleet.scheduler")
local window = require("fleet.window")

local model = {}

local random = math.random

local function pick(list) return list[random(#list)] end

local function expect(holds, format, ...)
  if not holds then error(format:format(...), 2) end
end

local World = {}
World.__index = World

--- Makes a world of which math.random decides everything.
function model.new()
  local options = {
    retries = pick({ 0, 1, 2, 3 }),
    window = pick({ 1, 2, 7, 64, 100, 1000 }),
    batch = pick({ "auto", 1, 3, 50 }),
    concurrency = pick({ 1, 8, 64 }),
    held_bytes = pick({ 1, 500, 1000000 }),
    ordered = random(2) == 1,
  }
  return setmetatable({
    options = options,
    s = scheduler.new(options),
    -- What goes wrong: with killers alone, blame must be exact.
    killers = random() < 0.5 and random() * 0.1 or 0,
    disasters = random() < 0.5,
    ends_early = random() < 0.2,
    workers = {},      -- list of {id, node, live = {id = attempt}, ids = list, exclusive}
    records = {},      -- by id, until popped
    pushed = 0, popped = 0, dropped = 0, live = 0, held = 0, late = 0, oldest = 1,
    stale = {},        -- results that nobody waits for any more
    closed = false, stopped = false,
  }, World)
end

function World:push()
  if self.closed then
    expect(self.s:room() == 0, "room after the end of the input")
    return
  end
  local room = self.s:room()
  expect(room <= self.options.window - (self.pushed - self.oldest + 1), "room for too much")
  local choked = self.held >= self.options.held_bytes
  expect(room == 0 or not choked, "room though results are held")
  expect(room > 0 or choked or self.pushed - self.oldest + 1 >= self.options.window,
    "no room for no reason")
  for _ = 1, math.min(room, random(40)) do
    local item = { n = self.pushed + 1, killer = random() < self.killers }
    local record = { item = item, losses = 0 }
    local id
    if random() < 0.03 then
      record.outcome, record.value, record.bytes = "input", { kind = "input", message = "x" }, 0
      id = self.s:push_failed(item, record.value)
    else
      id = self.s:push(item)
    end
    self.pushed = self.pushed + 1
    expect(id == self.pushed, "id %d is not %d", id, self.pushed)
    self.records[id] = record
  end
end

function World:join()
  if self:takers() >= 12 then return end
  local id = 1 -- ids are used again, as a driver may
  while self.s.workers[id] do id = id + 1 end
  local worker = { id = id, node = "n" .. random(4), live = {}, ids = {} }
  self.workers[#self.workers + 1] = worker
  self.s:add_worker(worker.id, worker.node)
end

function World:takers()
  local number = 0
  for _, worker in ipairs(self.workers) do
    if not worker.draining then number = number + 1 end
  end
  return number
end

-- Whether an item that should keep away from the worker's node can.
function World:has_choice(worker)
  for _, other in ipairs(self.workers) do
    local inner = self.s.workers[other.id]
    local busy = inner.exclusive or inner.reserved or #other.ids >= inner.credit.size
    if other.node ~= worker.node and not other.draining and not (busy and #worker.ids == 0) then
      return true
    end
  end
  return false
end

function World:check_item(worker, batch, id)
  local record, retries = self.records[id], self.options.retries
  expect(record and not record.outcome, "finished item %d is sent", id)
  expect(not record.worker, "item %d has two live assignments", id)
  expect(batch.attempt == record.losses + 1, "item %d: attempt %d after %d losses", id,
    batch.attempt, record.losses)
  expect(batch.attempt <= retries + 1, "item %d: attempt %d", id, batch.attempt)
  expect(batch.items[batch.from + id - batch.first] == record.item, "item %d is another", id)
  if record.suspect then expect(batch.count == 1, "suspect %d is not sent alone", id) end
  if record.suspect and batch.attempt == retries + 1 then
    expect(#worker.ids == 0, "suspect %d shares a worker", id)
    worker.exclusive = id
  end
  if record.avoid == worker.node then
    expect(not self:has_choice(worker), "item %d goes back to its node", id)
  end
  if record.losses == 0 and not record.returned then
    expect(self.held < self.options.held_bytes, "fresh item %d though results are held", id)
    expect(random() > 0.01 or not self:is_anything_due(worker), "fresh item %d goes first", id)
  end
end

-- Whether something that came back could go to that worker at once.
function World:is_anything_due(worker)
  local elsewhere = self:has_choice(worker)
  for id = self.oldest, self.pushed do
    local record = self.records[id]
    if record and not record.outcome and not record.worker
      and (record.losses > 0 or record.returned)
      and not (record.suspect and record.losses == self.options.retries)
      and not (record.avoid == worker.node and elsewhere) then
      return true
    end
  end
  return false
end

function World:send(worker)
  for _ = 1, random(4) do
    local batch = self.s:next_batch(worker.id)
    if not batch then return end
    expect(not self.stopped, "a batch after stop")
    expect(not worker.draining, "a batch for a worker that drains")
    expect(not worker.exclusive, "a batch for a worker that must be alone")
    expect(batch.count >= 1 and batch.to - batch.from + 1 == batch.count,
      "batch of %d from %d to %d", batch.count, batch.from, batch.to)
    expect(self.options.batch == "auto" or batch.count <= self.options.batch, "batch too large")
    for id = batch.first, batch.first + batch.count - 1 do self:check_item(worker, batch, id) end
    for id = batch.first, batch.first + batch.count - 1 do
      local record = self.records[id]
      record.worker, record.attempt, record.batch = worker, batch.attempt, batch
      worker.live[id] = batch.attempt
      worker.ids[#worker.ids + 1] = id
      self.live = self.live + 1
    end
    expect(#worker.ids <= self.s.workers[worker.id].credit.size, "more in flight than credit")
  end
end

-- Item number `index` of a worker is not with it any more.
function World:unassign(worker, index)
  local id = worker.ids[index]
  local record = self.records[id]
  worker.ids[index] = worker.ids[#worker.ids]
  worker.ids[#worker.ids] = nil
  worker.live[id] = nil
  if worker.exclusive == id then worker.exclusive = nil end
  self.stale[random(20)] = { worker = worker.id, id = id, attempt = record.attempt }
  self.live = self.live - 1
  record.worker = nil
  return id, record
end

function World:finish(record, outcome, value, bytes)
  record.outcome, record.value, record.bytes = outcome, value, bytes
  self.held = self.held + bytes
end

function World:forget(id)
  self.records[id] = nil
  self.dropped = self.dropped + 1
end

function World:skip_dropped()
  while self.oldest <= self.pushed and not self.records[self.oldest] do
    self.oldest = self.oldest + 1
  end
end

function World:result(worker)
  for _ = 1, random(30) do
    if #worker.ids == 0 then return end
    local index = random(#worker.ids)
    local id = worker.ids[index]
    if self.records[id].item.killer then return self:lose(worker, "crash") end
    local record
    id, record = self:unassign(worker, index)
    local ok, bytes = random() < 0.9, random(0, 50)
    local value = ok and { result_of = id } or { kind = "raise", message = "own fault" }
    if ok and random() < 0.2 then value = nil end
    if ok and random() < 0.2 then value = false end
    self:finish(record, ok and "ok" or "raise", value, bytes)
    expect(self.s:result(worker.id, id, record.attempt, ok, value, bytes), "result refused")
  end
end

-- A worker goes away; what it had comes back.
function World:lose(worker, kind)
  for i, other in ipairs(self.workers) do
    if other == worker then table.remove(self.workers, i) end
  end
  while #worker.ids > 0 do
    local id, record = self:unassign(worker, #worker.ids)
    if kind ~= "draining" then
      record.losses = record.losses + 1
      record.lost_by, record.avoid = kind, worker.node
      record.suspect = record.suspect or kind ~= "lost"
    else
      self:returned(record)
    end
    self:decide(id, record)
  end
  self:skip_dropped()
  local cause = { kind = kind, message = "gone", node = worker.node, signal = 9 }
  expect(self.s:remove_worker(worker.id, cause), "unknown worker")
  expect(not self.s:remove_worker(worker.id, cause), "removed twice")
end

function World:returned(record)
  record.avoid, record.returned = nil, true
end

-- What must become of an item that came back or waits, as things are now.
function World:decide(id, record)
  if record.losses > 0 and (self.stopped or record.losses > self.options.retries) then
    self:finish(record, record.lost_by, nil, 0)
  elseif self.stopped then
    self:forget(id)
  end
end

function World:lose_node()
  local node = "n" .. random(4)
  for i = #self.workers, 1, -1 do
    local worker = self.workers[i]
    if worker and worker.node == node then self:lose(worker, "lost") end
  end
end

function World:refuse(worker)
  if #worker.ids == 0 then return end
  local first = pick(worker.ids)
  local batch, attempt, count = self.records[first].batch, worker.live[first], random(5)
  local expected = 0
  for index = #worker.ids, 1, -1 do
    local id = worker.ids[index]
    local record = self.records[id]
    if id >= first and id < first + count and record.batch == batch then
      expected = expected + 1
      self:unassign(worker, index)
      self:returned(record)
      self:decide(id, record)
    end
  end
  self:skip_dropped()
  local taken = self.s:refused(worker.id, first, count, attempt)
  expect(taken == expected, "%d of %d refused items are taken back", taken, expected)
end

function World:late_result()
  local stale = self.stale[random(20)]
  if not stale then return end
  local record = self.records[stale.id]
  if record and record.worker and record.worker.id == stale.worker
    and record.attempt == stale.attempt then
    return
  end
  self.late = self.late + 1
  expect(not self.s:result(stale.worker, stale.id, stale.attempt, true, "late", 7), "late taken")
  expect(self.s:counts().late == self.late, "late results are miscounted")
  self.s:refused(stale.worker, stale.id, 1, stale.attempt)
end

function World:pop()
  for _ = 1, random(60) do
    local id, item, ok, value = self.s:pop()
    if not id then
      local record = self.records[self.oldest]
      expect(not record or not record.outcome, "finished item %d is not released", self.oldest)
      return
    end
    local record = self.records[id]
    expect(record, "item %d is released again", id)
    expect(record.outcome, "unfinished item %d is released", id)
    expect(not self.options.ordered or id == self.oldest, "item %d before %d", id, self.oldest)
    expect(item == record.item, "item %d is another", id)
    expect(ok == (record.outcome == "ok"), "item %d: %s", id, record.outcome)
    if record.value ~= nil or ok then
      expect(value == record.value, "item %d: another value", id)
    else
      self:check_loss(id, record, value)
    end
    self.held = self.held - record.bytes
    self.records[id] = nil
    self.popped = self.popped + 1
    self:skip_dropped()
  end
end

function World:check_loss(id, record, err)
  expect(err.kind == record.outcome, "item %d: %s is not %s", id, err.kind, record.outcome)
  expect(err.applied == "unknown", "item %d: applied %s", id, err.applied)
  local blame_is_exact = not self.disasters and not self.ends_early and self.options.retries >= 1
  expect(record.item.killer or not blame_is_exact, "innocent %d fails: %s", id, err)
  if not self.ends_early then
    expect(err.attempt == self.options.retries + 1, "item %d: attempt %d", id, err.attempt)
  end
end

function World:stop(abort)
  self.closed, self.stopped = true, true
  for id = 1, self.pushed do
    local record = self.records[id]
    if record and not record.worker and not record.outcome then self:decide(id, record) end
  end
  if abort then
    for _, worker in ipairs(self.workers) do
      while #worker.ids > 0 do
        local _, record = self:unassign(worker, #worker.ids)
        self:finish(record, "cancelled", nil, 0)
      end
    end
    self.s:abort({ kind = "cancelled", message = "stop" })
  else
    self.s:stop()
  end
  self:skip_dropped()
end

function World:credit(worker)
  if random() < 0.5 then
    local n = random(100)
    self.s:report(worker.id, n, n * 10 ^ -random(1, 6), n * 10 ^ -random(0, 6))
  else
    self.s:hungry(worker.id, random(0, #worker.ids))
  end
end

--- Compares what the scheduler counts with what the model knows.
function World:check()
  local counts = self.s:counts()
  local finished = counts.done + counts.failed
  expect(counts.in_flight == self.live, "%d in flight, not %d", counts.in_flight, self.live)
  expect(counts.admitted == self.pushed, "%d admitted", counts.admitted)
  expect(counts.dropped == self.dropped, "%d dropped, not %d", counts.dropped, self.dropped)
  expect(finished + counts.dropped + counts.in_flight + counts.queued == self.pushed,
    "items are missing")
  expect(finished >= self.popped, "released unfinished items")
  expect(self.s.held == self.held, "%d bytes held, not %d", self.s.held, self.held)
  expect(counts.workers == self:takers(), "%d workers", counts.workers)
  for _, worker in ipairs(self.workers) do
    expect(self.s.workers[worker.id].in_flight == #worker.ids, "worker %d: %d in flight",
      worker.id, self.s.workers[worker.id].in_flight)
  end
  expect(self.s:idle() == (self:takers() == 0 and counts.queued > 0), "idle is wrong")
  expect(self.s:finished() == (self.closed and self.oldest > self.pushed), "finished is wrong")
end

--- From here on nothing goes wrong but the killers: it must come to an end.
function World:run_to_the_end()
  self.closed = true
  self.s:close()
  local rounds = 0
  while not self.s:finished() do
    rounds = rounds + 1
    expect(rounds < 20000, "no end in sight: %d queued, %d live", self.s:counts().queued, self.live)
    if self:takers() == 0 then self:join() end
    for _, worker in ipairs({ table.unpack(self.workers) }) do
      self:send(worker)
      self:result(worker)
    end
    self:pop()
    self:check()
  end
end

--- Checks that a finished scheduler has kept nothing.
function World:check_leaks()
  local s = self.s
  expect(next(self.records) == nil, "items were never released")
  expect(self.popped + self.dropped == self.pushed, "%d + %d of %d", self.popped, self.dropped,
    self.pushed)
  expect(s.held == 0 and s.fresh == 0, "counters are left over")
  for slot, state in pairs(s.state) do
    expect(state == window.FREE, "slot %d is not free", slot)
    expect(type(s.items[slot]) == "table" and not s.items[slot].n, "an item is kept")
  end
  for _, list in ipairs({ s.again, s.isolated }) do
    expect(list.size == 0 and #list.heaps == 0, "a range is kept")
  end
  local reserved = 0
  for _, worker in pairs(s.workers) do
    expect(next(worker.batches) == nil and worker.in_flight == 0, "a batch is kept")
    expect(not worker.exclusive, "a worker is kept")
    if worker.reserved then reserved = reserved + 1 end
  end
  expect(s.reserved == reserved, "%d workers reserved, not %d", s.reserved, reserved)
end

--- Lets one random thing happen.
function World:step()
  local dice = random(100)
  local worker = #self.workers > 0 and pick(self.workers)
  if dice <= 20 then
    self:push()
  elseif dice <= 35 then
    self:pop()
  elseif dice <= 40 then
    self:late_result()
  elseif dice <= 42 then
    self:join()
  elseif not worker then
    return
  elseif dice <= 65 then
    self:send(worker)
  elseif dice <= 90 then
    self:result(worker)
  elseif dice <= 95 then
    self:credit(worker)
  elseif dice <= 96 then
    self:refuse(worker)
  elseif dice <= 97 then
    if random() < 0.3 then
      self:lose(worker, "draining")
    elseif random() < 0.2 then
      worker.draining = true
      expect(self.s:drain_worker(worker.id), "unknown worker")
    end
  elseif dice <= 98 and self.disasters then
    if random() < 0.5 then self:lose(worker, pick({ "crash", "memory" })) end
  elseif dice <= 99 and self.disasters then
    if random() < 0.3 then self:lose_node() end
  elseif self.ends_early and random() < 0.1 then
    self:stop(random() < 0.5)
  end
end

return model
