-- SPDX-License-Identifier: MIT
-- The nodes that a command works with: those of --peers, or else a private node
-- of this machine, started for the command and gone with it.

local errors = require("fleet.errors")
local log = require("fleet.log")
local node = require("fleet.node")
local sys = require("host.sys")
local task = require("host.task")

local pool = {}

--- @class fleet.Pool
--- @field nodes fleet.Node[]
--- @field private boolean whether it is a node of our own
local Pool = {}
Pool.__index = Pool

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

--- Connects to all nodes at once, and returns when each has answered or failed;
--- what became of each is in its `state` and `error`. Several addresses of one
--- node make one.
---@param peers string[]|nil addresses; nil or none: a private node
---@param release string
---@return fleet.Pool|nil pool or nil and an error, when a private node will not start
---@return fleet.Error|nil
function pool.open(peers, release)
  local self = setmetatable({ nodes = {}, release = release }, Pool)
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

--- Closes all connections, ends the private node.
function Pool:close()
  self.closed = true
  for _, n in ipairs(self.nodes) do n:close() end
  if self.child then self.child:stop() end
end

return pool
