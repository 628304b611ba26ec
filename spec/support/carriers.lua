-- SPDX-License-Identifier: MIT
-- What carries the session between a driver and its nodes. Failures must end alike over each of
-- them, so their specs are written once, and described for each:
--
--   for _, carrier in ipairs(carriers) do
--     describe("a map over " .. carrier.name, function()
--       local fleet = carrier.fleet(world, 2, { workers = 1 })
--       local program = fleet:program({ "run", job, items })
--       fleet.nodes[1]:kill("KILL")
--
-- carriers.tcp, .ipc and .descriptors are also there by name; besides there are carriers.tls (tcp
-- with keys) and carriers.private, the node that a driver has for itself: it is only one, with a
-- worker for each core.

local assert = require("luassert")
local e2e = require("spec.support.e2e")
local fleet_keys = require("spec.support.fleet_keys")
local launching = require("spec.support.launching")
local task = require("host.task")

local carriers = {}

--- @class spec.Carrier
--- @field name string
--- @field listens boolean|nil whether its nodes listen: they outlive the driver, and a session goes
--- on after its connection has broken
--- @field fleet fun(world: e2e.World, count: integer, options: table|nil): spec.Fleet makes nodes;
--- options: `workers` (2), `flags`, `env` (of the nodes, or a function that gives that of node i)

--- @class spec.FleetNode
--- @field name string
--- @field kill fun(self, signal: string)
--- @field drain fun(self): fun() sends SIGTERM; the result waits for its end
--- @field children fun(self): integer[] its workers
--- @field end_for_good fun(self) kills it; it does not come back before `start_again`
--- @field start_again fun(self)

--- @class spec.Fleet
--- @field world e2e.World
--- @field nodes spec.FleetNode[]
--- @field flags string[] of a driver that uses them
--- @field driver e2e.Process|nil the last of its drivers
--- @field is_private boolean|nil
local Fleet = {}
Fleet.__index = Fleet

--- Starts a driver of these nodes.
---@param words string[]
---@param options table|nil as World:start
---@return e2e.Process
function Fleet:program(words, options)
  local all = { words[1], table.unpack(self.flags) }
  self.driver = self.world:program(table.move(words, 2, #words, #all + 1, all), options)
  return self.driver
end

--- Runs a driver of these nodes to its end.
---@param words string[]
---@param options table|nil as World:start
---@return {code: integer|nil, signal: integer|nil, out: string, err: string}
function Fleet:run(words, options)
  return self:program(words, options):wait()
end

local function env_of(options, i)
  return type(options.env) == "function" and options.env(i) or options.env
end

-- ---- nodes that listen ----

local Standing = {}
Standing.__index = Standing

function Standing:kill(signal) self.process:kill(signal) end
function Standing:children() return self.process:children() end
function Standing:wait() return self.process:wait() end

function Standing:drain()
  self:kill("TERM")
  return function() assert.equal(0, self.process:wait().code) end
end

function Standing:end_for_good()
  self:kill("KILL")
  self.process:wait()
end

function Standing:start_again()
  self.process = self.world:node(self.options)
  self.name, self.address = self.process.name, self.process.address
end

local function standing(world, count, options, url)
  local fleet, peers = setmetatable({ world = world, nodes = {} }, Fleet), {}
  for i = 1, count do
    local own = { port = e2e.free_port() }
    own.name = "node-" .. own.port
    own.url = url and url(world, own.name)
    for name, value in pairs(options or {}) do own[name] = value end
    own.env = env_of(own, i)
    fleet.nodes[i] = setmetatable({ world = world, options = own }, Standing)
    fleet.nodes[i]:start_again()
    peers[i] = fleet.nodes[i].address
  end
  fleet.flags = { "--peers", table.concat(peers, ",") }
  return fleet
end

-- ---- nodes that the driver starts ----

-- It is looked for each time, as the driver starts another process in place of one that has ended.
local Started = {}
Started.__index = Started

function Started:pid() return e2e.wait_until(self.name, function() return self:find() end) end
function Started:kill(signal) e2e.kill(self:pid(), signal) end

function Started:children()
  local pid = self:find()
  return pid and e2e.children(pid) or {}
end

function Started:drain()
  local pid = self:pid()
  e2e.kill(pid, "TERM")
  return function()
    e2e.wait_until("the end of " .. self.name, function() return not e2e.alive(pid) end)
  end
end

function Started:end_for_good()
  self.world:write(self.guard, "")
  self:kill("KILL")
end

function Started:start_again() os.remove(self.world:path(self.guard)) end

local function quoted(words)
  local list = {}
  for i, word in ipairs(words or {}) do list[i] = "'" .. word .. "'" end
  return table.concat(list, " ")
end

local function launched(world, count, options)
  options = options or {}
  local fleet = setmetatable({ world = world, nodes = {}, flags = {} }, Fleet)
  world:at_close(function() -- one that is stopped does not end by itself
    for _, pid in ipairs(launching.processes(world).nodes) do e2e.kill(pid, "KILL") end
    launching.wait_gone(world)
  end)
  for i = 1, count do
    world.count = world.count + 1
    local name = "launched-" .. world.count
    local flag = "--name=" .. name
    local node = setmetatable({ world = world, name = name, guard = "gone-" .. name }, Started)
    function node.find()
      for _, pid in ipairs(launching.processes(world).nodes) do
        local line = e2e.read(("/proc/%d/cmdline"):format(pid)) or ""
        if (line .. "\0"):find("\0" .. flag .. "\0", 1, true) then return pid end
      end
    end
    fleet.nodes[i] = node
    fleet.flags[2 * i - 1] = "--launch"
    fleet.flags[2 * i] = ("test ! -e %s && exec env %s %s serve --stdio --workers %d "
      .. "--allow-hosts loopback %s %s"):format(world:path(node.guard), quoted(env_of(options, i)),
      launching.program(world), options.workers or 2, flag, quoted(options.flags))
  end
  return fleet
end

local function private(world)
  local fleet = setmetatable({ world = world, flags = {}, is_private = true }, Fleet)
  local node = setmetatable({ world = world, name = "local" }, Started)
  function node.find() return fleet.driver:children()[1] end
  fleet.nodes = { node }
  return fleet
end

-- ---- the carriers ----

carriers.tcp = {
  name = "tcp", listens = true,
  fleet = function(world, count, options) return standing(world, count, options) end,
}
carriers.ipc = {
  name = "ipc", listens = true,
  fleet = function(world, count, options)
    return standing(world, count, options, function(_, name)
      return "ipc://" .. world:path(name)
    end)
  end,
}
carriers.tls = {
  name = "tcp with keys", listens = true,
  fleet = function(world, count, options)
    local keys, own = fleet_keys.new(world), { flags = {} }
    for name, value in pairs(options or {}) do own[name] = value end
    own.flags = { "--tls", keys.node, table.unpack(own.flags) }
    local fleet = standing(world, count, own)
    table.move({ "--tls", keys.driver }, 1, 2, #fleet.flags + 1, fleet.flags)
    return fleet
  end,
}
carriers.descriptors = { name = "descriptors", fleet = launched }
carriers.private = { name = "the private node", fleet = private }
for i, name in ipairs({ "tcp", "ipc", "descriptors" }) do carriers[i] = carriers[name] end

--- @class spec.AtOnce
local AtOnce = {}
AtOnce.__index = AtOnce

--- Waits for what was started for a carrier, and raises its error.
---@param carrier spec.Carrier
function AtOnce:check(carrier)
  local ok, err = self.tasks[carrier]:join()
  if not ok then error(err, 0) end
end

--- Ends what was not checked.
function AtOnce:close()
  for carrier, world in pairs(self.worlds) do
    self.tasks[carrier]:cancel()
    world:close()
  end
end

--- Starts f(carrier, world) for all carriers at the same time, since most of it is waiting:
---
---   setup(function() freezes = carriers.at_once(freeze) end)
---   teardown(function() freezes:close() end)
---   it("gives up a node that froze", function() freezes:check(carrier) end)
---@param f fun(carrier: spec.Carrier, world: e2e.World)
---@param list spec.Carrier[]|nil default: tcp, ipc and descriptors
---@return spec.AtOnce
function carriers.at_once(f, list)
  local self = setmetatable({ tasks = {}, worlds = {} }, AtOnce)
  for _, carrier in ipairs(list or carriers) do
    self.worlds[carrier] = e2e.new()
    self.tasks[carrier] = task.start(f, carrier, self.worlds[carrier])
  end
  return self
end

return carriers
