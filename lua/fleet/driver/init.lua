-- SPDX-License-Identifier: MIT
-- The driver: does the work of the library's functions (see fleet) in the process of a command. It
-- has the cluster of the command line, which it opens at the first use, and ships functions to it.
-- fleet.worker.client is the same for tasks.

local access = require("fleet.cluster.access")
local calls = require("fleet.driver.calls")
local cluster = require("fleet.cluster")
local codec = require("host.codec")
local digest = require("fleet.digest")
local errors = require("fleet.errors")
local future = require("fleet.base.future")
local journal = require("fleet.driver.journal")
local log = require("fleet.log")
local map = require("fleet.driver.map")
local singleflight = require("fleet.base.singleflight")
local sys = require("host.sys")
local task = require("host.task")
local text = require("fleet.base.text")

local TIMES = require("fleet.cluster.session").TIMES

local driver = {}

-- Seconds that a poll of the nodes may take: a node that does not answer in time is shown as it was
-- last known.
local POLL_TIMEOUT = 1

--- @class fleet.Driver
--- @field cluster fleet.Cluster
local Driver = {}
Driver.__index = Driver

-- Of this process: there is one command line.
local settings, current

--- Sets what the cluster is to be, before its first use.
---@param flags table of the command line
---@param command string|nil its name, for messages
function driver.configure(flags, command)
  settings = { flags = flags, command = command or "moonfleet" }
end

--- Sets what shows the output of tasks, before the first use of the cluster; without it, it goes to
--- stderr, each line with the name of its node.
---@param on_print fun(node: string, text: string)
function driver.show_prints(on_print)
  settings.on_print = on_print
end

-- Kinds of errors that the user must correct. Anything else that keeps nodes from being found (a
-- service that fails, TLS, time) comes to the same: there are none.
local MISTAKES = { usage = true, config = true, input = true }

-- A node sends nothing between two polls, so it may be silent for longer than the interval.
local function check_times(flags)
  local heartbeat = flags.heartbeat or TIMES.heartbeat
  for _, name in ipairs({ "suspect_after", "dead_after" }) do
    local limit = flags[name] or TIMES[name]
    if heartbeat >= limit then
      return nil, errors.format("usage", "--%s (%g s) must be longer than --heartbeat (%g s)",
        name:gsub("_", "-"), limit, heartbeat)
    end
  end
  return true
end

--- Opens a cluster as the command line says; see fleet.cluster. Waits.
---@param timeout number|nil seconds to wait for the nodes; nil: as long as it takes
---@param keys fleet.Access|nil what --tls and --insecure gave, if that is loaded already
---@return fleet.Cluster|nil
---@return fleet.Error|nil of kind "usage", "config", "input" or "connect"
function driver.open_cluster(timeout, keys)
  local flags = settings.flags
  local ok, fault = check_times(flags)
  if not ok then return nil, fault end
  local opened, where, err
  if not keys and (flags.peers or flags.discover) then
    keys, err = access.open(flags, settings.command)
  end
  if not err then
    where, err = require("fleet.discovery.resolve").nodes(flags, os.getenv, keys and keys:fleet())
  end
  if where then where.access = keys end
  if not err then
    opened, err = cluster.open(where, flags.release, {
      heartbeat = flags.heartbeat, suspect_after = flags.suspect_after,
      dead_after = flags.dead_after,
    }, timeout)
  end
  if opened or MISTAKES[err.kind] then return opened, err end
  return nil, errors.new({ kind = "connect", message = err.message })
end

--- Makes a driver of a cluster that is open.
---@param open_cluster fleet.Cluster
---@return fleet.Driver
function driver.new(open_cluster)
  task.preempt() -- heartbeats continue while the script computes
  -- a private node trusts what the command line says; others decide for themselves
  require("fleet.ship.modules").allow(not open_cluster.private
    or settings and settings.flags.modules or {})
  local self = setmetatable({ cluster = open_cluster, setups = {} }, Driver)
  open_cluster.on_upcall = function(...) require("fleet.driver.upcalls").answer(self, ...) end
  open_cluster.on_removed = function(worker) require("fleet.driver.upcalls").drop(worker) end
  open_cluster.prepare = function(...) self:prepare(...) end
  return self
end

local opening_timeout -- of the first caller

local opening = singleflight.new(function()
  local opened, err = driver.open_cluster(opening_timeout)
  if not opened then return nil, err end
  opened.on_print = settings.on_print or opened.on_print
  err = opened.access:observer_fault()
  if err then
    opened:close()
    return nil, err
  end
  if #opened:ready() == 0 then
    err = opened:no_workers()
    opened:close()
    return nil, err
  end
  current = driver.new(opened)
  return current
end)

--- Returns the driver of this process; its cluster is opened the first time. Waits.
---@param timeout number|nil seconds to wait for the nodes; nil: as long as it takes
---@return fleet.Driver|nil driver, or nil and an error of kind "connect", or "timeout"
---@return fleet.Error|nil
function driver.get(timeout)
  if current then return current end
  if timeout == math.huge then timeout = nil end
  if not opening.current then opening_timeout = timeout end
  local opened = opening:start()
  -- the timeout of the opening itself ends first, which gives the nodes that have answered
  opened:wait(timeout and timeout + 0.05)
  if opened:check() then return opened:wait() end
  return nil, errors.new({
    kind = "timeout", applied = "no",
    message = ("the nodes were not found and connected within %g s"):format(timeout),
  })
end

--- Returns whether anything in this process has used the fleet.
---@return boolean
function driver.is_open()
  return current ~= nil
end

--- Makes another driver the one of this process.
---@param self fleet.Driver
function driver.set(self)
  current = self
end

--- Closes the cluster, if it was opened.
function driver.close()
  if current then current.cluster:close() end
  current = nil
end

-- ---- functions as bytes ----

local NONE = {}
local ship -- once it is needed

--- Returns the texts of modules, ready to travel; a read-only list.
---@param hashes table<string, string> name -> hash
---@return {key: string, bytes: string}[]
function driver.module_blobs(hashes)
  if not next(hashes) then return NONE end
  local modules, blobs = require("fleet.ship.modules"), {}
  for _, hash in pairs(hashes) do
    blobs[#blobs + 1] = { key = hash, bytes = modules.blob(hash) }
  end
  return blobs
end

--- Makes a function ready to travel.
---@param f function|table a function, or what fleet.ship made of one
---@return table|nil packed, or nil and an error of kind "encode"
---@return {key: string, bytes: string}[]|fleet.Error modules that it needs
function driver.pack(f)
  local packed, err = f, nil
  ship = ship or require("fleet.ship")
  if type(f) == "function" then packed, err = ship.pack(f) end
  if not packed then return nil, err end
  return packed, driver.module_blobs(packed.modules)
end

-- Returns a call as bytes for fleet.worker.runner, and the modules it needs; or nil and an error.
local function pack_call(f, cast, ...)
  local packed, modules = driver.pack(f)
  if not packed then return nil, modules end
  local bytes, err = ship.encode(packed)
  if not bytes then return nil, err end
  bytes, err = codec.encode_call(bytes, cast, ...)
  return bytes, bytes and modules or err
end

local function definition_of(fields, modules)
  local bytes, err = codec.encode(fields, "function")
  if not bytes then return nil, err end
  local blobs = table.move(modules, 1, #modules, 1, {})
  blobs[#blobs + 1] = { key = digest.sha256(bytes), bytes = bytes }
  return blobs
end

-- ---- calls ----

local function calls_of(self)
  if not self.calls then self.calls = calls.new(self.cluster) end
  return self.calls
end

--- Calls a function on a node.
---@param target fleet.CallTarget
---@param f function|table as driver.pack
---@param options {timeout: number, cast: boolean|nil}
---@param began number|nil by sys.now, when the time limit counts from (default: now)
---@param ... any its arguments
---@return fleet.Future|nil future, or nil and an error when the function or an argument cannot
--- travel
---@return fleet.Error|nil
function Driver:send(target, f, options, began, ...)
  local item, modules = pack_call(f, options.cast, ...)
  if not item then return nil, modules end
  began = began or sys.now()
  -- to choose among all workers; a slow node does not delay the others for long
  if not self.calls then
    self.cluster:wait_open(began + math.min(POLL_TIMEOUT, options.timeout))
  end
  return (self.calls or calls_of(self)):send(target, item, modules, options.timeout, began,
    options.cast)
end

-- ---- maps ----

-- Returns the set of nodes that a map is to use, by name or address (a node that is down has no
-- name yet); nil for all nodes; or nil and an error.
local function chosen_nodes(self, names)
  if not names then return nil end
  local set = {}
  for _, name in ipairs(names) do
    local found = false
    for _, n in ipairs(self.cluster.nodes) do
      found = found or n.name == name or n.address == name
    end
    if not found then
      return nil, errors.format("connect", "there is no node '%s' to map over", tostring(name))
    end
    set[name] = true
  end
  if next(set) then return set end
  return nil, errors.format("connect", "the option 'nodes' of the map selects no node")
end

-- Returns what makes results those of a function: its text, and those of the functions and modules
-- that travel with it, wherever they are in their files.
local function identity_of(packed)
  if packed.root[1] ~= "f" then return table.concat(packed.root, ".", 2) end -- every worker has it
  local parts = {}
  for i, prototype in ipairs(packed.prototypes) do
    parts[i] = string.pack("<s4", prototype[1])
  end
  for name, hash in pairs(packed.modules) do
    parts[#parts + 1] = string.pack("<s4s4", name, hash)
  end
  table.sort(parts)
  return table.concat(parts)
end

local function name_of(packed)
  local root = packed.root
  if root[1] ~= "f" then return table.concat(root, ".", 2) end
  local chunk = packed.prototypes[packed.functions[root[2]][1]][2]
  return "a function of " .. chunk:gsub("^[@=]", "")
end

-- Opens the journal of a map, to resume from what is in it.
local function open_journal(packed, options)
  local opened, err = journal.open({
    path = options.journal, job = identity_of(packed), retries = options.retries or 2,
    name = name_of(packed), resume = true,
  })
  if not opened then return nil, err end
  for _, note in ipairs(opened.notes) do log.info(note, { file = options.journal }) end
  return opened
end

local function run_with(opened, m)
  task.spawn(opened.keep_synced, opened)
  local _ <close> = opened -- also when the caller is cancelled
  local fine, ok, err = pcall(m.run, m)
  local is_complete, why = opened:close()
  if not is_complete then log.warn("journal is incomplete", { error = why.message }) end
  if not fine then error(ok, 0) end
  return ok, err
end

--- Runs a map to its end.
---@param f function|table as driver.pack; or nil, when the items are calls
---@param source fleet.ItemSource
---@param options table checked, see fleet.pmap
---@param on_row fun(item: any, ok: boolean, value: any, id: integer): boolean|nil, fleet.Error|nil
---@param begun fun(map: fleet.Map)|nil is called with the map before it begins
---@return boolean|nil true, or nil and an error
---@return fleet.Error|nil
function Driver:map(f, source, options, on_row, begun)
  local definition = { kind = "call", concurrency = options.concurrency or 64 }
  local packed, modules, err
  if f then
    packed, modules = driver.pack(f)
    if not packed then return nil, modules end
    definition.kind, definition.packed = "function", packed
  else
    modules = driver.module_blobs(options.modules)
  end
  local blobs, nodes, opened
  blobs, err = definition_of(definition, modules)
  if not blobs then return nil, err end
  nodes, err = chosen_nodes(self, options.nodes)
  if err then return nil, err end
  if options.journal then
    opened, err = open_journal(packed, options)
    if not opened then return nil, err end
  end
  local m = map.new({
    cluster = self.cluster, blobs = blobs, source = source, timeout = options.timeout,
    deadline = options.deadline, began = options.began, nodes = nodes,
    complete = true, journal = opened, on_row = on_row, on_progress = options.on_progress,
    scheduler = {
      retries = options.retries, concurrency = options.concurrency,
      batch = options.batch ~= "auto" and options.batch or nil,
      ordered = options.order ~= false, retry_on = options.retry_on, backoff = options.backoff,
      speculate = options.speculate,
    },
  })
  if begun then begun(m) end
  if opened then return run_with(opened, m) end
  return m:run()
end

-- ---- nodes ----

--- Returns what is known of the nodes. Unless `known` is set, they are polled first, for at most a
--- second.
---@param known boolean|nil
---@return table[] as fleet.nodes; `rtt` only of those that have answered just now
function Driver:nodes(known)
  local now = sys.now()
  if known then
    self.cluster:wait_open(now + POLL_TIMEOUT)
  else
    self.cluster:poll(now + POLL_TIMEOUT)
  end
  local silent, list = {}, {}
  for session in pairs(self.cluster.sessions) do
    silent[session.connection] = session.suspect
      or sys.now() - session.answered_at >= self.cluster.times.suspect_after
  end
  for i, n in ipairs(self.cluster.nodes) do
    list[i] = n:describe()
    if silent[n] and n.state == "ready" then list[i].state = "suspect" end
    if not n.answered_at or n.answered_at < now then list[i].rtt = nil end
  end
  return list
end

-- ---- everywhere ----

--- Runs in a new worker the functions of `everywhere`, then calls `ready`.
---@param worker fleet.Worker
---@param ready fun()
function Driver:prepare(worker, ready)
  if #self.setups == 0 then
    ready()
    return
  end
  task.spawn(function()
    for _, setup in ipairs(self.setups) do
      local f = calls_of(self):send({ worker = worker }, setup.item, setup.modules, setup.timeout,
        sys.now())
      local _, err = f:wait()
      if f:failed() then
        self.cluster.on_print(worker.session.connection.name, ("everywhere: worker %d: %s"):format(
          worker.index, tostring(err)))
      end
    end
    ready()
  end)
end

--- Runs a function in every worker, now and in each that joins later, before its first task.
---@param f function
---@param args table as table.pack
---@param options {timeout: number}
---@param began number|nil as Driver:send
---@return boolean|nil true, or nil and an error
---@return fleet.Error|nil the first error of the present workers, with the number of the others
function Driver:everywhere(f, args, options, began)
  local item, modules = pack_call(f, nil, table.unpack(args, 1, args.n))
  if not item then return nil, modules end
  began = began or sys.now()
  self.cluster:wait_open(began + options.timeout)
  local c = calls_of(self)
  self.setups[#self.setups + 1] = { item = item, modules = modules, timeout = options.timeout }
  local futures, failures = {}, {}
  for session in pairs(self.cluster.sessions) do
    for _, worker in pairs(session.workers) do
      if worker.ready then
        futures[#futures + 1] = c:send({ worker = worker }, item, modules, options.timeout, began)
      end
    end
  end
  local all <close> = future.all(futures) -- cancelled when this ends early
  local results = all:wait()
  for i, f_worker in ipairs(futures) do
    if f_worker:failed() then failures[#failures + 1] = results[i] end
  end
  if #failures == 0 then return true end
  return nil, errors.new({
    kind = failures[1].kind, node = failures[1].node, traceback = failures[1].traceback,
    message = #failures == 1 and failures[1].message
      or ("%s (and in %s)"):format(failures[1].message, text.count(#failures - 1, "more worker")),
  })
end

return driver
