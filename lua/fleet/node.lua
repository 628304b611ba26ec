-- SPDX-License-Identifier: MIT
-- One node as the driver sees it: its two connections (control for status and
-- heartbeat, bulk for work, so that large results never delay a heartbeat) and
-- the words of the protocol (host/protocol.h).

local codec = require("host.codec")
local errors = require("fleet.errors")
local rpc = require("host.rpc")
local sys = require("host.sys")

local node = {}

node.DEFAULT_PORT = 5440
local CONNECT_TIMEOUT = 5
-- Of one message, with room for its envelope (host/rpc.h has the limit).
local MESSAGE_BYTES = 79 * 1024 * 1024

--- @class fleet.Node
--- @field address string as the user wrote it
--- @field url string
--- @field name string the node's own, once it has answered; else the address
--- @field state "connecting"|"ready"|"draining"|"skew"|"down"
--- @field status table|nil its last answer to a status request
--- @field rtt number|nil seconds that answer took
--- @field error fleet.Error|nil why it is down or skewed
local Node = {}
Node.__index = Node

--- The URL of an address: HOST, HOST:PORT, [V6]:PORT or a URL already.
---@param address string
---@return string
function node.url(address)
  if address:find("://", 1, true) then return address end
  local has_port = address:match("%]:%d+$") or address:match("^[^:]+:%d+$")
  return "tcp://" .. address .. (has_port and "" or ":" .. node.DEFAULT_PORT)
end

--- Makes a node that is not connected.
---@param address string
---@param release string that it must have to be used
---@return fleet.Node
function node.new(address, release)
  return setmetatable({
    address = address, url = node.url(address), name = address, state = "connecting",
    release = release,
  }, Node)
end

-- Sends a message and returns what stands in the reply after its name `name`, a
-- value of type `kind`.
local function ask(self, peer, message, timeout, name, kind)
  if not peer then
    return nil, errors.new({ kind = "lost", message = self.name .. ": not connected" })
  end
  local bytes, err = peer:call(message, timeout)
  if not bytes then return nil, err end
  local reply = codec.decode(bytes)
  if type(reply) == "table" then
    if reply[1] == name and type(reply[2]) == kind then return reply[2] end
    if reply[1] == "error" then
      err = { kind = reply[2], message = ("%s: %s"):format(self.name, reply[3]) }
      if errors.is(err) then return nil, errors.new(err) end
    end
  end
  return nil, errors.new({ kind = "protocol", message = self.name .. ": malformed reply" })
end

local function fail(self, state, err)
  self.state, self.error = state, err
  return nil, err
end

--- Asks for the node's status, which also shows that it lives; learns its name
--- and state. A node of another release or protocol becomes "skew".
---@param timeout number seconds
---@return table|nil status see host/protocol.h
---@return fleet.Error|nil
function Node:ask_status(timeout)
  local started = sys.now()
  local message = codec.encode({ "status", sys.protocol })
  local status, err = ask(self, self.control, message, timeout, "status", "table")
  if not status then return nil, err end
  self.rtt, self.status, self.name = sys.now() - started, status, status.name or self.name
  if status.protocol ~= sys.protocol or status.release ~= self.release then
    local format = "%s runs release %s (protocol %s), this is %s (protocol %s); start both from "
      .. "the same build, or give both the same --release"
    return fail(self, "skew", errors.new({ kind = "skew", message = format:format(self.address,
      status.release, status.protocol, self.release, sys.protocol) }))
  end
  self.state = status.state
  return status
end

--- Connects and asks for the status.
---@return boolean|nil true, or nil and an error (the state tells which kind)
---@return fleet.Error|nil
function Node:connect()
  local err
  self.error = nil
  self.control, err = rpc.dial(self.url, CONNECT_TIMEOUT)
  if not self.control then return fail(self, "down", err) end
  local status
  status, err = self:ask_status(CONNECT_TIMEOUT)
  if not status then
    if self.state == "skew" then return nil, err end
    self:close()
    return fail(self, "down", err)
  end
  return true
end

--- Opens the bulk connection, under a new session.
---@return boolean|nil true, or nil and an error
---@return fleet.Error|nil
function Node:open_bulk()
  local err
  self.session = sys.random(16)
  self.jobs_sent = {}
  self.bulk, err = rpc.dial(self.url, CONNECT_TIMEOUT)
  if not self.bulk then return fail(self, "down", err) end
  return true
end

--- Sends batches and waits for records. Each batch is {worker, generation, job
--- key, first, count, attempt, items}; `job` is {key=, definition=}, sent along
--- the first time.
---@param job table
---@param batches table[]
---@return string|nil records concatenated, may be empty; or nil and an error
---@return fleet.Error|nil
function Node:work(job, batches)
  local jobs = {}
  if #batches > 0 and not self.jobs_sent[job.key] then
    self.jobs_sent[job.key] = true
    jobs[1] = { job.key, job.definition }
  end
  local message, err = codec.encode({ "work", sys.protocol, self.session, jobs, batches },
    "message", MESSAGE_BYTES)
  if not message then return nil, err end
  return ask(self, self.bulk, message, nil, "records", "string")
end

--- Closes the bulk connection: the node ends the session, and what waits in
--- `work` gets an error. Idempotent.
function Node:close_bulk()
  if self.bulk then self.bulk:close() end
  self.bulk = nil
end

--- Closes both connections. Idempotent.
function Node:close()
  self:close_bulk()
  if self.control then self.control:close() end
  self.control = nil
end

return node
