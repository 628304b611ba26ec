-- SPDX-License-Identifier: MIT
-- A model of a driver and its fleet for random walks over the scheduler: it takes
-- random actions, knows their expected outcome, and raises if it differs.

local fleet_model = require("spec.support.fleet_model")
local item_model = require("spec.support.item_model")
local scheduler = require("fleet.scheduler")
local window = require("fleet.scheduler.window")

local model = {}

local expect, random = item_model.expect, math.random
local chance, pick = fleet_model.chance, fleet_model.pick
local tasks_of = fleet_model.tasks_of

--- @class spec.World: spec.Fleet
local World = setmetatable({}, fleet_model.Fleet)
World.__index = World

--- Makes a world in which math.random decides everything.
function model.new()
  local self = setmetatable({
    -- Kinds of failures: with killers alone, attribution must be exact.
    killers = chance(0.5) and random() * 0.1 or 0,
    disasters = chance(0.5),
    ends_early = chance(0.2),
    culprits = pick({ "named", "unknown", "either" }),
    retries_killed = chance(0.5), -- what retry_on says of a task that was killed
    closes_at = random(200, 1400),
    slow = pick({ 0, 0.02, 0.1 }), -- share of items that take very long
    steps = 0,
    now = random(0, 1) * 1e6,
    workers = {},
    records = {},    -- by id, until popped
    waiting = {},    -- those whose next attempt is for later, by id
    cancels = {},    -- what take_cancels is to return
    durations = {},  -- of the items that ended well
    stale = {},      -- results that nobody waits for any more
    pushed = 0, popped = 0, dropped = 0, resumed = 0, in_flight = 0, buffered = 0, late = 0,
    oldest = 1, speculated = 0,
    met = {},        -- how often the walk met what
    closed = false, stopped = false,
  }, World)
  self.options = {
    retries = pick({ 0, 1, 2, 3 }),
    window = pick({ 1, 2, 7, 64, 100, 1000 }),
    batch = pick({ false, 1, 3, 50 }) or nil,
    concurrency = pick({ 1, 8, 64 }),
    buffer_bytes = pick({ 1, 500, 1000000 }),
    ordered = chance(0.5),
    speculate = chance(0.5),
    retry_on = chance(0.5) and function(err)
      if err.raises then error("no idea") end
      if err.message == "killed" then return self.retries_killed end
      return err.again
    end or nil,
    backoff = pick({ 0, 0.5, 3, 100 }),
    random = function()
      self.jitter = random()
      return self.jitter
    end,
  }
  self.s = scheduler.new(self.options)
  return self
end

-- Counts the events of the walk: one without events proves nothing.
function World:meet(what)
  self.met[what] = (self.met[what] or 0) + 1
end

-- ---- new items ----

function World:push()
  if self.closed then
    expect(self.s:room() == 0, "room after the end of the input")
    return
  end
  local room = self.s:room()
  expect(room <= self.options.window - (self.pushed - self.oldest + 1), "room for too much")
  local under_pressure = self.buffered >= self.options.buffer_bytes
  expect(room == 0 or not under_pressure, "room though results are held")
  expect(room > 0 or under_pressure or self.pushed - self.oldest + 1 >= self.options.window,
    "no room for no reason")
  for _ = 1, math.min(room, random(40)) do
    self.pushed = self.pushed + 1
    local item = { n = self.pushed, killer = chance(self.killers), slow = chance(self.slow) }
    local record = item_model.new(self.pushed, item, self.options)
    self.records[self.pushed] = record
    expect(self:push_one(item, record) == self.pushed, "item %d has another id", self.pushed)
  end
end

function World:push_one(item, record)
  local dice = random()
  if dice < 0.03 then
    record:ends("input", { value = { kind = "input", message = "x" }, exact = true })
    return self.s:push_failed(item, record.value)
  elseif dice < 0.06 then
    local ok, bytes = chance(0.8), random(0, 50)
    record:ends(ok and "ok" or "input", { value = { n = 1 }, exact = true, bytes = bytes })
    self.buffered, self.resumed = self.buffered + bytes, self.resumed + 1
    return self.s:push_done(item, ok, record.value, bytes)
  end
  return self.s:push(item)
end

-- ---- late, stopped early ----

local function is_current(world, stale)
  for _, worker in ipairs(world.workers) do
    if worker.id == stale.worker.id then
      for _, list in ipairs({ worker.live, worker.cancelled }) do
        for _, attempt in ipairs(list) do
          if attempt.id == stale.id and attempt.attempt == stale.attempt then return true end
        end
      end
    end
  end
  return false
end

function World:late_result()
  local stale = self.stale[random(20)]
  if not stale or is_current(self, stale) then return end
  self.late = self.late + 1
  expect(not self.s:result(stale.worker.id, stale.id, stale.attempt, chance(0.5), {}, 7),
    "late taken")
  expect(self.s:counts().late == self.late, "late results are miscounted")
  expect(self.s:refused(stale.worker.id, stale.id, 1, stale.attempt) == 0, "late refusal taken")
end

-- The task of a cancelled duplicate ends.
function World:end_cancelled(worker)
  local list = worker.cancelled
  local attempt = table.remove(list, #list > 0 and random(#list) or nil)
  if not attempt then return end
  self.late = self.late + 1
  expect(not self.s:result(worker.id, attempt.id, attempt.attempt, false, {}, 7),
    "the result of a cancelled duplicate is taken")
end

function World:take_cancels()
  local cancels = self.s:take_cancels()
  expect(#cancels == #self.cancels, "%d cancelled, not %d", #cancels, #self.cancels)
  for i, cancel in ipairs(cancels) do
    local cancelled_one = self.cancels[i]
    expect(cancel.worker == cancelled_one.worker.id and cancel.id == cancelled_one.id
      and cancel.attempt == cancelled_one.attempt, "another duplicate")
  end
  self.cancels = {}
end

-- Items that have not ended and are not in flight: they end or are dropped.
function World:stop_queued(keep)
  self.closed, self.stopped = true, true
  for id = self.oldest, self.pushed do
    local record = self.records[id]
    if record and #record.out == 0 and not record.outcome then
      if record.loss then
        record:ends_with_loss()
      elseif keep then
        record:ends("deadline", { applied = "no" })
      else
        self.records[id] = nil
        self.dropped = self.dropped + 1
      end
    end
  end
  self.waiting = {}
end

function World:stop_in_flight()
  for _, worker in ipairs(self.workers) do
    for _, attempt in ipairs(worker.cancelled) do self.stale[random(20)] = attempt end
    worker.cancelled = {}
    for _, attempt in ipairs({ table.unpack(worker.live) }) do
      local record = self:unassign(attempt)
      record.attempt = math.max(record.attempt or 0, attempt.attempt)
      if #record.out == 0 then
        record:ends("deadline", { applied = "unknown", attempt = record.attempt })
      end
    end
  end
end

function World:stop()
  local how = pick({ "stop", "stop", "abort", "expire" })
  self:stop_queued(how == "expire")
  if how ~= "stop" then self:stop_in_flight() end
  self:skip_dropped()
  self.s[how](self.s, { kind = "deadline", message = "over" })
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
    record:check_popped(item, ok, value)
    self:check_innocence(record)
    self:meet(record.outcome)
    self.buffered = self.buffered - record.bytes
    self.records[id] = nil
    self.popped = self.popped + 1
    self:skip_dropped()
  end
end

-- If killers are the only failures, only killers may fail for it.
function World:check_innocence(record)
  if self.disasters or self.ends_early or self.options.retries == 0 then return end
  local exact = self.culprits == "named" or self.culprits == "unknown"
    and not self.options.speculate and not self.options.retry_on
  local killed = record.outcome == "crash" or record.outcome == "poisoned"
  expect(not exact or not killed or record.item.killer, "bystander %d fails", record.id)
end

function World:skip_dropped()
  while self.oldest <= self.pushed and not self.records[self.oldest] do
    self.oldest = self.oldest + 1
  end
end

-- ---- time ----

-- How long an item must run to be a straggler, or nil.
function World:straggler_limit()
  local n = #self.durations
  if not self.options.speculate or not self.closed or self.stopped or n == 0
    or self.speculated >= math.max(1, self.pushed // 10) then
    return nil
  end
  local ended = 0
  for id = self.oldest, self.pushed do
    if not self.records[id] or self.records[id].outcome then ended = ended + 1 end
  end
  ended = ended + self.oldest - 1
  if ended < 0.75 * self.pushed then return nil end
  local last = table.move(self.durations, math.max(1, n - 254), n, 1, {})
  table.sort(last)
  return math.max(5, 2 * last[(#last + 1) // 2])
end

function World:tick()
  self.now = self.now + random() * 2
  local due
  for id, record in pairs(self.waiting) do
    if record.due <= self.now then
      record.due, self.waiting[id] = nil, nil
    elseif not due or record.due < due then
      due = record.due
    end
  end
  self.limit = self:straggler_limit()
  if self.limit then
    for _, worker in ipairs(self.workers) do
      for _, attempt in ipairs(worker.live) do
        if not attempt.sent then attempt.seen = attempt.seen or self.now end
      end
    end
  end
  local at = self.s:tick(self.now)
  expect(not due or at and at <= due, "the next item is due at %s, not %s", due, at)
  expect(self.options.speculate or at == due, "the next item is due at %s, not %s", due, at)
  expect(not at or at > self.now, "due at %s already", at)
end

function World:credit(worker)
  if chance(0.5) then
    local n = random(100)
    self.s:report(worker.id, n, n * 10 ^ -random(1, 6), n * 10 ^ -random(0, 6))
  else
    self.s:starved(worker.id, random(0, tasks_of(worker)))
  end
end

-- ---- checks ----

--- Compares the counts of the scheduler with those of the model.
function World:check()
  local counts = self.s:counts()
  local ended = counts.done + counts.failed + counts.resumed
  expect(counts.in_flight == self.in_flight, "%d in flight, not %d", counts.in_flight,
    self.in_flight)
  expect(counts.admitted == self.pushed, "%d admitted", counts.admitted)
  expect(counts.dropped == self.dropped, "%d dropped, not %d", counts.dropped, self.dropped)
  expect(counts.resumed == self.resumed, "%d resumed, not %d", counts.resumed, self.resumed)
  expect(counts.speculated == self.speculated, "%d extra attempts", counts.speculated)
  expect(ended + counts.dropped + counts.in_flight + counts.queued == self.pushed,
    "items are missing")
  expect(ended >= self.popped, "released unfinished items")
  expect(self.s.buffered == self.buffered, "%d bytes held, not %d", self.s.buffered, self.buffered)
  expect(counts.workers == self:takers(), "%d workers", counts.workers)
  for _, worker in ipairs(self.workers) do
    expect(self.s:in_flight(worker.id) == tasks_of(worker), "worker %d: %d in flight, not %d",
      worker.id, self.s:in_flight(worker.id), tasks_of(worker))
  end
  expect(self.s:idle() == (self:takers() == 0 and counts.queued > 0), "idle is wrong")
  expect(self.s:finished() == (self.closed and self.oldest > self.pushed), "finished is wrong")
end

function World:close()
  self.closed = true
  self.s:close()
end

--- From here on killers are the only failures, so the walk must end.
function World:run_to_the_end()
  self:close()
  local rounds = 0
  while not self.s:finished() do
    rounds = rounds + 1
    expect(rounds < 20000, "no end in sight: %d queued, %d in flight", self.s:counts().queued,
      self.in_flight)
    if self:takers() == 0 then self:join() end
    self:tick()
    for _, worker in ipairs({ table.unpack(self.workers) }) do
      if worker.suspended then self:resume(worker) end
      self:end_cancelled(worker)
      self:send(worker)
      self:result(worker)
    end
    self:take_cancels()
    self:pop()
    self:check()
  end
  for _, worker in ipairs(self.workers) do
    while #worker.cancelled > 0 do self:end_cancelled(worker) end
  end
  self:tick()
  self:take_cancels()
end

--- Checks that a finished scheduler holds nothing.
function World:check_leaks()
  local s = self.s
  expect(next(self.records) == nil, "items were never released")
  expect(self.popped + self.dropped == self.pushed, "%d + %d of %d", self.popped, self.dropped,
    self.pushed)
  expect(s.buffered == 0 and s.fresh == 0 and s.duplicates == 0 and s.cancelling == 0,
    "counters are left over")
  for slot, state in pairs(s.state) do
    expect(state == window.FREE, "slot %d is not free", slot)
    expect(type(s.items[slot]) == "table" and not s.items[slot].n, "an item is kept")
  end
  for _, list in ipairs({ s.again, s.isolated }) do
    expect(list.size == 0 and #list.heaps == 0, "a range is kept")
  end
  expect(#s.delay_queue == 0 and #s.cancels == 0, "an attempt is kept")
  expect(not s.speculation or #s.speculation.overdue == 0, "a straggler is kept")
  local reserved = 0
  for _, worker in pairs(s.workers) do
    expect(next(worker.batches) == nil and worker.in_flight == 0, "a batch is kept")
    expect(not worker.exclusive and worker.cancelling == 0, "a worker is kept")
    if worker.reserved then reserved = reserved + 1 end
  end
  expect(s.reserved == reserved, "%d workers reserved, not %d", s.reserved, reserved)
end

--- Takes one random action.
function World:step()
  self.steps = self.steps + 1
  if self.steps == self.closes_at then self:close() end
  local dice = random(100)
  local worker = #self.workers > 0 and pick(self.workers)
  if dice <= 20 then
    self:push()
  elseif dice <= 33 then
    self:pop()
  elseif dice <= 36 then
    self:late_result()
  elseif dice <= 39 then
    self:tick()
  elseif dice <= 40 then
    self:take_cancels()
  elseif dice <= 42 then
    self:join()
  elseif not worker then
    return
  elseif dice <= 65 then
    self:send(worker)
  elseif dice <= 89 then
    self:result(worker)
  elseif dice <= 90 then
    self:end_cancelled(worker)
  elseif dice <= 94 then
    self:credit(worker)
  else
    self:mishap(worker, dice)
  end
end

function World:mishap(worker, dice)
  if dice <= 95 then
    self:refuse(worker)
  elseif dice <= 96 then
    if chance(0.3) then
      self:leave(worker)
    elseif chance(0.2) then
      worker.draining = true
      expect(self.s:set_available(worker.id, false), "unknown worker")
    end
  elseif dice <= 97 then
    if worker.suspended then self:resume(worker) elseif chance(0.3) then self:suspend(worker) end
  elseif dice <= 98 then
    if chance(0.3) then self:punish(worker) end
  elseif dice <= 99 and self.disasters then
    if chance(0.5) then self:die(worker) elseif chance(0.5) then self:lose_node() end
  elseif self.ends_early and chance(0.2) then
    self:stop()
  end
end

return model
