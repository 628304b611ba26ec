-- SPDX-License-Identifier: MIT
-- The nodes that a command works with: those of --peers, those that a discovery
-- finds, which come and go, or else a private node of this machine, started for
-- the command and gone with it.

local errors = require("fleet.errors")
local host_driver = require("host.driver")
local session = require("fleet.cluster.session")
local log = require("fleet.log")
local connection = require("fleet.cluster.connection")
local sys = require("host.sys")
local task = require("host.task")
local text = require("fleet.base.text")

local cluster = {}

--- @class fleet.Cluster
--- @field nodes fleet.Connection[]
--- @field private boolean whether it is a node of our own
--- @field found fleet.Discovery|nil what finds the nodes
--- @field sessions table<fleet.Session, true> the nodes in use
--- @field prepare fun(worker: fleet.Worker, ready: fun()) what a new worker needs first
--- @field on_upcall fun(session, worker, number, bytes) answers the upcalls of tasks
--- @field on_gone fun(worker) a worker died, or its node is lost
--- @field on_print fun(node: string, text: string) what a task printed
local Cluster = {}
Cluster.__index = Cluster

local RECONNECT_FIRST, RECONNECT_LAST = 0.5, 10
local END_TIMEOUT = 5
-- Nodes that an error names, when none can be used.
local MOST_REASONS = 5

local function print_line(node_name, words)
  io.stderr:write(("[%s] %s\n"):format(text.escape(node_name), text.plain(words)))
end

-- Starts a private node, a worker for each core.
local function start_local(self)
  local child, err = host_driver.local_node({ workers = sys.cores(), release = self.release })
  if not child then return nil, err end
  self.child = child
  return child
end

local function drop(self, n)
  n.gone = true
  n:close()
  for i, other in ipairs(self.nodes) do
    if other == n then table.remove(self.nodes, i) end
  end
end

-- Whether another node of ours is in fact this one: reached by another address, it would get the
-- work of two. One that retires does not count, it gets nothing more.
local function is_double(self, n)
  local boot = n.status and n.status.boot
  for _, other in ipairs(self.nodes) do
    if boot and other ~= n and not other.gone and other.state ~= "down" and other.status
      and other.status.boot == boot then
      log.warn("the same node at two addresses; one is enough",
        { node = n.name, address = other.address, other = n.address })
      return true
    end
  end
  return false
end

-- Results go by name: of nodes of one name those that come later get their address with it.
local function tell_apart(self, n)
  for _, other in ipairs(self.nodes) do
    if other ~= n and not other.gone and other.status and other.name == n.name then
      log.warn("two nodes of one name; give them names by serve --name",
        { node = n.name, address = other.address, other = n.address })
      n.other_name = ("%s@%s"):format(n.name, n.address)
      n.name = n.other_name
      return
    end
  end
end

-- To be called when a node has answered for the first time, or again. Returns whether it is one
-- more: of doubles the one that is here already stays.
local function settle(self, n)
  if n.state == "down" or n.state == "connecting" then return true end
  if is_double(self, n) then
    drop(self, n)
    return false
  end
  tell_apart(self, n)
  return true
end

-- Runs f(value) for each value of a list, all at once, and waits for all of them.
local function for_each(list, f)
  local left, done = #list, task.event()
  for _, value in ipairs(list) do
    task.spawn(function()
      f(value)
      left = left - 1
      if left == 0 then done:notify() end
    end)
  end
  while left > 0 do done:wait() end
end

local function new_node(self, member)
  local n = connection.new(member.address, self.release)
  n.zone, n.member = member.zone, member.id
  self.nodes[#self.nodes + 1] = n
  return n
end

local take_in -- below: has a node work
local follow  -- below: takes in who comes later

-- Connects a node beside everything else.
local function connect_aside(self, n)
  task.spawn(function()
    local ok = n:connect()
    if not self.opened then
      self.left_to_open = self.left_to_open - 1
      if self.left_to_open == 0 then self.changed:notify() end
    elseif self.closed or n.gone then
      n:close()
    elseif settle(self, n) then
      log.info(ok and "node joined" or "node found, it does not answer yet",
        { node = n.name, address = n.address })
      if self.joined then take_in(self, n) end
    end
  end)
end

-- Waits until f() holds, or until that time; it is looked at when sessions have changed.
local function wait_until(self, deadline, f)
  while not f() do
    local left = deadline - sys.now()
    if left <= 0 then return end
    self.changed:wait(left < math.huge and left or nil)
  end
end

-- Connects all nodes at once, and waits for them, but not longer than that. Of doubles, and of
-- nodes of one name, the first stays as it is: so it is looked at last.
local function connect_all(self, patience)
  self.left_to_open = #self.nodes
  for _, n in ipairs(self.nodes) do connect_aside(self, n) end
  wait_until(self, sys.now() + patience, function() return self.left_to_open == 0 end)
  self.opened = true
  for i = #self.nodes, 1, -1 do settle(self, self.nodes[i]) end
end

-- The members to begin with.
local function find_members(self, where)
  if self.found then return self.found:open() end
  local members = {}
  for i, address in ipairs(where or {}) do members[i] = { id = address, address = address } end
  if #members > 0 then return members end
  self.private = true
  local child, err = start_local(self)
  if not child then return nil, err end
  return { { id = "local", address = child:url() } }
end

--- Connects to all nodes at once, and returns when each has answered or failed, or when `patience`
--- is over: the others are "connecting" then, and are taken in when they have answered. What became
--- of each is in its `state` and `error`. Several addresses of one node make one. With a discovery,
--- nodes come and go from then on.
---@param where string[]|fleet.Discovery|nil addresses, or what finds the nodes, which is the
---cluster's from then on; nil or an empty list: a private node
---@param release string
---@param times table|nil seconds, as session.TIMES, which gives what is missing
---@param patience number|nil seconds; nil: as long as it takes, which is 10 at most
---@return fleet.Cluster|nil cluster or nil and an error, when a private node will not start or nothing
---is known of the fleet
---@return fleet.Error|nil
function cluster.open(where, release, times, patience)
  local self = setmetatable({
    nodes = {}, release = release,
    found = where and where.open and where or nil,
    times = setmetatable(times or {}, { __index = session.TIMES }),
    sessions = {}, jobs = { by_number = {} }, last_job = 0,
    opened = false,          -- whether the first connecting is over
    joined = false,          -- whether the nodes work for jobs
    changed = task.event(), -- something of the above, or of a session
    prepare = function(_, ready) ready() end,
    on_upcall = function() end,
    on_gone = function() end,
    on_print = print_line,
  }, Cluster)
  local members, err = find_members(self, where)
  if not members then
    self:close()
    return nil, err
  end
  for _, member in ipairs(members) do new_node(self, member) end
  if self.found then follow(self) end
  if self.private then self.nodes[1].address = "local" end
  connect_all(self, patience or math.huge)
  return self
end

--- Connects a node that was lost again; a private one is started anew. A cluster
--- that is closed meanwhile stays closed.
---@param n fleet.Connection
---@return boolean|nil true, or nil and an error
---@return fleet.Error|nil
function Cluster:reconnect(n)
  n:close()
  if self.private then
    self.child:stop()
    local child, err = start_local(self)
    if not child then return nil, err end
    n.url = child:url()
  end
  local ok, err = n:connect()
  if self.closed or n.gone then n:close() end
  if self.closed then self:close() end
  return ok, err
end

-- ---- sessions and jobs ----

local keep -- attaches a node, and looks for it again when it is lost

-- Has a connected node work for the jobs. `lost` is the session before, if there was one.
local function attach(self, n, lost)
  local l = session.new(n, {
    jobs = self.jobs, times = self.times,
    prepare = function(worker, ready) self.prepare(worker, ready) end,
    on_upcall = function(...) self.on_upcall(...) end,
    on_gone = function(worker) self.on_gone(worker) end,
    on_change = function(changed)
      if changed.known and n.is_away then
        n.is_away, n.delay = nil, nil
        log.info("node is back", { node = n.name })
      end
      self.changed:notify()
    end,
    on_lost = function(over)
      self.sessions[over] = nil
      self:wake()
      self.changed:notify()
      task.spawn(keep, self, n, over)
      if self.found and not next(self.sessions) then self.found:poke() end
    end,
  })
  n.is_away = lost ~= nil
  self.sessions[l] = true
  l:start()
end

-- What ran there for a session that we gave up may still be running.
local function end_old_session(n, lost)
  if not lost or n.status.boot ~= lost.boot then return end
  local dropped = n:end_session(END_TIMEOUT, lost.session_key)
  if dropped and dropped.running then
    log.info("node is back, what it still had of us was dropped",
      { node = n.name, running = dropped.running, records = dropped.records })
  end
end

function keep(self, n, lost)
  n.retry = task.event()
  while not self.closed and not n.gone do
    n.delay = n.delay and math.min(2 * n.delay, RECONNECT_LAST) or RECONNECT_FIRST
    n.retry:wait(n.delay * (0.5 + math.random() / 2)) -- not all drivers at once
    if self.closed or n.gone then return end
    local back = self:reconnect(n)
    n.tries = (n.tries or 0) + 1
    self.changed:notify()
    if self.closed or n.gone then return end
    if back then end_old_session(n, lost) end
    if not settle(self, n) then return end
    if back then
      n.retry = nil
      attach(self, n, lost or true)
      return
    end
  end
end

-- Has a node work for the jobs; one that is down is looked for from then on.
function take_in(self, n)
  if n.state == "ready" or n.state == "draining" then
    attach(self, n)
  else
    task.spawn(keep, self, n)
  end
end

-- A node that is being connected is taken in when that is done.
local function join(self)
  if self.joined then return end
  self.joined = true
  for _, n in ipairs({ table.unpack(self.nodes) }) do
    if n.state ~= "connecting" then take_in(self, n) end
  end
end

-- ---- who comes and goes ----

local function session_of(self, n)
  for l in pairs(self.sessions) do
    if l.connection == n then return l end
  end
  return nil
end

local function node_of(self, id)
  for _, n in ipairs(self.nodes) do
    if n.member == id and not n.gone then return n end
  end
  return nil
end

local function add(self, member)
  local n = new_node(self, member)
  if not self.opened then self.left_to_open = (self.left_to_open or 0) + 1 end
  connect_aside(self, n)
end

-- What it has is finished there.
local function remove(self, member)
  local n = node_of(self, member.id)
  if not n then return end -- a double of another
  log.info("node left the fleet", { node = n.name, address = n.address })
  local l = session_of(self, n)
  if not l then
    drop(self, n)
    return
  end
  n.gone = true
  task.spawn(function()
    l:retire()
    self.sessions[l] = nil
    drop(self, n)
    self:wake()
  end)
end

local function is_live(self, id)
  local n = node_of(self, id)
  if not n then return false end
  if self.joined then return session_of(self, n) ~= nil end
  return n.control ~= nil
end

function follow(self)
  self.found:follow(
    function(member) if not self.closed then add(self, member) end end,
    function(member) if not self.closed then remove(self, member) end end,
    function(id) return is_live(self, id) end)
end

--- Adds a job (see lua/fleet/cluster/session.lua): gives it its number and tells it of all
--- workers, now and as they come. The first has the sessions with the nodes opened. Does not wait.
---@param job table
function Cluster:add_job(job)
  join(self)
  self.last_job = self.last_job + 1
  job.number = self.last_job
  self.jobs[#self.jobs + 1] = job
  self.jobs.by_number[job.number] = job
  for l in pairs(self.sessions) do
    for _, worker in pairs(l.workers) do
      if worker.ready then l:introduce(job, worker) end
    end
  end
  self:wake()
end

--- Takes a job away; what it still has at the nodes is cancelled.
---@param job table
function Cluster:remove_job(job)
  for i, s in ipairs(self.jobs) do
    if s == job then table.remove(self.jobs, i) end
  end
  self.jobs.by_number[job.number] = nil
  for l in pairs(self.sessions) do l:close_job(job) end
end

--- Has every session look for what it could send.
function Cluster:wake()
  for l in pairs(self.sessions) do l.work:notify_one() end
end

local function is_opening(l)
  return not (l.known or l.over or l.full or l.suspect)
end

--- Waits until it is known of every node in use what workers it has for us, or that it does not
--- say so soon; but not longer than that. The first use opens the sessions.
---@param deadline number by sys.now
function Cluster:wait_open(deadline)
  join(self)
  wait_until(self, deadline, function()
    for l in pairs(self.sessions) do
      if is_opening(l) then return false end
    end
    return true
  end)
end

--- Asks all nodes how they are, and looks for those that are down, all at once; returns when it is
--- known, or at that time.
---@param deadline number by sys.now
function Cluster:look(deadline)
  self:wait_open(deadline)
  for_each({ table.unpack(self.nodes) }, function(n)
    local l, tries = session_of(self, n), n.tries
    if l then
      l:look(deadline)
    elseif n.retry then
      n.retry:notify()
      wait_until(self, deadline, function() return self.closed or n.tries ~= tries end)
    end
  end)
end

--- How many results came for what had ended, or was with somebody else by then.
---@return integer
function Cluster:late()
  local n = 0
  for l in pairs(self.sessions) do n = n + l.late end
  return n
end

--- The nodes that may get work.
---@return fleet.Connection[]
function Cluster:ready()
  local list = {}
  for _, n in ipairs(self.nodes) do
    if n.state == "ready" then list[#list + 1] = n end
  end
  return list
end

--- Why there is no node to work with, as one error.
---@return fleet.Error of kind "connect"
function Cluster:no_workers()
  local reasons = {}
  for i, n in ipairs(self.nodes) do
    if i > MOST_REASONS then
      reasons[i] = ("and %d more"):format(#self.nodes - MOST_REASONS)
      break
    end
    reasons[i] = n.error and n.error.message or ("%s is %s"):format(n.address, n.state)
  end
  if #reasons == 0 and self.found then reasons[1] = self.found:nobody() end
  return errors.new({
    kind = "connect",
    message = "no node can be used: " .. table.concat(reasons, "; "),
  })
end

--- Ends the sessions, closes all connections, ends the private node. Waits a moment for
--- nodes to say that they have heard.
function Cluster:close()
  local first = not self.closed
  self.closed = true
  if self.found then self.found:close() end
  for _, job in ipairs({ table.unpack(self.jobs) }) do job:cluster_closed() end
  if first and not self.child then
    local left, done = 0, task.event()
    for l in pairs(self.sessions) do
      left = left + 1
      task.spawn(function()
        l:close()
        left = left - 1
        if left == 0 then done:notify() end
      end)
    end
    while left > 0 do done:wait() end
  end
  for l in pairs(self.sessions) do l:abandon() end
  for _, n in ipairs(self.nodes) do n:close() end
  if self.child then self.child:stop() end
end

return cluster
