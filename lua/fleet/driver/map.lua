-- SPDX-License-Identifier: MIT
-- One map: moves items from their source through the scheduler to the sessions of a cluster, and
-- results back. It decides nothing itself: fleet.scheduler says what goes where. It is a job of the
-- cluster (see fleet.cluster.session).
--
-- Its tasks: a feeder (source -> scheduler) and the caller's own, which takes the results out.

local atomic = require("fleet.base.atomic")
local codec = require("host.codec")
local errors = require("fleet.errors")
local scheduler = require("fleet.scheduler")
local sys = require("host.sys")
local task = require("host.task")

local map = {}

-- Items admitted before other tasks run, and most items that wait to be sent: more of them would
-- only leave the processor's caches.
local ITEMS_PER_TURN = 2048
local MAX_FRESH = 8192
-- Seconds that a map waits for a node to come back when there is none.
local NO_NODE_TIMEOUT = 15
-- Seconds between two checks of the time when nothing else happens.
local TICK_INTERVAL = 1

--- @class fleet.MapOptions
--- @field cluster fleet.Cluster
--- @field blobs {key: string, bytes: string}[] what workers need; the last is the definition
--- @field source fleet.ItemSource
--- @field timeout? number seconds, of one item; nil or 0: no limit
--- @field deadline? number seconds, of the whole map
--- @field began? number by sys.now, when the deadline counts from (default: when the map runs)
--- @field nodes? table<string, true> names or addresses of the nodes to use; nil: all
--- @field scheduler table options of scheduler.new
--- @field journal? fleet.Journal has the results of earlier runs, and gets those of this one
--- @field complete? boolean every admitted item gets a result, also when the map is cut short
--- @field on_row fun(item: any, ok: boolean, value: any, id: integer): boolean|nil, fleet.Error|nil
--- takes one result, in order; may wait; nil and an error end the map
--- @field on_idle? fun() no more results for now
--- @field on_progress? fun(item_id: integer, value: any) a task called fleet.progress; must not
--- wait
---
--- Map:run raises what these functions or the source raise, which ends the map.

--- @class fleet.Map
--- @field number integer as a job
--- @field scheduler fleet.Scheduler
--- @field input_error fleet.Error|nil what ended the source early
local Map = {}
Map.__index = Map

-- Ends the map, because a function of the user has raised something.
local function break_off(self, raised)
  if not self.broken then self.broken, self.raised = true, raised end
  self.ready:notify()
end

-- Ends the map, because the journal has failed.
local function journal_failed(self, err)
  self.failure = self.failure or err
  self.ready:notify()
end

--- Makes a map; `run` does it.
---@param options fleet.MapOptions
---@return fleet.Map
function map.new(options)
  local keys = {}
  for i, blob in ipairs(options.blobs) do keys[i] = blob.key end
  local self = setmetatable({
    cluster = options.cluster,
    blobs = options.blobs, keys = codec.encode(keys),
    source = options.source,
    timeout = options.timeout or 0,
    deadline = options.deadline, began = options.began,
    nodes = options.nodes,
    journal = options.journal,
    begun = {}, -- by slot: the id of the item that is in the journal as begun
    complete = options.complete,
    on_row = options.on_row, on_idle = options.on_idle, on_progress = options.on_progress,
    scheduler = scheduler.new(options.scheduler),
    ready = task.event(),    -- there may be results
    admitted = task.event(), -- there may be room for items
    broken = false, failure = nil, ended = false,
  }, Map)
  self.sink = self.scheduler
  if self.journal then -- it gets each result before anybody sees it
    function self.scheduler.on_resolve(item, ok, value)
      local written, err = self.journal:append(item, ok, value)
      if not written then journal_failed(self, err) end
    end
  end
  return self
end

-- ---- as a job ----

for _, name in ipairs({ "in_flight", "report", "starved", "refused", "not_begun" }) do
  Map[name] = function(self, ...) return self.scheduler[name](self.scheduler, ...) end
end

local function uses(self, node)
  return not self.nodes or self.nodes[node.name] or self.nodes[node.address]
end

function Map:worker_up(worker)
  local node = worker.session.connection
  if uses(self, node) then self.scheduler:add_worker(worker, node.name) end
end

function Map:worker_down(worker, cause)
  self.scheduler:remove_worker(worker, cause)
  self.ready:notify()
  self.cluster:wake()
end

function Map:worker_changed(worker)
  self.scheduler:set_available(worker, not (worker.session.draining or worker.session.suspect))
end

function Map:progress(_, id, value)
  if not self.on_progress then return end
  local fine, raised = pcall(atomic.call, self.on_progress, id, value)
  if not fine then break_off(self, raised) end
end

function Map:arrived()
  self.ready:notify()
end

Map.session_down = Map.arrived

function Map.session_full() end

function Map:cluster_closed()
  self.expired = errors.format("cancelled", "the connections were closed")
  self:expire(self.expired)
end

-- Records in the journal that items from .. last begin, where that must be known later even if
-- nothing else is; once for an item, which may be refused and sent again. Returns whether they may
-- be sent.
local function begin(self, batch, from, last)
  if not self.journal or not self.journal.once then return true end
  local begun, items = self.begun, {}
  for slot = from, last do
    local id = batch.first + slot - batch.from
    if begun[slot] ~= id then
      begun[slot] = id
      items[#items + 1] = batch.items[slot]
    end
  end
  local ok, err = self.journal:begin(items)
  if not ok then journal_failed(self, err) end
  return ok
end

-- Sends a batch; an item that cannot be encoded fails alone, and what has no room is queued again.
-- Returns whether there may be more room, and the number of its last message.
local function send(self, session, worker, batch)
  local s, from, attempt, message = self.scheduler, batch.from, batch.attempt, nil
  while from <= batch.to do
    local first = batch.first + from - batch.from
    local n, result = session.messages:batch(worker.index, worker.generation, self.keys,
      self.number, first, attempt, self.timeout, batch.items, from, batch.to)
    if n > 0 and not begin(self, batch, from, from + n - 1) then
      session.messages:retract()
      n, result = 0, nil
    end
    if n > 0 then
      message = result
      session:remember({
        message = message, worker = worker, job = self, first = first, count = n,
        attempt = attempt,
      })
    elseif result then
      result.applied = "no"
      s:result(worker, first, attempt, false, result, 0)
      self.ready:notify()
      n = 1
    else
      s:refused(worker, first, batch.to - from + 1, attempt)
      return false
    end
    from = from + n
  end
  return true, message
end

-- Sends what the workers of a session get now, a batch to each in turn: a few items are for all of
-- them, not for the first.
function Map:gather(session)
  local s, first_message = self.scheduler, nil
  if self.ended or self.failure then return false end
  local sent
  repeat
    sent = false
    for _, worker in pairs(session.workers) do
      local batch = s:next_batch(worker)
      if batch then
        session:need(self, self.blobs)
        local room, message = send(self, session, worker, batch)
        first_message = first_message or message
        if not room or self.failure then return false end
        if message and message > first_message then return true end
        sent = true
      end
    end
  until not sent
  if s.fresh < MAX_FRESH then self.admitted:notify() end
  return false
end

-- ---- items in, results out ----

-- Takes the result of an item from the journal, if it is there. Returns whether the item is not to
-- run: because of that, or because the journal cannot be read.
local function resume(self, item)
  local ok, value, bytes = self.journal:lookup(item)
  if ok == nil and not value then return false end
  if ok ~= nil then
    self.scheduler:push_done(item, ok, value, bytes)
    self.ready:notify()
  else
    journal_failed(self, value)
  end
  return true
end

local function feed_items(self)
  local s = self.scheduler
  while not s.closed do
    local room = math.min(s:room(), ITEMS_PER_TURN, MAX_FRESH - s.fresh)
    if room <= 0 then self.admitted:wait() end
    for _ = 1, room do
      local item, err = self.source()
      if s.closed then return end -- stopped while the source was waiting
      if item == nil then
        self.input_error = err
        s:close()
        break
      elseif err then
        s:push_failed(item, err)
        self.ready:notify()
      elseif self.journal and resume(self, item) then
        if self.failure or s:room() <= 0 then break end -- results may be large
      else
        s:push(item)
        -- workers may be waiting for this first item, and the source may be slow with the next
        if s.fresh == 1 then self.cluster:wake() end
      end
    end
    self.cluster:wake()
    task.yield()
  end
end

local function feed(self)
  local fine, raised = pcall(feed_items, self)
  if not fine then break_off(self, raised) end
  self.cluster:wake()
  self.ready:notify()
end

local function write_rows(self)
  local s = self.scheduler
  if self.failure then return nil, self.failure end
  local id, item, ok, value = s:pop()
  if not id then return true end
  repeat
    local written, err = self.on_row(item, ok, value, id)
    if not written then return nil, err end
    if self.failure then return nil, self.failure end
    id, item, ok, value = s:pop()
  until not id
  self.admitted:notify()
  if s.fresh > 0 then self.cluster:wake() end -- buffered results may have stopped the sending
  return true
end

-- Whether there is, or soon may be, a worker for the map.
local function is_usable(self)
  for session in pairs(self.cluster.sessions) do
    if uses(self, session.connection) and not session.draining and next(session.workers) then
      return true
    end
  end
  return false
end

-- Waits for results, or for the next event of the clock.
local function wait(self)
  if self.on_idle then self.on_idle() end
  local now, seconds = sys.now(), TICK_INTERVAL
  local due, ready = self.scheduler:tick(now)
  if ready then self.cluster:wake() end
  if due then seconds = math.min(seconds, math.max(0, due - now)) end
  if self.ends_at then seconds = math.min(seconds, math.max(0, self.ends_at - now)) end
  self.ready:wait(seconds)
end

local function send_cancels(self)
  for _, cancel in ipairs(self.scheduler:take_cancels()) do
    cancel.worker.session:cancel(cancel.worker, self, cancel.id, 1)
  end
end

-- Ends early: with an error for each item when every item is to have a result.
local function cut_short(self, err)
  if self.complete then
    self:expire(err)
  else
    self:abort(err)
  end
end

local function run(self)
  local s = self.scheduler
  local usable_at = sys.now()
  self.ends_at = self.deadline and (self.began or sys.now()) + self.deadline
  while not s:finished() and not self.broken do
    local ok, err = write_rows(self)
    if not ok then
      self:abort(err)
      return nil, err
    end
    local now = sys.now()
    if is_usable(self) or not s:idle() then usable_at = now end
    if now - usable_at > NO_NODE_TIMEOUT then
      err = self.cluster:no_workers()
      cut_short(self, err)
      write_rows(self)
      return nil, err
    elseif self.ends_at and now >= self.ends_at then
      self.ends_at = nil
      self.expired = errors.format("deadline", "the map took longer than %g s", self.deadline)
      cut_short(self, self.expired)
    end
    send_cancels(self)
    if not s:finished() then wait(self) end
  end
  return not self.expired or nil, self.expired
end

-- However the map has ended, also together with the task that ran it, nothing of it continues.
function Map:__close()
  self.ended = true
  self.scheduler:stop()
  self.cluster:remove_job(self)
  if self.feeder then self.feeder:cancel() end
end

--- Runs the map to its end: on_row has received every result when it returns. Waits. If the calling
--- task is cancelled, nothing of the map remains.
---@return boolean|nil true; or nil and an error: of kind "connect" when no node was left,
---"deadline" when its time was over, "cancelled" when the cluster was closed; or on_row's error
---@return fleet.Error|nil
function Map:run()
  self.cluster:add_job(self)
  local _ <close> = self
  self.feeder = task.start(feed, self)
  local fine, ok, err = pcall(run, self)
  if not fine then break_off(self, ok) end
  if self.broken then error(self.raised, 0) end
  return ok, err
end

--- Sends nothing more; running items finish and count, items that never ran are dropped.
function Map:stop()
  self.scheduler:stop()
  self.ready:notify()
end

--- Ends immediately: what is under way fails with `err`, items that never ran are dropped.
---@param err fleet.Error
function Map:abort(err)
  self.scheduler:abort(err)
  self.ready:notify()
end

--- Ends immediately: every item that has no result yet fails with `err`, and the source is not
--- called again.
---@param err fleet.Error
function Map:expire(err)
  self.scheduler:expire(err)
  self.ready:notify()
end

return map
