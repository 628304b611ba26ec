-- SPDX-License-Identifier: MIT
-- The nodes that a command works with: those that it names or starts; those that discoveries find,
-- which come and go; or else a private node of this machine, which lives as long as the command.

local access = require("fleet.cluster.access")
local channel = require("host.channel")
local connection = require("fleet.cluster.connection")
local errors = require("fleet.errors")
local host_driver = require("host.driver")
local log = require("fleet.log")
local parallel = require("fleet.base.parallel")
local release = require("fleet.discovery.release")
local session = require("fleet.cluster.session")
local sys = require("host.sys")
local task = require("host.task")
local text = require("fleet.base.text")

local cluster = {}

--- @class fleet.Cluster
--- @field nodes fleet.Connection[]
--- @field private boolean whether it is a node of our own
--- @field releases table<string, string> by name, those of all nodes that have worked
--- @field access fleet.Access how those over TCP are reached
--- @field discoveries fleet.Discovery[] find nodes
--- @field sessions table<fleet.Session, true> with the nodes in use
--- @field prepare fun(worker: fleet.Worker, ready: fun()) does what a new worker needs first
--- @field on_upcall fun(session, worker, number, bytes) replies to tasks that call their driver
--- @field on_removed fun(worker) a worker died, or its node was lost
--- @field on_print fun(node: string, text: string) a task printed
local Cluster = {}
Cluster.__index = Cluster

-- Seconds.
local FIRST_RECONNECT_DELAY, MAX_RECONNECT_DELAY = 0.5, 10
local END_TIMEOUT = 5
-- Of a private node, on a machine that is busy.
local START_TIMEOUT = 60
-- Seconds that nodes which have answered wait for the others.
local OTHERS_TIMEOUT = 10
-- Nodes that an error names, when none can be used.
local MAX_REASONS = 5

local function print_line(node_name, words)
  io.stderr:write(("[%s] %s\n"):format(text.escape(node_name), text.plain(words)))
end

-- Starts a private node with a worker for each core. Returns a function that gives the channel to
-- it, once; or nil and an error.
local function start_local(self)
  local child, err = host_driver.local_node({
    workers = sys.cores(), release = release.first(self.release, sys.version),
  })
  if not child then return nil, err end
  self.child = child
  local descriptor = child:descriptor()
  local first, why = channel.dial({
    input = descriptor, output = descriptor, name = "local", timeout = START_TIMEOUT,
  })
  if not first then
    child:stop()
    return nil, errors.format("connect", "the local node did not start (%s); its log is above",
      why.message)
  end
  return function()
    local given = first
    first = nil
    if given then return given end
    return nil, errors.new({ kind = "connect", message = "the local node has ended" })
  end
end

-- A node whose process is ours ends with its channel.
local function close_node(n)
  n:close()
  if n.launched then n.launched:close() end
end

local function drop(self, n)
  n.removed = true
  task.spawn(close_node, n)
  for i, other in ipairs(self.nodes) do
    if other == n then table.remove(self.nodes, i) end
  end
end

-- Whether another of the nodes is in fact this one, at another address: it would get the work of
-- two. One that retires does not count, as it gets nothing more.
local function is_duplicate(self, n)
  local boot = n.status and n.status.boot
  for _, other in ipairs(self.nodes) do
    if boot and other ~= n and not other.removed and other.state ~= "down" and other.status
      and other.status.boot == boot then
      log.warn("one node at two addresses; it is used once",
        { node = n.name, address = other.address, other = n.address })
      return true
    end
  end
  return false
end

-- Results are by name, so of nodes with the same name the later ones get their address with it. Of
-- several that were started on one machine that is to be expected.
local function make_name_unique(self, n)
  for _, other in ipairs(self.nodes) do
    if other ~= n and not other.removed and other.status and other.name == n.name then
      if not n.launched then
        log.warn("two nodes have the same name; set different names with serve --name",
          { node = n.name, address = other.address, other = n.address })
      end
      n.other_name = ("%s@%s"):format(n.name, n.address)
      n.name = n.other_name
      return
    end
  end
end

-- Admits a node that has answered for the first time, or again. Returns whether it is another node;
-- of duplicates the present one stays.
local function admit(self, n)
  if n.state == "down" or n.state == "connecting" then return true end
  if is_duplicate(self, n) then
    drop(self, n)
    return false
  end
  make_name_unique(self, n)
  return true
end

-- A node that is to be started, or nil. What starts nodes is loaded when used, so that short
-- commands start fast.
local function new_launched(member)
  return member.launch and require("fleet.cluster.launched").new(member.launch, function(line)
    print_line(member.launch.name, line)
  end)
end

-- What dials a node that is named or found.
local function dialer(self, address)
  local url = connection.url(address)
  return function(seconds) return self.access:dial(url, seconds) end
end

local function new_node(self, member, discovery)
  local started = new_launched(member)
  local n = connection.new(member.address, self.release, started
    and function() return started:dial() end or member.dial or dialer(self, member.address))
  n.zone, n.member, n.discovery, n.launched = member.zone, member.id, discovery, started
  if started then
    n.started_by = member.launch.shown
    n.explain = function(err) return started:explain(err) end
  end
  self.nodes[#self.nodes + 1] = n
  return n
end

local use -- below: has a node work

-- Connects a node in a task of its own.
local function connect_aside(self, n)
  task.spawn(function()
    local ok = n:connect()
    if not self.opened then
      self.connecting = self.connecting - 1
      self.changed:notify()
    elseif self.closed or n.removed then
      close_node(n)
    elseif admit(self, n) then
      log.info(ok and "node joined" or "node found, it does not answer yet",
        { node = n.name, address = n.address })
      if self.in_use then use(self, n) end
    end
  end)
end

-- Waits until f() holds, or until that time; f is called whenever sessions have changed.
local function wait_until(self, deadline, f)
  while not f() do
    local left = deadline - sys.now()
    if left <= 0 then return end
    self.changed:wait(left < math.huge and left or nil)
  end
end

-- Connects all nodes at the same time, and waits for them until the timeout, but not for long when
-- some can be used. Of duplicate nodes and of nodes with the same name the first one wins, so it is
-- visited last.
local function connect_all(self, timeout)
  local started = sys.now()
  self.connecting = #self.nodes
  for _, n in ipairs(self.nodes) do connect_aside(self, n) end
  wait_until(self, started + math.min(timeout, OTHERS_TIMEOUT), function()
    return self.connecting == 0
  end)
  wait_until(self, started + timeout, function()
    return self.connecting == 0 or #self:ready() > 0
  end)
  self.opened = true
  for i = #self.nodes, 1, -1 do admit(self, self.nodes[i]) end
end

-- Adds the nodes to begin with. Returns true, or nil and an error.
local function find_nodes(self, members)
  for _, member in ipairs(members) do
    local fault = not member.launch and self.access:fault(connection.url(member.address))
    if fault then return nil, fault end
  end
  if #members + #self.discoveries == 0 then
    self.private = true
    local dial, err = start_local(self)
    if not dial then return nil, err end
    members = { { id = "local", address = "local", dial = dial } }
  end
  for _, member in ipairs(members) do new_node(self, member) end
  for _, discovery in ipairs(self.discoveries) do
    local found, err = discovery:open()
    if not found then return nil, err end
    for _, member in ipairs(found) do new_node(self, member, discovery) end
  end
  return true
end

local follow -- below: members that come and go
local keep_keys -- below: looks for new ones

--- Connects to all nodes at the same time, and returns when each has answered or failed, or at the
--- timeout: the others are "connecting" then, and are used when they have answered. The outcome for
--- each is in its `state` and `error`. Several addresses of one node make one node. With a
--- discovery, nodes come and go from then on.
---@param where fleet.NodeSources|nil whose discoveries the cluster owns from then on; nil, or
---without any: a private node
---@param wanted string the release of the nodes that are used, or several
---@param times table|nil seconds, as session.TIMES (the default for missing ones)
---@param timeout number|nil seconds; nil: as long as it takes, at most 10
---@return fleet.Cluster|nil cluster or nil and an error, when a private node does not start or
---nothing is known of the fleet
---@return fleet.Error|nil
function cluster.open(where, wanted, times, timeout)
  where = where or { members = {}, discoveries = {} }
  local self = setmetatable({
    nodes = {}, release = wanted, releases = {},
    discoveries = where.discoveries,
    access = where.access or access.new(),
    times = setmetatable(times or {}, { __index = session.TIMES }),
    sessions = {}, jobs = { by_number = {} }, last_job = 0,
    opened = false,         -- whether the first attempt to connect is over
    in_use = false,         -- whether the nodes work for jobs
    changed = task.event(), -- one of these, or a session, has changed
    prepare = function(_, ready) ready() end,
    on_upcall = function() end,
    on_removed = function() end,
    on_print = print_line,
  }, Cluster)
  local found, err = find_nodes(self, where.members)
  if not found then
    self:close()
    return nil, err
  end
  for _, discovery in ipairs(self.discoveries) do follow(self, discovery) end
  if self.access.identity then task.spawn(keep_keys, self) end
  if self.access.stored then self.following = task.start(self.access.follow, self.access) end
  connect_all(self, timeout or math.huge)
  return self
end

--- Connects a node again that was lost; a private one is restarted. A cluster that is closed
--- meanwhile stays closed.
---@param n fleet.Connection
---@return boolean|nil true, or nil and an error
---@return fleet.Error|nil
function Cluster:reconnect(n)
  n:close()
  if self.private then
    self.child:stop()
    local dial, err = start_local(self)
    if not dial then return nil, err end
    n.dial = dial
  elseif n.launched then
    n.launched:restart()
  end
  local ok, err = n:connect()
  if self.closed or n.removed then close_node(n) end
  if self.closed then self:close() end
  return ok, err
end

-- ---- sessions ----

local keep_reconnecting -- below: connects a lost node again

-- Begins a session with a connected node. `lost` is the session before, if there was one.
local function begin_session(self, n, lost)
  local begun = session.new(n, {
    jobs = self.jobs, times = self.times,
    prepare = function(worker, ready) self.prepare(worker, ready) end,
    on_upcall = function(...) self.on_upcall(...) end,
    on_print = function(...) self.on_print(...) end,
    on_removed = function(worker) self.on_removed(worker) end,
    on_change = function(changed)
      if changed.is_open and n.is_away then
        n.is_away, n.delay = nil, nil
        log.info("node is back", { node = n.name })
      end
      self.changed:notify()
    end,
    on_lost = function(ended)
      self.sessions[ended] = nil
      self:wake()
      self.changed:notify()
      task.spawn(keep_reconnecting, self, n, ended)
      for _, discovery in ipairs(next(self.sessions) and {} or self.discoveries) do
        discovery:refresh()
      end
    end,
  })
  n.is_away = lost ~= nil
  self.releases[n.name] = n.status.release
  self.sessions[begun] = true
  begun:start()
end

-- Ends a session that was given up: its tasks may still be running.
local function end_old_session(n, lost)
  if not lost or n.status.boot ~= lost.boot then return end
  local dropped = n:end_session(END_TIMEOUT, lost.key)
  if dropped and dropped.running then
    log.info("node is back; dropped what was left of the lost session",
      { node = n.name, running = dropped.running, events = dropped.events })
  end
end

function keep_reconnecting(self, n, lost)
  n.retry = task.event()
  while not self.closed and not n.removed do
    n.delay = n.delay and math.min(2 * n.delay, MAX_RECONNECT_DELAY) or FIRST_RECONNECT_DELAY
    n.retry:wait(n.delay * (0.5 + math.random() / 2)) -- not all drivers at the same time
    if self.closed or n.removed then return end
    local back = self:reconnect(n)
    n.tries = (n.tries or 0) + 1
    self.changed:notify()
    if self.closed or n.removed then return end
    if back then end_old_session(n, lost) end
    if not admit(self, n) then return end
    if back then
      n.retry = nil
      begin_session(self, n, lost or true)
      return
    end
  end
end

-- Has a node work for the jobs; one that is down is connected again and again from then on.
function use(self, n)
  if n.state == "ready" or n.state == "draining" then
    begin_session(self, n)
  else
    task.spawn(keep_reconnecting, self, n)
  end
end

-- Begins to use the nodes; one that is still connecting is used when that is done.
local function use_all(self)
  if self.in_use then return end
  self.in_use = true
  for _, n in ipairs({ table.unpack(self.nodes) }) do
    if n.state ~= "connecting" then use(self, n) end
  end
end

-- ---- members ----

local function session_of(self, n)
  for s in pairs(self.sessions) do
    if s.connection == n then return s end
  end
  return nil
end

local function node_of(self, id, discovery)
  for _, n in ipairs(self.nodes) do
    if n.member == id and n.discovery == discovery and not n.removed then return n end
  end
  return nil
end

local function add_member(self, member, discovery)
  if self.closed then return end
  local n = new_node(self, member, discovery)
  if not self.opened then self.connecting = (self.connecting or 0) + 1 end
  connect_aside(self, n)
end

-- Its node finishes what it has.
local function remove_member(self, member, discovery)
  local n = not self.closed and node_of(self, member.id, discovery)
  if not n then return end -- or a duplicate of another
  log.info("node left the fleet", { node = n.name, address = n.address })
  local s = session_of(self, n)
  if not s then
    drop(self, n)
    return
  end
  n.removed = true
  task.spawn(function()
    s:retire()
    self.sessions[s] = nil
    drop(self, n)
    self:wake()
  end)
end

local function is_live(self, id, discovery)
  local n = node_of(self, id, discovery)
  if not n then return false end
  if self.in_use then return session_of(self, n) ~= nil end
  return n.channel ~= nil
end

function follow(self, discovery)
  discovery:follow(
    function(member) add_member(self, member, discovery) end,
    function(member) remove_member(self, member, discovery) end,
    function(id) return is_live(self, id, discovery) end)
end

-- ---- keys ----

-- Closes the connections to nodes that are not accepted any more. A session tries to go on over
-- another one: the node may get new keys at the same time.
local function drop_refused(self, is_new)
  for _, n in ipairs({ table.unpack(self.nodes) }) do
    local err = n.channel and self.access:refusal(n.channel, is_new)
    local s = err and session_of(self, n)
    if err then
      log.warn("connection closed", { node = n.name, error = err.message })
      n.channel:close()
    end
    if s then s:check_now() end
  end
end

function keep_keys(self)
  local changes = 0
  while not self.closed do
    task.sleep(access.INTERVAL)
    if self.closed then return end
    self.access:refresh()
    drop_refused(self, self.access.changes ~= changes)
    changes = self.access.changes
  end
end

-- ---- jobs ----

--- Adds a job (see fleet.cluster.session): gives it its number and introduces all workers to it,
--- now and as they come. The first job has the sessions with the nodes opened. Does not wait.
---@param job table
function Cluster:add_job(job)
  use_all(self)
  self.last_job = self.last_job + 1
  job.number = self.last_job
  self.jobs[#self.jobs + 1] = job
  self.jobs.by_number[job.number] = job
  for s in pairs(self.sessions) do
    for _, worker in pairs(s.workers) do
      if worker.ready then s:introduce(job, worker) end
    end
  end
  self:wake()
end

--- Removes a job; its tasks at the nodes are cancelled.
---@param job table
function Cluster:remove_job(job)
  for i, other in ipairs(self.jobs) do
    if other == job then table.remove(self.jobs, i) end
  end
  self.jobs.by_number[job.number] = nil
  for s in pairs(self.sessions) do s:close_job(job) end
end

--- Has every session send what there is to send.
function Cluster:wake()
  for s in pairs(self.sessions) do s:wake() end
end

--- Waits until all sessions are open, so that their workers are known, except with nodes that will
--- not be ready soon; but no longer than until the deadline. The first use opens the sessions.
---@param deadline number by sys.now
function Cluster:wait_open(deadline)
  use_all(self)
  wait_until(self, deadline, function()
    for s in pairs(self.sessions) do
      if not (s.is_open or s.closed or s.full or s.suspect) then return false end
    end
    return true
  end)
end

--- Polls the status of all nodes, and connects those that are down, all at the same time; returns
--- when the outcome is known, or at the deadline.
---@param deadline number by sys.now
function Cluster:poll(deadline)
  self:wait_open(deadline)
  parallel.each({ table.unpack(self.nodes) }, function(n)
    local s, tries = session_of(self, n), n.tries
    if s then
      s:poll(deadline)
    elseif n.retry then
      n.retry:notify()
      wait_until(self, deadline, function() return self.closed or n.tries ~= tries end)
    end
  end)
end

--- Returns the nodes that may get work.
---@return fleet.Connection[]
function Cluster:ready()
  local list = {}
  for _, n in ipairs(self.nodes) do
    if n.state == "ready" then list[#list + 1] = n end
  end
  return list
end

--- Returns why no node can be used, as one error.
---@return fleet.Error of kind "connect"; "usage" when keys are missing
function Cluster:no_workers()
  local reasons, kind = {}, #self.nodes > 0 and "usage" or "connect"
  for _, n in ipairs(self.nodes) do
    local keys_missing = n.error and n.error.kind == "usage"
      and self.access:fault(connection.url(n.address))
    if not keys_missing then kind = "connect" end
  end
  for i, n in ipairs(self.nodes) do
    if i > MAX_REASONS then
      reasons[i] = ("and %d more"):format(#self.nodes - MAX_REASONS)
      break
    end
    reasons[i] = n.error and n.error.message or ("%s is %s"):format(n.address, n.state)
  end
  for i, discovery in ipairs(#reasons == 0 and self.discoveries or {}) do
    reasons[i] = discovery:why_empty()
  end
  return errors.format(kind, "no node can be used: %s", table.concat(reasons, "; "))
end

--- Ends the sessions, closes all channels and stops the private node and those that were launched.
--- Waits at most a second for the nodes' replies, and two for launched processes.
function Cluster:close()
  local first = not self.closed
  self.closed = true
  if self.following then self.following:cancel() end
  for _, discovery in ipairs(self.discoveries) do discovery:close() end
  for _, job in ipairs({ table.unpack(self.jobs) }) do job:cluster_closed() end
  local open = {}
  for s in pairs(self.sessions) do open[#open + 1] = s end
  if first and not self.child then parallel.each(open, function(s) s:close() end) end
  for _, s in ipairs(open) do s:close(true) end
  parallel.each({ table.unpack(self.nodes) }, close_node)
  if self.child then self.child:stop() end
end

return cluster
