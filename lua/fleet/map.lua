-- SPDX-License-Identifier: MIT
-- One map over a pool: moves items from their source through the scheduler to
-- the nodes, and results back. Decides nothing itself: fleet.scheduler says
-- what goes where, fleet.node how it is said.
--
-- Tasks: a feeder (source -> scheduler), a few lanes for each node (batches out,
-- records in: each lane has one request under way, and one request at least is
-- held at a node that has work, for its answers), a heartbeat for each node, and
-- the caller's own, which takes the results out.

local codec = require("host.codec")
local errors = require("fleet.errors")
local log = require("fleet.log")
local scheduler = require("fleet.scheduler")
local sys = require("host.sys")
local task = require("host.task")

local map = {}

local LANES = 4
-- Bytes of items in one message; what is more goes with the next.
local MESSAGE_BYTES = 1024 * 1024
-- Items admitted between two looks at everything else, and most items that wait
-- to be sent: more of them would only be out of the processor's caches.
local FEED = 2048
local AHEAD = 8192
local HEARTBEAT = 1
-- A node that does not answer a heartbeat for so long is lost.
local DEAD_AFTER = 15
local RECONNECT_FIRST, RECONNECT_LAST = 0.5, 10
-- How long a map waits for a node to come back when there is none.
local PATIENCE = 15

--- @class fleet.Link a node while it takes part in a map
--- @field node fleet.Node
--- @field workers table<integer, fleet.Worker> by index
--- @field seen table<integer, integer> newest generation known, by index
--- @field held integer requests under way
--- @field lost boolean
--- @field draining boolean

--- @class fleet.Worker
--- @field index integer
--- @field generation integer
--- @field link fleet.Link

--- @class fleet.MapOptions
--- @field pool fleet.Pool
--- @field job {key: string, definition: string}
--- @field source fleet.Source
--- @field scheduler table options of scheduler.new
--- @field on_row fun(item: any, ok: boolean, value: any): boolean|nil, fleet.Error|nil
--- takes one result, in order; may wait; nil and an error stop the map
--- @field on_idle fun() nothing more to take for now

--- @class fleet.Map
--- @field scheduler fleet.Scheduler
--- @field input_error fleet.Error|nil what ended the source early
local Map = {}
Map.__index = Map

--- Makes a map; `run` does it.
---@param options fleet.MapOptions
---@return fleet.Map
function map.new(options)
  return setmetatable({
    pool = options.pool,
    job = options.job,
    source = options.source,
    on_row = options.on_row,
    on_idle = options.on_idle,
    scheduler = scheduler.new(options.scheduler),
    links = {},
    ready = task.signal(),    -- there may be results
    admitted = task.signal(), -- there may be room for items
    work = task.signal(),     -- there may be something to send
    over = false,
  }, Map)
end

-- ---- workers come and go ----

local function add_worker(self, link, index, generation)
  if generation <= (link.seen[index] or 0) then return end
  link.seen[index] = generation
  local worker = { index = index, generation = generation, link = link }
  link.workers[index] = worker
  self.scheduler:add_worker(worker, link.node.name)
  if link.draining then self.scheduler:drain_worker(worker) end
  self.work:notify()
end

local function remove_worker(self, worker, cause)
  local link = worker.link
  if link.workers[worker.index] ~= worker then return end
  link.workers[worker.index] = nil
  self.scheduler:remove_worker(worker, cause)
  self.ready:notify()
  self.work:notify()
end

local function usable(self)
  for link in pairs(self.links) do
    if not link.draining and next(link.workers) then return true end
  end
  return false
end

-- Whether the node may have something to tell: results, or a worker's return.
local function busy(self, link)
  if not next(link.workers) then return true end
  for _, worker in pairs(link.workers) do
    if self.scheduler:in_flight(worker) > 0 then return true end
  end
  return false
end

-- Its workers finish what they have and get nothing more.
local function set_draining(self, link)
  if link.draining then return end
  link.draining = true
  for _, worker in pairs(link.workers) do self.scheduler:drain_worker(worker) end
  self.work:notify()
end

local function death(link, index, how)
  local signal = how.signal ~= 0 and how.signal or nil
  local why = signal and "killed by signal " .. signal or "exit code " .. how.code
  return {
    kind = "crash",
    message = ("worker %d of %s died (%s)"):format(index, link.node.name, why),
    signal = signal,
    node = link.node.name,
  }
end

-- ---- records ----

local events = {}

function events.report(self, link, index, report)
  local worker = link.workers[index]
  if worker and worker.generation ~= report.generation then worker = nil end
  self.from, self.bytes = worker, report.bytes / math.max(report.n, 1)
  if worker and report.n > 0 then
    self.scheduler:report(worker, report.n, report.cpu, report.wall)
  end
end

function events.hungry(self, link, index, state)
  local worker = link.workers[index]
  if worker and worker.generation == state.generation then
    self.scheduler:hungry(worker, state.running)
  end
end

function events.worker(self, link, index, how)
  local worker = link.workers[index]
  if how.state == "up" then
    add_worker(self, link, index, how.generation)
  elseif worker and worker.generation == how.generation then
    log.info("worker died", { node = link.node.name, worker = index, signal = how.signal })
    remove_worker(self, worker, death(link, index, how))
  end
end

function events.refused(self, link, index, batch)
  local worker = link.workers[index]
  if not worker then return end
  self.scheduler:refused(worker, batch.first, batch.count, batch.attempt)
  if batch.why == "draining" then
    set_draining(self, link)
  elseif batch.generation ~= worker.generation then
    remove_worker(self, worker, { kind = "refused", message = "the worker is gone" })
    if batch.generation then add_worker(self, link, index, batch.generation) end
  end
end

function events.state(self, link, _, state)
  if state.state == "draining" then set_draining(self, link) end
end

-- One record; the hot path of the whole driver. `self.from` is the worker of the
-- last report.
local function on_record(self, id, attempt, ok, value)
  if id == 0 then
    local event = events[attempt]
    if event then event(self, self.link, ok, value) end
    return
  end
  if not ok then
    value = errors.wrap(value)
    value.node, value.attempt = self.link.node.name, attempt
    value.applied = value.applied or "yes"
  end
  self.scheduler:result(self.from, id, attempt, ok, value, self.bytes)
end

local function take_records(self, link, records)
  if #records == 0 then return end
  self.link, self.from = link, nil
  local _, err = codec.each_result(records, on_record, self)
  self.ready:notify()
  return err
end

-- ---- lanes ----

-- Encodes items from .. last, as many as one message takes, and returns the bytes
-- and `last`. When the first of them cannot be encoded: nil and an error.
local function encode_some(items, from, to)
  local bytes, err, bad = codec.encode_list(items, from, to, MESSAGE_BYTES, "item")
  if bytes then return bytes, to end
  if bad > from then return codec.encode_list(items, from, bad - 1), bad - 1 end
  if err.kind == "too_large" then bytes, err = codec.encode_list(items, from, from, nil, "item") end
  return bytes, bytes and from or err
end

-- Adds a batch to a message; an item that cannot be encoded fails alone, and what
-- is too much for the message goes back to the queue.
local function add_batch(self, worker, batch, out)
  local s, from, attempt = self.scheduler, batch.from, batch.attempt
  while from <= batch.to do
    local first = batch.first + from - batch.from
    if out.bytes > MESSAGE_BYTES then
      s:refused(worker, first, batch.to - from + 1, attempt)
      return
    end
    local bytes, last = encode_some(batch.items, from, batch.to)
    if bytes then
      out[#out + 1] = {
        worker.index, worker.generation, self.job.key, first, last - from + 1, attempt, bytes,
      }
      out.bytes = out.bytes + #bytes
      from = last + 1
    else
      last.applied = "no"
      s:result(worker, first, attempt, false, last, 0)
      self.ready:notify()
      from = from + 1
    end
  end
end

local function gather(self, link)
  local out = { bytes = 0 }
  if link.draining then return out end
  for _, worker in pairs(link.workers) do
    local batch = self.scheduler:next_batch(worker)
    while batch do
      add_batch(self, worker, batch, out)
      if out.bytes > MESSAGE_BYTES then return out end
      batch = self.scheduler:next_batch(worker)
    end
  end
  return out
end

local lose -- and find again: calls attach, which starts lanes

local function lane(self, link)
  while not self.over and not link.lost do
    local batches = gather(self, link)
    if #batches == 0 and (link.held > 0 or not busy(self, link)) then
      self.work:wait()
    else
      link.held = link.held + 1
      batches.bytes = nil
      if self.scheduler.fresh < AHEAD then self.admitted:notify() end
      local records, err = link.node:work(self.job, batches)
      link.held = link.held - 1
      if records then err = take_records(self, link, records) end
      if err and not self.over then lose(self, link, err) end
    end
  end
end

local function heartbeat(self, link)
  while true do
    task.sleep(HEARTBEAT)
    if self.over or link.lost then return end
    local status, err = link.node:ask_status(DEAD_AFTER)
    if self.over or link.lost then return end
    if not status then
      lose(self, link, err)
      return
    end
    if status.state == "draining" then set_draining(self, link) end
    -- also tells of workers that came while no session was there to be told
    for _, w in ipairs(status.workers) do
      if not link.workers[w[1]] then add_worker(self, link, w[1], w[2]) end
    end
  end
end

local function attach(self, n)
  local ok, err = n:open_bulk()
  if not ok then return nil, err end
  local link = {
    node = n, workers = {}, seen = {}, held = 0, lost = false,
    draining = n.state == "draining",
  }
  self.links[link] = true
  for _, w in ipairs(n.status.workers) do add_worker(self, link, w[1], w[2]) end
  for _ = 1, LANES do task.spawn(lane, self, link) end
  task.spawn(heartbeat, self, link)
  return true
end

local function reconnect(self, n)
  local delay = RECONNECT_FIRST
  while not self.over do
    task.sleep(delay)
    if self.over then return end
    local back = self.pool:reconnect(n)
    if self.over then return end
    if back and attach(self, n) then
      log.info("node is back", { node = n.name })
      return
    end
    if n.state == "skew" then return end
    delay = math.min(2 * delay, RECONNECT_LAST)
  end
end

-- Takes in all nodes at once, and returns when each has been tried; those that
-- are down are looked for from then on.
local function join(self)
  local left, done = 0, task.signal()
  for _, n in ipairs(self.pool.nodes) do
    if n.state == "ready" then
      left = left + 1
      task.spawn(function()
        local ok, err = attach(self, n)
        if not ok then
          log.warn("node lost", { node = n.name, error = err.message })
          task.spawn(reconnect, self, n)
        end
        left = left - 1
        done:notify()
      end)
    elseif n.state == "down" then
      task.spawn(reconnect, self, n)
    end
  end
  while left > 0 do done:wait() end
end

function lose(self, link, err)
  if link.lost then return end
  link.lost = true
  self.links[link] = nil
  log.warn("node lost", { node = link.node.name, error = err.message })
  local cause = {
    kind = "lost", node = link.node.name,
    message = ("node %s was lost (%s)"):format(link.node.name, err.message),
  }
  local workers = {}
  for _, worker in pairs(link.workers) do workers[#workers + 1] = worker end
  for _, worker in ipairs(workers) do remove_worker(self, worker, cause) end
  link.node.state, link.node.error = "down", err
  link.node:close()
  task.spawn(reconnect, self, link.node)
end

-- ---- items in, results out ----

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
      else
        s:push(item)
        -- the first after none: somebody may be waiting for it, and the source
        -- may be slow with the next
        if s.fresh == 1 then self.work:notify() end
      end
    end
    self.work:notify()
    task.yield()
  end
end

local function feed(self)
  local ok, raised = pcall(feed_items, self)
  if not ok then -- better a map that ends than one that waits for ever
    self.input_error = errors.new({ kind = "raise", message = "items: " .. tostring(raised) })
    self.scheduler:close()
  end
  self.work:notify()
  self.ready:notify()
end

local function write_rows(self)
  local s = self.scheduler
  local id, item, ok, value = s:pop()
  if not id then return true end
  repeat
    local written, err = self.on_row(item, ok, value)
    if not written then return nil, err end
    id, item, ok, value = s:pop()
  until not id
  self.admitted:notify()
  -- results held back may have stopped the sending
  if s.fresh > 0 then self.work:notify() end
  return true
end

--- Runs the map to its end: every result has been given to on_row when it
--- returns. Waits.
---@return boolean|nil true; or nil and an error: of kind "connect" when no node
--- was left to go on with, or what on_row said
---@return fleet.Error|nil
function Map:run()
  local s = self.scheduler
  join(self)
  task.spawn(feed, self)
  local usable_at = sys.now()
  local failure
  while not s:finished() do
    local ok, err = write_rows(self)
    if not ok then
      failure = err
      self:abort(err)
      break
    end
    if usable(self) or not s:idle() then usable_at = sys.now() end
    if sys.now() - usable_at > PATIENCE then
      failure = self.pool:no_workers()
      self:abort(failure)
      write_rows(self)
      break
    end
    if not s:finished() then
      self.on_idle()
      self.ready:wait(1)
    end
  end
  self.over = true
  self.work:notify()
  self.admitted:notify()
  for link in pairs(self.links) do link.node:close_bulk() end
  return not failure or nil, failure
end

--- Sends nothing more; what runs is finished and counts, what never ran is
--- dropped.
function Map:stop()
  self.scheduler:stop()
  self.ready:notify()
end

--- Ends at once: what is under way fails with `err`.
---@param err fleet.Error
function Map:abort(err)
  self.scheduler:abort(err)
  self.ready:notify()
end

return map
