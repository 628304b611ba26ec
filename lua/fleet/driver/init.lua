-- SPDX-License-Identifier: MIT What the driver's functions of the library (fleet, see init.lua) do:
-- the cluster of the command line, opened at first use, and functions shipped to it.
-- fleet.worker.client is the same for tasks.

local calls = require("fleet.driver.calls")
local codec = require("host.codec")
local digest = require("fleet.digest")
local errors = require("fleet.errors")
local flight = require("fleet.base.singleflight")
local future = require("fleet.base.future")
local journal = require("fleet.driver.journal")
local log = require("fleet.log")
local map = require("fleet.driver.map")
local cluster = require("fleet.cluster")
local sys = require("host.sys")
local task = require("host.task")

local TIMES = require("fleet.cluster.session").TIMES

local driver = {}

-- Seconds that a look at the nodes may take: a node without an answer by then is shown as it was
-- last known.
local LOOK = 1

--- @class fleet.Driver
--- @field cluster fleet.Cluster
local Driver = {}
Driver.__index = Driver

-- Of this process: there is one command line.
local settings, current

--- Says what the cluster is to be, before its first use.
---@param flags table of the command line
function driver.configure(flags)
  settings = { flags = flags }
end

--- Says what shows the prints of tasks, before the first use of the cluster; without it they go to
--- stderr, each line with the name of its node.
---@param on_print fun(node: string, text: string)
function driver.show_prints(on_print)
  settings.on_print = on_print
end

-- What is for the user to correct. Whatever else keeps nodes from being found (a service that
-- fails, TLS, time) comes to the same: there are none.
local MISTAKES = { usage = true, config = true, input = true }

-- A node says nothing between two looks at it, so it may be silent for longer than that.
local function times_fault(flags)
  local heartbeat = flags.heartbeat or TIMES.heartbeat
  for _, name in ipairs({ "suspect_after", "dead_after" }) do
    local limit = flags[name] or TIMES[name]
    if heartbeat >= limit then
      return errors.new({
        kind = "usage",
        message = ("--%s (%g s) must be longer than --heartbeat (%g s)"):format(
          name:gsub("_", "-"), limit, heartbeat),
      })
    end
  end
end

--- Opens a cluster as the command line says; see fleet.cluster. Waits.
---@param patience number|nil seconds to wait for the nodes; nil: as long as it takes
---@return fleet.Cluster|nil
---@return fleet.Error|nil of kind "usage", "config", "input" or "connect"
function driver.open_cluster(patience)
  local flags = settings.flags
  local fault = times_fault(flags)
  if fault then return nil, fault end
  local where, err = require("fleet.discovery.resolve").nodes(flags, os.getenv)
  local opened
  if not err then
    opened, err = cluster.open(where, flags.release, {
      heartbeat = flags.heartbeat, suspect_after = flags.suspect_after,
      dead_after = flags.dead_after, reply_after = flags.reply_after,
    }, patience)
  end
  if opened or MISTAKES[err.kind] then return opened, err end
  return nil, errors.new({ kind = "connect", message = err.message })
end

--- Makes a driver of a cluster that is open.
---@param open_cluster fleet.Cluster
---@return fleet.Driver
function driver.new(open_cluster)
  task.preempt() -- heartbeats go on while the script computes
  local self = setmetatable({ cluster = open_cluster, setups = {} }, Driver)
  open_cluster.on_upcall = function(...) require("fleet.driver.upcalls").answer(self, ...) end
  open_cluster.on_gone = function(worker) require("fleet.driver.upcalls").drop(worker) end
  open_cluster.prepare = function(...) self:prepare(...) end
  return self
end

local opening_patience -- of the one who asked first

local opening = flight.new(function()
  local opened, err = driver.open_cluster(opening_patience)
  if not opened then return nil, err end
  opened.on_print = settings.on_print or opened.on_print
  if #opened:ready() == 0 then
    err = opened:no_workers()
    opened:close()
    return nil, err
  end
  current = driver.new(opened)
  return current
end)

--- The driver of this process; its cluster is opened the first time. Waits.
---@param patience number|nil seconds to wait for the nodes; nil: as long as it takes
---@return fleet.Driver|nil driver, or nil and an error of kind "connect", or "timeout"
---@return fleet.Error|nil
function driver.get(patience)
  if current then return current end
  if patience == math.huge then patience = nil end
  if not opening.current then opening_patience = patience end
  local opened = opening:start()
  -- its own patience ends first, and then it has what answered
  opened:wait(patience and patience + 0.05)
  if opened:check() then return opened:wait() end
  return nil, errors.new({
    kind = "timeout", applied = "no",
    message = ("the nodes were not found and connected within %g s"):format(patience),
  })
end

--- Whether anything of this process has used the fleet.
---@return boolean
function driver.is_open()
  return current ~= nil
end

--- Makes a driver that was made otherwise the one of this process.
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

--- The texts of modules, ready to travel; a list to be read only.
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
  if type(f) == "function" then packed, err = require("fleet.ship").pack(f) end
  if not packed then return nil, err end
  return packed, driver.module_blobs(packed.modules)
end

-- A call as bytes for fleet.worker.runner, and the modules it needs; or nil and an error.
local function pack_call(f, args, cast)
  local packed, modules = driver.pack(f)
  if not packed then return nil, modules end
  local bytes, err = require("fleet.ship").encode(packed)
  if not bytes then return nil, err end
  local item
  item, err = codec.encode({ packed = bytes, args = args, cast = cast }, "call")
  if not item then return nil, err end
  return item, modules
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

--- Calls a function somewhere.
---@param target fleet.CallTarget
---@param f function|table as driver.pack
---@param args table as table.pack
---@param options {timeout: number, cast: boolean|nil, began: number|nil} began: by sys.now, when
--- the time limit counts from
---@return fleet.Future|nil future, or nil and an error when the function or an argument cannot
--- travel
---@return fleet.Error|nil
function Driver:send(target, f, args, options)
  local item, modules = pack_call(f, args, options.cast)
  if not item then return nil, modules end
  local began = options.began or sys.now()
  -- to choose among all workers; a node that is slow does not hold up the others for long
  if not self.calls then self.cluster:wait_open(began + math.min(LOOK, options.timeout)) end
  return calls_of(self):send(target, item, modules, options.timeout, options.cast, began)
end

-- ---- maps ----

local function scheduler_options(options)
  return {
    retries = options.retries, concurrency = options.concurrency,
    batch = options.batch ~= "auto" and options.batch or nil,
    ordered = options.order ~= false, retry_on = options.retry_on, backoff = options.backoff,
    speculate = options.speculate,
  }
end

-- The nodes that a map is to use, as names or addresses (a node that is down has no name yet); nil
-- for all of them.
local function chosen_nodes(self, names)
  if not names then return nil end
  local set = {}
  for _, name in ipairs(names) do
    local found = false
    for _, n in ipairs(self.cluster.nodes) do found = found or n.name == name or n.address == name end
    if not found then
      return nil, errors.new({
        kind = "connect", message = ("there is no node '%s' to map over"):format(tostring(name)),
      })
    end
    set[name] = true
  end
  if next(set) then return set end
  return nil, errors.new({
    kind = "connect", message = "the option 'nodes' of the map selects no node",
  })
end

-- What makes results those of a function: its text, and those of the functions and modules that
-- travel with it. Where these stand does not matter.
local function identity_of(packed)
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

-- The journal of a map, which goes on with what is in it.
local function open_journal(packed, options)
  local root = packed.prototypes[packed.functions[packed.root[2]][1]]
  local kept, err = journal.open({
    path = options.journal, job = identity_of(packed), retries = options.retries or 2,
    name = "a function of " .. root[2]:gsub("^[@=]", ""), resume = true,
  })
  if not kept then return nil, err end
  for _, note in ipairs(kept.notes) do log.info(note, { file = options.journal }) end
  return kept
end

local function run_with(kept, m)
  task.spawn(kept.keep_synced, kept)
  local _ <close> = kept -- also when the caller is cancelled
  local fine, ok, err = pcall(m.run, m)
  local whole, why = kept:close()
  if not whole then log.warn("journal not whole", { error = why.message }) end
  if not fine then error(ok, 0) end
  return ok, err
end

--- Runs a map to its end.
---@param f function|table as driver.pack; or nil, when the items are calls
---@param source fleet.ItemSource
---@param options table checked, see fleet.pmap
---@param on_row fun(item: any, ok: boolean, value: any, id: integer): boolean|nil, fleet.Error|nil
---@param begun fun(map: fleet.Map)|nil is given the map before it begins
---@return boolean|nil true, or nil and an error
---@return fleet.Error|nil
function Driver:map(f, source, options, on_row, begun)
  local concurrency = options.concurrency or 64
  local blobs, err, packed, modules, kept
  if f then
    packed, modules = driver.pack(f)
    if not packed then return nil, modules end
    blobs, err = definition_of({ kind = "function", packed = packed, concurrency = concurrency },
      modules)
  else
    blobs, err = definition_of({ kind = "call", concurrency = concurrency },
      driver.module_blobs(options.modules))
  end
  if not blobs then return nil, err end
  local nodes
  nodes, err = chosen_nodes(self, options.nodes)
  if err then return nil, err end
  if options.journal then
    kept, err = open_journal(packed, options)
    if not kept then return nil, err end
  end
  local m = map.new({
    cluster = self.cluster, blobs = blobs, source = source, timeout = options.timeout,
    deadline = options.deadline, began = options.began, nodes = nodes,
    complete = true, journal = kept,
    scheduler = scheduler_options(options), on_row = on_row, on_progress = options.on_progress,
  })
  if begun then begun(m) end
  if kept then return run_with(kept, m) end
  return m:run()
end

-- ---- nodes ----

--- What is known of the nodes. Unless `known` is set, they are asked first, for a second at most.
---@param known boolean|nil
---@return table[] as fleet.nodes; `rtt` only of those that have answered just now
function Driver:nodes(known)
  local now = sys.now()
  if known then
    self.cluster:wait_open(now + LOOK)
  else
    self.cluster:look(now + LOOK)
  end
  local silent, list = {}, {}
  for l in pairs(self.cluster.sessions) do
    silent[l.connection] = l.suspect or sys.now() - l.answered >= self.cluster.times.suspect_after
  end
  for i, n in ipairs(self.cluster.nodes) do
    list[i] = n:describe()
    if silent[n] and n.state == "ready" then list[i].state = "suspect" end
    if not n.answered or n.answered < now then list[i].rtt = nil end
  end
  return list
end

-- ---- everywhere ----

--- Does in a new worker what was said to be done everywhere, then calls `ready`.
---@param worker fleet.Worker
---@param ready fun()
function Driver:prepare(worker, ready)
  if #self.setups == 0 then
    ready()
    return
  end
  task.spawn(function()
    for _, setup in ipairs(self.setups) do
      local f = calls_of(self):send({ worker = worker }, setup.item, setup.modules, setup.timeout)
      local _, err = f:wait()
      if f:failed() then
        self.cluster.on_print(worker.session.connection.name, ("everywhere: worker %d: %s"):format(
          worker.index, tostring(err)))
      end
    end
    ready()
  end)
end

--- Runs a function in every worker, now and in each that comes later, before its first task.
---@param f function
---@param args table as table.pack
---@param options {timeout: number, began: number|nil} as Driver:send
---@return boolean|nil true, or nil and an error
---@return fleet.Error[]|fleet.Error|nil failures the errors of workers there are now
function Driver:everywhere(f, args, options)
  local item, modules = pack_call(f, args)
  if not item then return nil, modules end
  local began = options.began or sys.now()
  self.cluster:wait_open(began + options.timeout)
  local c = calls_of(self)
  self.setups[#self.setups + 1] = { item = item, modules = modules, timeout = options.timeout }
  local futures, failures = {}, {}
  for l in pairs(self.cluster.sessions) do
    for _, worker in pairs(l.workers) do
      if worker.ready then
        futures[#futures + 1] = c:send({ worker = worker }, item, modules, options.timeout, false,
          began)
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
      or ("%s (and in %d more workers)"):format(failures[1].message, #failures - 1),
  })
end

return driver
