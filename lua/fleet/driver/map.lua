-- SPDX-License-Identifier: MIT
-- One map over a cluster: moves items from their source through the scheduler to the sessions of the
-- cluster, and results back. Decides nothing itself: fleet.scheduler says what goes where. It is a
-- job (see lua/fleet/cluster/session.lua).
--
-- Tasks: a feeder (source -> scheduler) and the caller's own, which takes the results out.

local atomic = require("fleet.base.atomic")
local codec = require("host.codec")
local errors = require("fleet.errors")
local session = require("fleet.cluster.session")
local scheduler = require("fleet.scheduler")
local sys = require("host.sys")
local task = require("host.task")

local map = {}

-- Items admitted between two looks at everything else, and most items that wait
-- to be sent: more of them would only be out of the processor's caches.
local FEED = 2048
local AHEAD = 8192
-- How long a map waits for a node to come back when there is none.
local PATIENCE = 15
-- Between two looks at the clock, when nothing else happens.
local LOOK = 1

--- @class fleet.MapOptions
--- @field cluster fleet.Cluster
--- @field blobs {key: string, bytes: string}[] what workers need; the last is the definition
--- @field source fleet.ItemSource
--- @field timeout? number seconds, of one item; nil or 0: no limit
--- @field deadline? number seconds, of the whole map
--- @field began? number by sys.now, when the deadline counts from; nil: when the map runs
--- @field nodes? table<string, true> names or addresses of the nodes to use; nil: all
--- @field scheduler table options of scheduler.new
--- @field journal? fleet.Journal knows what earlier runs have done, is told what this one does
--- @field complete? boolean every item admitted is to have a result, also when the map is cut short
--- @field on_row fun(item: any, ok: boolean, value: any, id: integer): boolean|nil, fleet.Error|nil
--- takes one result, in order; may wait; nil and an error stop the map
--- @field on_idle? fun() nothing more to take for now
--- @field on_progress? fun(item_id: integer, value: any) what a task passed to fleet.progress;
--- may not wait
---
--- What these functions or the source raise, Map:run raises: it is the end of the map.

--- @class fleet.Map
--- @field number integer as a job
--- @field scheduler fleet.Scheduler
--- @field input_error fleet.Error|nil what ended the source early
local Map = {}
Map.__index = Map

-- A function of the user has raised something: the map ends with it.
local function break_off(self, raised)
  if not self.broken then self.broken, self.raised = true, raised end
  self.ready:notify()
end

-- The options of the scheduler: the journal is told of what ends when it ends,
-- before anybody sees it.
local function scheduler_options(self, options)
  local journal = self.journal
  if not journal then return options end
  local copy = {}
  for name, value in pairs(options or {}) do copy[name] = value end
  function copy.on_resolve(item, ok, value)
    local written, err = journal:append(item, ok, value)
    if not written then self.failure = self.failure or err end
  end
  return copy
end

--- Makes a map; `run` does it.
---@param options fleet.MapOptions
---@return fleet.Map
function map.new(options)
  local keys = {}
  for i, blob in ipairs(options.blobs) do keys[i] = blob.key end
  local self = setmetatable({
    cluster = options.cluster,
    blobs = options.blobs, keys = keys,
    source = options.source,
    timeout = options.timeout or 0,
    deadline = options.deadline, began = options.began,
    nodes = options.nodes,
    journal = options.journal,
    begun = {}, -- by slot: the id of the item that the journal knows to have begun
    failure = nil, -- of the journal: ends the map
    complete = options.complete,
    on_row = options.on_row,
    on_idle = options.on_idle,
    on_progress = options.on_progress,
    ready = task.event(),    -- there may be results
    admitted = task.event(), -- there may be room for items
    broken = false, raised = nil,
    over = false,
  }, Map)
  self.scheduler = scheduler.new(scheduler_options(self, options.scheduler))
  self.sink = self.scheduler
  return self
end

-- ---- as a job ----

local function uses(self, node)
  return not self.nodes or self.nodes[node.name] or self.nodes[node.address]
end

function Map:worker_up(worker)
  if not uses(self, worker.session.connection) then return end
  self.scheduler:add_worker(worker, worker.session.connection.name)
end

function Map:worker_down(worker, cause)
  self.scheduler:remove_worker(worker, cause)
  self:arrived()
  self.cluster:wake()
end

function Map:worker_changed(worker)
  self.scheduler:set_available(worker, not (worker.session.draining or worker.session.suspect))
end

function Map:in_flight(worker)
  return self.scheduler:in_flight(worker)
end

function Map:report(worker, n, cpu, wall)
  self.scheduler:report(worker, n, cpu, wall)
end

function Map:starved(worker, running)
  self.scheduler:starved(worker, running)
end

function Map:refused(worker, first, count, attempt)
  self.scheduler:refused(worker, first, count, attempt)
end

function Map:not_begun(worker, first, count, attempt, cause)
  self.scheduler:not_begun(worker, first, count, attempt, cause)
end

function Map:output(worker, id, _, what, value)
  if what == "print" then
    self.cluster.on_print(worker.session.connection.name, value)
  elseif self.on_progress then
    local fine, raised = pcall(atomic.call, self.on_progress, id, value)
    if not fine then break_off(self, raised) end
  end
end

function Map:arrived()
  self.ready:notify()
end

function Map.session_full() end

function Map:session_down()
  self.ready:notify()
end

function Map:cluster_closed()
  self.expired = errors.new({ kind = "cancelled", message = "the connections were closed" })
  self:expire(self.expired)
end

-- Encodes items from .. last, as many as one message takes, and returns the bytes
-- and `last`. When the first of them cannot be encoded: nil and an error.
local function encode_some(items, from, to)
  local bytes, err, bad = codec.encode_list(items, from, to, session.MESSAGE_BYTES, "item")
  if bytes then return bytes, to end
  if bad > from then return codec.encode_list(items, from, bad - 1), bad - 1 end
  if err.kind == "too_large" then bytes, err = codec.encode_list(items, from, from, nil, "item") end
  return bytes, bytes and from or err
end

-- Has the journal know of items from .. last before they are sent, where that must
-- be known later, also when nothing else is; once for an item, which may be refused
-- and sent again. Returns whether they may be sent.
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
  if ok then return true end
  self.failure = self.failure or err
  self.ready:notify()
  return false
end

-- Adds a batch to a message; an item that cannot be encoded fails alone, and what
-- is too much for the message goes back to the queue.
local function add_batch(self, to, worker, batch, out)
  local s, from, attempt = self.scheduler, batch.from, batch.attempt
  while from <= batch.to do
    local first = batch.first + from - batch.from
    if out.bytes > session.MESSAGE_BYTES then
      s:refused(worker, first, batch.to - from + 1, attempt)
      return
    end
    local bytes, last = encode_some(batch.items, from, batch.to)
    if bytes and not begin(self, batch, from, last) then
      s:refused(worker, first, batch.to - from + 1, attempt)
      return
    elseif bytes then
      to:add_batch(out, worker, self, self.keys, {
        first = first, count = last - from + 1, attempt = attempt, timeout = self.timeout,
        items = bytes,
      })
      from = last + 1
    else
      last.applied = "no"
      s:result(worker, first, attempt, false, last, 0)
      self.ready:notify()
      from = from + 1
    end
  end
end

-- What the workers of a session get now. A definition may be large: then it goes alone.
function Map:gather(to, out)
  if self.over or self.failure then return end
  local s = self.scheduler
  for _, worker in pairs(to.workers) do
    local batch = s:next_batch(worker)
    if batch then
      to:need(out, self, self.blobs)
      repeat
        add_batch(self, to, worker, batch, out)
        if self.failure then return end
        batch = out.bytes <= session.MESSAGE_BYTES and s:next_batch(worker)
      until not batch
    end
    if out.bytes > session.MESSAGE_BYTES then return end
  end
  if s.fresh < AHEAD then self.admitted:notify() end
end

-- ---- items in, results out ----

-- What the journal has of an item is its outcome. Returns whether the item is not
-- to be run: because of that, or because the journal cannot be read.
local function resume(self, item)
  local ok, value, bytes = self.journal:lookup(item)
  if ok ~= nil then
    self.scheduler:push_done(item, ok, value, bytes)
  elseif value then
    self.failure = self.failure or value
  else
    return false
  end
  self.ready:notify()
  return true
end

local function feed_items(self)
  local s = self.scheduler
  while not s.closed do
    local room = math.min(s:room(), FEED, AHEAD - s.fresh)
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
        -- the first after none: somebody may be waiting for it, and the source
        -- may be slow with the next
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
  -- results held back may have stopped the sending
  if s.fresh > 0 then self.cluster:wake() end
  return true
end

-- Whether there is, or soon may be, somebody to do the work.
local function usable(self)
  for l in pairs(self.cluster.sessions) do
    if uses(self, l.connection) and not l.draining and next(l.workers) then return true end
  end
  return false
end

-- Waits for results, or for the next thing that the clock brings.
local function wait(self)
  if self.on_idle then self.on_idle() end
  local now, seconds = sys.now(), LOOK
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
    if usable(self) or not s:idle() then usable_at = now end
    if now - usable_at > PATIENCE then
      err = self.cluster:no_workers()
      cut_short(self, err)
      write_rows(self)
      return nil, err
    elseif self.ends_at and now >= self.ends_at then
      self.ends_at = nil
      self.expired = errors.new({
        kind = "deadline", message = ("the map took longer than %g s"):format(self.deadline),
      })
      cut_short(self, self.expired)
    end
    send_cancels(self)
    if not s:finished() then wait(self) end
  end
  return not self.expired or nil, self.expired
end

-- However the map has ended, also with the task that ran it: nothing of it goes on.
function Map:__close()
  self.over = true
  self.scheduler:stop()
  self.cluster:remove_job(self)
  if self.feeder then self.feeder:cancel() end
end

--- Runs the map to its end: every result has been given to on_row when it
--- returns. Waits. A task that is cancelled in it leaves nothing of the map behind.
---@return boolean|nil true; or nil and an error: of kind "connect" when no node
--- was left to go on with, "deadline" when its time was over, "cancelled" when the cluster was
--- closed, or what on_row said
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

--- Sends nothing more; what runs is finished and counts, what never ran is
--- dropped.
function Map:stop()
  self.scheduler:stop()
  self.ready:notify()
end

--- Ends at once: what is under way fails with `err`, what never ran is dropped.
---@param err fleet.Error
function Map:abort(err)
  self.scheduler:abort(err)
  self.ready:notify()
end

--- Ends at once: every item that has no result yet fails with `err`, and the source is asked
--- for no more.
---@param err fleet.Error
function Map:expire(err)
  self.scheduler:expire(err)
  self.ready:notify()
end

return map
