-- SPDX-License-Identifier: MIT
-- A node as the driver sees it: its two connections (control for the status and the heartbeat, bulk
-- for work, so that large results never delay a heartbeat) and the messages of the protocol
-- (host/wire/protocol.h).

local address_of = require("fleet.discovery.address")
local codec = require("host.codec")
local errors = require("fleet.errors")
local parallel = require("fleet.base.parallel")
local rpc = require("host.rpc")
local sys = require("host.sys")

local connection = {}

-- Seconds.
local CONNECT_TIMEOUT = 5
-- Of one message, with room for its envelope (host/net/rpc.h has the limit).
local MESSAGE_BYTES = 79 * 1024 * 1024
-- A larger message is sent in parts of this size (also in host/net/partial.h), so many at a time.
local PART_BYTES, PARTS_AT_A_TIME = 512 * 1024, 4

--- @class fleet.Connection
--- @field address string as the user wrote it
--- @field url string
--- @field name string the node's own, once it has answered; else the address
--- @field state "connecting"|"ready"|"draining"|"skew"|"down"
--- @field status table|nil its last answer to a status request
--- @field rtt number|nil seconds that answer took
--- @field answered_at number|nil by sys.now: when that was
--- @field error fleet.Error|nil why it is down, skewed or full
--- @field full boolean|nil it accepts no session
--- @field left boolean|nil it was drained and has left, and is not back
--- @field session_key string|nil of our session there
--- @field other_name string|nil in place of its own name, which another node also has
--- @field zone string|nil as its discovery has it
--- @field member string|nil id of its member (see fleet.discovery)
--- @field removed boolean|nil it does not belong to the fleet any more
local Connection = {}
Connection.__index = Connection

--- Returns the URL of an address: HOST, HOST:PORT, V6, [V6]:PORT or a URL already; of tcp always
--- with a port. "localhost" is 127.0.0.1: of a name the first address counts, which would often be
--- ::1, where nodes do not listen.
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
  return nil, errors.format("protocol", "%s: malformed reply", self.name), true
end

-- Sends a message and returns the reply, which must have that name; or nil, an error, and whether
-- the node itself answered with that error.
local function request(self, peer, message, timeout, name)
  if not peer then return nil, errors.format("lost", "%s: not connected", self.name) end
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

--- Asks for the node's status, which also shows that it lives, and learns its name and state. The
--- request names our session, if there is one, and so renews its lease. A node of another release
--- or protocol becomes "skew".
---@param timeout number seconds
---@return table|nil status see host/wire/protocol.h
---@return fleet.Error|nil
function Connection:request_status(timeout)
  local started = sys.now()
  local message = codec.encode({ "status", sys.protocol, self.session_key })
  local reply, err = request(self, self.control, message, timeout, "status")
  if not reply then return nil, err end
  local status = reply[2]
  if type(status) ~= "table" then return malformed(self) end
  self.answered_at, self.status = sys.now(), status
  self.rtt = self.answered_at - started
  self.name = self.other_name or status.name or self.name
  if status.protocol ~= sys.protocol or status.release ~= self.release then
    return fail(self, "skew", errors.format("skew",
      "%s runs release %s (protocol %s), this is %s (protocol %s); start both from the same build, "
      .. "or give both the same --release", self.address, status.release, status.protocol,
      self.release, sys.protocol))
  end
  self.state = status.state
  return status
end

--- Connects and asks for the status.
---@param timeout number|nil seconds for each of the two (default: 5)
---@return boolean|nil true, or nil and an error (the state tells which kind)
---@return fleet.Error|nil
function Connection:connect(timeout)
  local err
  timeout = timeout or CONNECT_TIMEOUT
  self.control, err = rpc.dial(self.url, timeout)
  if not self.control then return fail(self, "down", err) end
  local status
  status, err = self:request_status(timeout)
  if not status then
    if self.state == "skew" then return nil, err end
    self:close()
    return fail(self, "down", err)
  end
  if not self.full then self.error = nil end
  self.left = nil
  return true
end

--- Begins a new session, to which everything sent from now on belongs. The node learns of it with
--- the first work.
function Connection:begin_session()
  self.session_key = sys.random(16)
end

--- Opens the bulk connection, which `work` uses.
---@return boolean|nil true, or nil and an error
---@return fleet.Error|nil
function Connection:open_bulk()
  local err
  self.bulk, err = rpc.dial(self.url, CONNECT_TIMEOUT)
  return self.bulk and true, err
end

--- @class fleet.Work one message to a node; every list may be empty
--- @field seq integer its number in the session
--- @field ack integer chunks of events that have come
--- @field blobs {[1]: string, [2]: string}[] key and bytes
--- @field drops string[] keys
--- @field closes integer[] jobs
--- @field batches table[] see host/wire/protocol.h
--- @field replies table[] see host/wire/protocol.h

--- Encodes a message, which may then be sent several times.
---@param work fleet.Work
---@return string|nil bytes, or nil and an error
---@return fleet.Error|nil
function Connection:encode_work(work)
  return codec.encode({
    "work", sys.protocol, self.session_key, work.seq, work.ack, work.blobs, work.drops, work.closes,
    work.batches, work.replies,
  }, "message", MESSAGE_BYTES)
end

-- Sends the parts of a message that is too large for one request. Returns the request that
-- completes it; or nil, an error, and whether the node answered with that.
local function send_parts(self, bytes, timeout, id)
  local offsets, failure, by_node = {}, nil, nil
  for at = 0, #bytes - 1, PART_BYTES do offsets[#offsets + 1] = at end
  parallel.each(offsets, function(at)
    if failure then return end
    local part = codec.encode({
      "part", sys.protocol, self.session_key, id, at, #bytes, bytes:sub(at + 1, at + PART_BYTES),
    })
    local reply, err, answered = request(self, self.bulk, part, timeout, "part")
    if not reply then failure, by_node = err, answered end
  end, PARTS_AT_A_TIME)
  if failure then return nil, failure, by_node end
  return codec.encode({ "whole", sys.protocol, self.session_key, id })
end

--- Sends a message and waits for the next chunk of events.
---@param bytes string
---@param timeout number|nil seconds, of each request that it takes; nil: none
---@param id integer|nil number of the message in its session
---@return integer|nil number of the chunk, 0 for none; or nil and an error
---@return string|fleet.Error events concatenated
---@return boolean|nil by_node whether the node itself answered with the error
function Connection:work(bytes, timeout, id)
  local reply, err, by_node
  if #bytes > PART_BYTES then
    bytes, err, by_node = send_parts(self, bytes, timeout, id)
    if not bytes then return nil, err, by_node end
  end
  reply, err, by_node = request(self, self.bulk, bytes, timeout, "events")
  if not reply then return nil, err, by_node end
  if math.type(reply[2]) ~= "integer" or type(reply[3]) ~= "string" then return malformed(self) end
  return reply[2], reply[3]
end

--- Cancels tasks. Each range is {worker, generation, job, first, count}.
---@param ranges integer[][]
---@param timeout number seconds
---@return boolean|nil true, or nil and an error
---@return fleet.Error|nil
function Connection:cancel(ranges, timeout)
  local message = codec.encode({ "cancel", sys.protocol, self.session_key, ranges })
  local reply, err = request(self, self.control, message, timeout, "cancelled")
  return reply and true, err
end

--- Ends a session: its tasks are cancelled.
---@param timeout number seconds
---@param key string|nil of the session (default: our current one)
---@return {running: integer, events: integer}|nil what was dropped, or nil and an error
---@return fleet.Error|nil
function Connection:end_session(timeout, key)
  local message = codec.encode({ "end", sys.protocol, key or self.session_key })
  local reply, err = request(self, self.control, message, timeout, "ended")
  if not reply then return nil, err end
  return type(reply[2]) == "table" and reply[2] or {}
end

--- Returns what is known of the node, as plain data: the fields of fleet.nodes(), and `error`, why
--- it is down, skewed or full.
---@return table
function Connection:describe()
  local status = self.status or {}
  return {
    name = self.name, address = self.address, zone = status.zone or self.zone,
    state = self.full and self.state == "ready" and "full" or self.state,
    workers = status.workers and #status.workers or 0, running = status.running or 0,
    queued = status.queued or 0, release = status.release,
    rtt = self.rtt and math.floor(self.rtt * 1e6) / 1e6, -- whole microseconds
    error = self.error and self.error.message,
  }
end

--- Closes the bulk connection: what waits in `work` gets an error. Idempotent.
function Connection:close_bulk()
  if self.bulk then self.bulk:close() end
  self.bulk = nil
end

--- Closes both connections. Unless it was ended, the session remains at the node for its lease.
--- Idempotent.
function Connection:close()
  self:close_bulk()
  if self.control then self.control:close() end
  self.control = nil
end

return connection
