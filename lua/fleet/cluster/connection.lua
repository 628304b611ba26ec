-- SPDX-License-Identifier: MIT
-- One node as the driver sees it: its two connections (control for status and
-- heartbeat, bulk for work, so that large results never delay a heartbeat) and
-- the words of the protocol (host/wire/protocol.h).

local address_of = require("fleet.discovery.address")
local codec = require("host.codec")
local errors = require("fleet.errors")
local rpc = require("host.rpc")
local sys = require("host.sys")
local task = require("host.task")

local connection = {}

local CONNECT_TIMEOUT = 5
-- Of one message, with room for its envelope (host/net/rpc.h has the limit).
local MESSAGE_BYTES = 79 * 1024 * 1024
-- A larger message goes in parts of this size (host/net/partial.h has it, too), so many at a time.
local PART_BYTES, WINDOW = 512 * 1024, 4

--- @class fleet.Connection
--- @field address string as the user wrote it
--- @field url string
--- @field name string the node's own, once it has answered; else the address
--- @field state "connecting"|"ready"|"draining"|"skew"|"down"
--- @field status table|nil its last answer to a status request
--- @field rtt number|nil seconds that answer took
--- @field answered number|nil by sys.now: when that was
--- @field error fleet.Error|nil why it is down, skewed or full
--- @field full boolean|nil it takes no session
--- @field left boolean|nil it was drained and has left, and is not back
--- @field session_key string|nil key of our session there
--- @field other_name string|nil in place of its own name, which another node has too
--- @field zone string|nil as its discovery has it
--- @field member string|nil id of the member (see fleet.discovery) that it is
--- @field gone boolean|nil it does not belong to the fleet any more
local Connection = {}
Connection.__index = Connection

--- The URL of an address: HOST, HOST:PORT, V6, [V6]:PORT or a URL already; of tcp always with a
--- port.
--- "localhost" is 127.0.0.1: a name counts for its first address, and ::1, which that often is, is
--- not where nodes listen.
---@param address string
---@return string
function connection.url(address)
  local place = address:match("^tcp://(.*)$") or address
  if place:find("://", 1, true) then return address end
  place = place:gsub("^localhost$", "127.0.0.1"):gsub("^localhost:", "127.0.0.1:")
  local host, port = address_of.split(place)
  return "tcp://" .. (host and address_of.join(host, port or address_of.DEFAULT_PORT) or place)
end

--- Makes a node that is not connected.
---@param address string
---@param release string that it must have to be used
---@return fleet.Connection
function connection.new(address, release)
  return setmetatable({
    address = address, url = connection.url(address), name = address, state = "connecting",
    release = release,
  }, Connection)
end

local function malformed(self)
  return nil, errors.new({ kind = "protocol", message = self.name .. ": malformed reply" }), true
end

-- Sends a message and returns what stands in the reply after its name `name`; or nil, an
-- error, and whether it is the node that answered with that error.
local function ask(self, peer, message, timeout, name)
  if not peer then
    return nil, errors.new({ kind = "lost", message = self.name .. ": not connected" })
  end
  local bytes, err = peer:call(message, timeout)
  if not bytes then return nil, err end
  local reply = codec.decode(bytes)
  if type(reply) == "table" then
    if reply[1] == name then return reply end
    if reply[1] == "error" then
      err = { kind = reply[2], message = ("%s: %s"):format(self.name, reply[3]) }
      if errors.is(err) then return nil, errors.new(err), true end
    end
  end
  return malformed(self)
end

local function fail(self, state, err)
  self.state = state
  if not self.left or state ~= "down" then self.error = err end
  return nil, err
end

--- Asks for the node's status, which also shows that it lives; learns its name and state. It
--- names our session, if there is one, and so renews its lease. A node of another release or
--- protocol becomes "skew".
---@param timeout number seconds
---@return table|nil status see host/wire/protocol.h
---@return fleet.Error|nil
function Connection:ask_status(timeout)
  local started = sys.now()
  local message = codec.encode({ "status", sys.protocol, self.session_key })
  local reply, err = ask(self, self.control, message, timeout, "status")
  if not reply then return nil, err end
  local status = reply[2]
  if type(status) ~= "table" then return malformed(self) end
  self.answered, self.status = sys.now(), status
  self.rtt = self.answered - started
  self.name = self.other_name or status.name or self.name
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
---@param timeout number|nil seconds for each of the two; 5 by default
---@return boolean|nil true, or nil and an error (the state tells which kind)
---@return fleet.Error|nil
function Connection:connect(timeout)
  local err
  timeout = timeout or CONNECT_TIMEOUT
  self.control, err = rpc.dial(self.url, timeout)
  if not self.control then return fail(self, "down", err) end
  local status
  status, err = self:ask_status(timeout)
  if not status then
    if self.state == "skew" then return nil, err end
    self:close()
    return fail(self, "down", err)
  end
  if not self.full then self.error = nil end
  self.left = nil
  return true
end

--- Begins a new session: what is sent from now on belongs to it. Nothing is said to the node
--- yet, it learns of the session with the first work.
function Connection:begin_session()
  self.session_key = sys.random(16)
end

--- Opens the bulk connection, which `work` uses.
---@return boolean|nil true, or nil and an error
---@return fleet.Error|nil
function Connection:open_bulk()
  local err
  self.bulk, err = rpc.dial(self.url, CONNECT_TIMEOUT)
  if not self.bulk then return nil, err end
  return true
end

--- @class fleet.Work one message to a node; every list may be empty
--- @field seq integer its number in the session
--- @field ack integer chunks of records that have come
--- @field blobs {[1]: string, [2]: string}[] key and bytes
--- @field drops string[] keys
--- @field closes integer[] jobs
--- @field batches table[] see host/wire/protocol.h
--- @field replies table[] see host/wire/protocol.h

--- Encodes a message, to be sent as often as it takes.
---@param work fleet.Work
---@return string|nil bytes, or nil and an error
---@return fleet.Error|nil
function Connection:encode_work(work)
  return codec.encode({
    "work", sys.protocol, self.session_key, work.seq, work.ack, work.blobs, work.drops, work.closes,
    work.batches, work.replies,
  }, "message", MESSAGE_BYTES)
end

-- Sends a message that is too large for one request, but for the word that it is whole, which is
-- returned; or nil, an error, and whether the node answered with it.
local function send_parts(self, bytes, timeout, id)
  local offset, left, done = 0, WINDOW, task.event()
  local failure, answered
  for _ = 1, WINDOW do
    task.spawn(function()
      while not failure and offset < #bytes do
        local at = offset
        offset = at + PART_BYTES
        local part = codec.encode({
          "part", sys.protocol, self.session_key, id, at, #bytes, bytes:sub(at + 1, offset),
        })
        local reply, err, by_node = ask(self, self.bulk, part, timeout, "part")
        if not reply then failure, answered = err, by_node end
      end
      left = left - 1
      if left == 0 then done:notify() end
    end)
  end
  while left > 0 do done:wait() end
  if failure then return nil, failure, answered end
  return codec.encode({ "whole", sys.protocol, self.session_key, id })
end

--- Sends a message and waits for the next chunk of records.
---@param bytes string
---@param timeout number|nil seconds, of each request that it takes; nil: none
---@param id integer|nil number of the message in its session
---@return integer|nil number of the chunk, 0 for none; or nil and an error
---@return string|fleet.Error records concatenated
---@return boolean|nil answered whether it was the node that answered with the error
function Connection:work(bytes, timeout, id)
  local reply, err, answered
  if #bytes > PART_BYTES then
    bytes, err, answered = send_parts(self, bytes, timeout, id)
    if not bytes then return nil, err, answered end
  end
  reply, err, answered = ask(self, self.bulk, bytes, timeout, "records")
  if not reply then return nil, err, answered end
  if math.type(reply[2]) ~= "integer" or type(reply[3]) ~= "string" then return malformed(self) end
  return reply[2], reply[3]
end

--- Has tasks cancelled. Each range is {worker, generation, job, first, count}.
---@param ranges integer[][]
---@param timeout number seconds
---@return boolean|nil true, or nil and an error
---@return fleet.Error|nil
function Connection:cancel(ranges, timeout)
  local message = codec.encode({ "cancel", sys.protocol, self.session_key, ranges })
  local reply, err = ask(self, self.control, message, timeout, "cancelled")
  if not reply then return nil, err end
  return true
end

--- Ends a session, by default our own: what runs there is cancelled.
---@param timeout number seconds
---@param session string|nil
---@return {running: integer, records: integer}|nil what was dropped, or nil and an error
---@return fleet.Error|nil
function Connection:end_session(timeout, session)
  local message = codec.encode({ "end", sys.protocol, session or self.session_key })
  local reply, err = ask(self, self.control, message, timeout, "ended")
  if not reply then return nil, err end
  return type(reply[2]) == "table" and reply[2] or {}
end

--- What is known of the node, as plain data: the fields of fleet.nodes(), and `error`, why it
--- is down, skewed or full.
---@return table
function Connection:describe()
  local status = self.status or {}
  return {
    name = self.name,
    address = self.address,
    zone = status.zone or self.zone,
    state = self.full and self.state == "ready" and "full" or self.state,
    workers = status.workers and #status.workers or 0,
    running = status.running or 0,
    queued = status.queued or 0,
    release = status.release,
    rtt = self.rtt and math.floor(self.rtt * 1e6) / 1e6, -- whole microseconds
    error = self.error and self.error.message,
  }
end

--- Closes the bulk connection: what waits in `work` gets an error. Idempotent.
function Connection:close_bulk()
  if self.bulk then self.bulk:close() end
  self.bulk = nil
end

--- Closes both connections. The session lives on at the node for its lease, unless it was
--- ended. Idempotent.
function Connection:close()
  self:close_bulk()
  if self.control then self.control:close() end
  self.control = nil
end

return connection
