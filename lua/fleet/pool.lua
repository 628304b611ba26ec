-- SPDX-License-Identifier: MIT
-- The nodes that a command works with: those of --peers, or else a private node
-- of this machine, started for the command and gone with it.

local errors = require("fleet.errors")
local link = require("fleet.link")
local log = require("fleet.log")
local node = require("fleet.node")
local sys = require("host.sys")
local task = require("host.task")

local pool = {}

--- @class fleet.Pool
--- @field nodes fleet.Node[]
--- @field private boolean whether it is a node of our own
--- @field links table<fleet.Link, true> the nodes in use
--- @field prepare fun(worker: fleet.Worker, ready: fun()) what a new worker needs first
--- @field on_ask fun(link, worker, number, bytes) answers tasks that ask their driver
--- @field on_gone fun(worker) a worker died, or its node is lost
--- @field on_print fun(node: string, text: string) what a task printed
local Pool = {}
Pool.__index = Pool

local RECONNECT_FIRST, RECONNECT_LAST = 0.5, 10
local END_TIMEOUT = 5

local function print_line(node_name, text)
  io.stderr:write(("[%s] %s\n"):format(node_name, text))
end

-- Starts a private node, a worker for each core.
local function start_local(self)
  local child, err = sys.local_node({ workers = sys.cores(), release = self.release })
  if not child then return nil, err end
  self.child = child
  return child
end

-- A node that several addresses lead to counts once, or it would get the work
-- of two.
local function drop_doubles(self)
  local addresses, kept = {}, {}
  for _, n in ipairs(self.nodes) do
    local boot = n.status and n.status.boot
    if boot and addresses[boot] then
      log.warn("the same node at two addresses; one is enough",
        { node = n.name, address = addresses[boot], other = n.address })
      n:close()
    else
      if boot then addresses[boot] = n.address end
      kept[#kept + 1] = n
    end
  end
  self.nodes = kept
end

-- Results go by name. Of several nodes of one name all but the first get their address with it.
local function tell_apart(self)
  local taken = {}
  for _, n in ipairs(self.nodes) do
    if n.status and taken[n.name] then
      log.warn("two nodes of one name; give them names by serve --name",
        { node = n.name, address = taken[n.name], other = n.address })
      n.other_name = ("%s@%s"):format(n.name, n.address)
      n.name = n.other_name
    end
    taken[n.name] = n.address
  end
end

--- Connects to all nodes at once, and returns when each has answered or failed;
--- what became of each is in its `state` and `error`. Several addresses of one
--- node make one.
---@param peers string[]|nil addresses; nil or none: a private node
---@param release string
---@param times table|nil seconds, as fleet.link.TIMES, which gives what is missing
---@return fleet.Pool|nil pool or nil and an error, when a private node will not start
---@return fleet.Error|nil
function pool.open(peers, release, times)
  local self = setmetatable({
    nodes = {}, release = release,
    times = setmetatable(times or {}, { __index = link.TIMES }),
    links = {}, streams = { by_number = {} }, last_stream = 0,
    joined = false, join_done = task.signal(),
    prepare = function(_, ready) ready() end,
    on_ask = function() end,
    on_gone = function() end,
    on_print = print_line,
  }, Pool)
  if not peers or #peers == 0 then
    self.private = true
    local child, err = start_local(self)
    if not child then return nil, err end
    peers = { child:url() }
  end
  local left, done = 0, task.signal()
  for i, address in ipairs(peers) do
    local n = node.new(address, release)
    if self.private then n.address = "local" end
    self.nodes[i] = n
    left = left + 1
    task.spawn(function()
      n:connect()
      left = left - 1
      if left == 0 then done:notify() end
    end)
  end
  while left > 0 do done:wait() end
  drop_doubles(self)
  tell_apart(self)
  return self
end

--- Connects a node that was lost again; a private one is started anew. A pool
--- that is closed meanwhile stays closed.
---@param n fleet.Node
---@return boolean|nil true, or nil and an error
---@return fleet.Error|nil
function Pool:reconnect(n)
  n:close()
  if self.private then
    self.child:stop()
    local child, err = start_local(self)
    if not child then return nil, err end
    n.url = child:url()
  end
  local ok, err = n:connect()
  if self.closed then self:close() end
  return ok, err
end

-- ---- links and streams ----

local keep -- attaches a node, and looks for it again when it is lost

local function attach(self, n)
  local l, err = link.open(n, {
    streams = self.streams, times = self.times,
    prepare = function(worker, ready) self.prepare(worker, ready) end,
    on_ask = function(...) self.on_ask(...) end,
    on_gone = function(worker) self.on_gone(worker) end,
    on_lost = function(lost)
      self.links[lost] = nil
      self:wake()
      task.spawn(keep, self, n, lost)
    end,
  })
  if not l then return nil, err end
  if self.closed then
    n:close()
    return true
  end
  self.links[l] = true
  l:start()
  return true
end

-- What ran there for a session that we gave up may still be running.
local function end_old_session(n, lost)
  if not lost or n.status.boot ~= lost.boot then return end
  local dropped = n:end_session(END_TIMEOUT, lost.session)
  if dropped and dropped.running then
    log.info("node is back, what it still had of us was dropped",
      { node = n.name, running = dropped.running, records = dropped.records })
  end
end

function keep(self, n, lost)
  local delay = RECONNECT_FIRST
  while not self.closed do
    task.sleep(delay * (0.5 + math.random() / 2)) -- not all drivers at once
    if self.closed then return end
    local back = self:reconnect(n)
    if self.closed then return end
    if back then end_old_session(n, lost) end
    if back and attach(self, n) then
      log.info("node is back", { node = n.name })
      return
    end
    delay = math.min(2 * delay, RECONNECT_LAST)
  end
end

-- Takes in all nodes at once, and returns when each has been tried; those that
-- are down are looked for from then on.
local function join(self)
  local left, done = 0, task.signal()
  for _, n in ipairs(self.nodes) do
    if n.state == "ready" or n.state == "draining" then
      left = left + 1
      task.spawn(function()
        local ok, err = attach(self, n)
        if not ok then
          n.state, n.error = "down", err
          log.warn("node lost", { node = n.name, error = err.message })
          task.spawn(keep, self, n)
        end
        left = left - 1
        if left == 0 then done:notify() end
      end)
    else
      task.spawn(keep, self, n)
    end
  end
  while left > 0 do done:wait() end
end

-- Several tasks may come here while the first joins.
local function join_once(self)
  if not self.joining then
    self.joining = true
    join(self)
    self.joined = true
    self.join_done:notify()
  end
  while not self.joined do self.join_done:wait() end
end

--- Adds a stream (see fleet.link): gives it its number and tells it of all workers. Connects
--- to the nodes first, when it is the first stream. Waits for that.
---@param stream table
function Pool:add_stream(stream)
  join_once(self)
  self.last_stream = self.last_stream + 1
  stream.number = self.last_stream
  self.streams[#self.streams + 1] = stream
  self.streams.by_number[stream.number] = stream
  for l in pairs(self.links) do
    for _, worker in pairs(l.workers) do
      if worker.ready then l:introduce(stream, worker) end
    end
  end
  self:wake()
end

--- Takes a stream away; what it still has at the nodes is cancelled.
---@param stream table
function Pool:remove_stream(stream)
  for i, s in ipairs(self.streams) do
    if s == stream then table.remove(self.streams, i) end
  end
  self.streams.by_number[stream.number] = nil
  for l in pairs(self.links) do l:close_stream(stream) end
end

--- Has every link look for what it could send.
function Pool:wake()
  for l in pairs(self.links) do l.work:notify() end
end

--- How many results came for what had ended, or was with somebody else by then.
---@return integer
function Pool:late()
  local n = 0
  for l in pairs(self.links) do n = n + l.late end
  return n
end

--- The nodes that may get work.
---@return fleet.Node[]
function Pool:ready()
  local list = {}
  for _, n in ipairs(self.nodes) do
    if n.state == "ready" then list[#list + 1] = n end
  end
  return list
end

--- Why there is no node to work with, as one error.
---@return fleet.Error of kind "connect"
function Pool:no_workers()
  local reasons = {}
  for _, n in ipairs(self.nodes) do
    reasons[#reasons + 1] = n.error and n.error.message or ("%s is %s"):format(n.address, n.state)
  end
  return errors.new({
    kind = "connect",
    message = "no node can be used: " .. table.concat(reasons, "; "),
  })
end

--- Ends the sessions, closes all connections, ends the private node. Waits a moment for
--- nodes to say that they have heard.
function Pool:close()
  local first = not self.closed
  self.closed = true
  for _, stream in ipairs({ table.unpack(self.streams) }) do stream:pool_closed() end
  if first and not self.child then
    local left, done = 0, task.signal()
    for l in pairs(self.links) do
      left = left + 1
      task.spawn(function()
        l:close()
        left = left - 1
        if left == 0 then done:notify() end
      end)
    end
    while left > 0 do done:wait() end
  end
  for l in pairs(self.links) do l:abandon() end
  for _, n in ipairs(self.nodes) do n:close() end
  if self.child then self.child:stop() end
end

return pool
