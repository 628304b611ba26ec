-- SPDX-License-Identifier: MIT
-- Three nodes, two of tcp and one of ipc, with continual faults: workers and nodes are killed and
-- stopped, nodes are drained, connections break, and all return. The seed alone determines the
-- events; an event is skipped if its node is already down, or the last healthy one. A fourth node,
-- on descriptors, is the driver's: it ends whenever its connection breaks.

local carriers = require("spec.support.carriers")
local e2e = require("spec.support.e2e")
local task = require("host.task")

local faults = {}

local NODES, WORKERS = 3, 2

-- Percentages of the events, and their durations in seconds.
local EVENTS = {
  { "worker_killed", 45 },
  { "worker_stopped", 10, 0.2, 4 },
  { "node_killed", 13, 0.2, 3 },
  { "node_stopped", 22, 0.2, 6 },
  { "node_frozen", 4, 17, 19 }, -- so long that it is lost
  { "node_drained", 6, 0.2, 2 },
}
local PAUSE_LEAST, PAUSE_MOST = 0.3, 2

-- Connections of the nodes break at these places, without being counted.
local BREAKS = "send:break%0.3,send:truncate%0.3,receive:break%0.3"

-- Returns numbers of [0, 1), the same for a seed on every machine.
local function generator(seed)
  local state = seed % 2147483646 + 1
  return function()
    state = state * 48271 % 2147483647
    return state / 2147483647
  end
end

--- Returns an endless iterator over the events of a seed: {after, what, node, worker, seconds}.
---@param seed integer
---@return fun(): {after: number, what: string, node: integer, worker: integer, seconds: number}
function faults.schedule(seed)
  local random = generator(seed)
  for _ = 1, 10 do random() end -- seeds beside each other begin alike
  local function between(least, most) return least + (most - least) * random() end
  return function()
    local event = { after = between(PAUSE_LEAST, PAUSE_MOST) }
    local share = random() * 100
    for _, kind in ipairs(EVENTS) do
      event.what, event.seconds = kind[1], between(kind[3] or 0, kind[4] or 0)
      share = share - kind[2]
      if share < 0 then break end
    end
    event.node = 1 + math.floor(random() * NODES)
    event.worker = 1 + math.floor(random() * WORKERS)
    return event
  end
end

--- @class chaos.Faults
--- @field flags string[] of a driver that uses the nodes
--- @field counts table<string, integer> number of events of each kind
local Faults = {}
Faults.__index = Faults

local function start(self, i)
  local place = self.places[i]
  place.node = self.world:node({
    workers = WORKERS, port = place.port, url = place.url, name = "n" .. i, env = self.env,
  })
  place.away = false
end

--- Starts the nodes, without any events yet.
---@param world e2e.World
---@param seed integer
---@return chaos.Faults
function faults.new(world, seed)
  local self = setmetatable({
    world = world, places = {}, counts = {}, left = {}, schedule = faults.schedule(seed), busy = 0,
    env = { "MOONFLEET_FAULT=" .. BREAKS, "MOONFLEET_FAULT_SEED=" .. seed },
  }, Faults)
  local peers = {}
  for i = 1, NODES do
    local url = i == NODES and "ipc://" .. world:path("n" .. i)
    self.places[i] = { port = e2e.free_port(), url = url or nil }
    start(self, i)
    peers[i] = self.places[i].node.address
  end
  local launched = carriers.descriptors.fleet(world, 1, { workers = WORKERS, env = self.env })
  self.flags = { "--peers", table.concat(peers, ","), table.unpack(launched.flags) }
  return self
end

local function well(self)
  local n = 0
  for _, place in ipairs(self.places) do
    if not place.away then n = n + 1 end
  end
  return n
end

local happen = {}

-- Returns the start time of a process, which distinguishes it from a later one with the same pid;
-- nil if it has ended.
local function begun_at(pid)
  local stat = e2e.read(("/proc/%d/stat"):format(pid))
  local state, rest = (stat or ""):match("%) (%a) (.*)$")
  if not state or state == "Z" then return nil end
  local fields = {}
  for word in rest:gmatch("%S+") do fields[#fields + 1] = word end
  return fields[19] -- field 22 of proc(5)
end

local function keep_children(self, node)
  for _, pid in ipairs(node:children()) do
    self.left[#self.left + 1] = { pid = pid, begun = begun_at(pid) }
  end
end

function happen.worker_killed(_, place, event)
  local pid = place.node:children()[event.worker]
  if pid then e2e.kill(pid, "KILL") end
end

function happen.worker_stopped(_, place, event)
  local pid = place.node:children()[event.worker]
  if not pid then return end
  e2e.kill(pid, "STOP")
  task.sleep(event.seconds)
  e2e.kill(pid, "CONT")
end

function happen.node_killed(self, place, event)
  keep_children(self, place.node)
  place.node:kill("KILL")
  place.node:wait()
  task.sleep(event.seconds)
  start(self, event.node)
end

function happen.node_stopped(_, place, event)
  place.node:kill("STOP")
  task.sleep(event.seconds)
  place.node:kill("CONT")
end
happen.node_frozen = happen.node_stopped

function happen.node_drained(self, place, event)
  keep_children(self, place.node)
  place.node:kill("TERM")
  local ended = place.node:wait()
  if ended.code ~= 0 then self.trouble = "a node that drained ended with " .. ended.err end
  task.sleep(event.seconds)
  start(self, event.node)
end

-- Whether the fleet can survive the event now. A worker may be killed at any time.
local function can_happen(self, event)
  local place = self.places[event.node]
  if place.away then return false end
  return event.what == "worker_killed" or well(self) > 1
end

--- Starts the events, until `stop`. Does not wait.
function Faults:begin()
  self.stopped = false
  task.spawn(function()
    while not self.stopped do
      local event = self.schedule()
      task.sleep(event.after)
      if not self.stopped and can_happen(self, event) then
        self.counts[event.what] = (self.counts[event.what] or 0) + 1
        local place = self.places[event.node]
        local stays = event.what == "worker_killed"
        place.away = not stays
        self.busy = self.busy + 1
        task.spawn(function()
          local ok, err = pcall(happen[event.what], self, place, event)
          if not ok then self.trouble = tostring(err) end
          if not stays then place.away = false end
          self.busy = self.busy - 1
        end)
      end
    end
  end)
end

--- Stops the events, and waits until all nodes are healthy.
function Faults:stop()
  self.stopped = true
  e2e.wait_until("the nodes to be well", function() return self.busy == 0 end)
end

--- Returns what was wrong with the nodes, or nil.
---@return string|nil
function Faults:wrong()
  if self.trouble then return self.trouble end
  for _, worker in ipairs(self.left) do
    if worker.begun and begun_at(worker.pid) == worker.begun then
      return ("worker %d outlived its node"):format(worker.pid)
    end
  end
  return nil
end

return faults
