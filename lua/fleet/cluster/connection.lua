-- SPDX-License-Identifier: MIT
-- A node as the driver sees it: its channel, and the requests of the protocol
-- (host/wire/protocol.h).

local address_of = require("fleet.discovery.address")
local channel = require("host.channel")
local codec = require("host.codec")
local errors = require("fleet.errors")
local release = require("fleet.discovery.release")
local sys = require("host.sys")

local connection = {}

-- Seconds.
local CONNECT_TIMEOUT = 5

--- @class fleet.Connection
--- @field address string as the user wrote it
--- @field started_by string|nil what started it: "ssh alice@build1", "launch 2 (CMD)"
--- @field explain (fun(err: fleet.Error): fleet.Error)|nil says better why a node that was started
--- does not answer
--- @field dial fun(timeout: number): host.Channel|nil, fleet.Error|nil
--- @field name string the node's own, once it has answered; else the address
--- @field state "connecting"|"ready"|"draining"|"skew"|"down"
--- @field status table|nil its last answer to a status request
--- @field rtt number|nil seconds that answer took
--- @field answered_at number|nil by sys.now: when that was
--- @field ahead number|nil seconds by which its clock was ahead of ours then
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
---@param wanted string the release that it must have to be used, or several (see
---  fleet.discovery.release)
---@param dial fun(timeout: number): host.Channel|nil, fleet.Error|nil makes a channel to it
---@return fleet.Connection
function connection.new(address, wanted, dial)
  return setmetatable({
    address = address, name = address, state = "connecting", release = wanted, dial = dial,
  }, Connection)
end

local function malformed(self)
  return nil, errors.format("protocol", "%s: malformed reply", self.name)
end

-- Sends a request and returns the reply, which must have that name; or nil and an error.
local function request(self, message, timeout, name)
  if not self.channel then return nil, errors.format("lost", "%s: not connected", self.name) end
  local bytes, err = self.channel:call(codec.encode(message), timeout)
  if not bytes then return nil, err end
  local reply = codec.decode(bytes)
  if type(reply) == "table" then
    if reply[1] == name then return reply end
    if reply[1] == "error" then
      err = { kind = reply[2], message = ("%s: %s"):format(self.name, reply[3]) }
      if errors.is(err) then return nil, errors.new(err) end
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
  local reply, err = request(self, { "status", self.session_key }, timeout, "status")
  if not reply then return nil, err end
  local status = reply[2]
  if type(status) ~= "table" then return malformed(self) end
  self.answered_at, self.status = sys.now(), status
  self.rtt = self.answered_at - started
  self.ahead = type(status.time) == "number" and status.time - (sys.time() - self.rtt / 2) or nil
  self.name = self.other_name or status.name or self.name
  if status.protocol ~= sys.protocol or not release.accepts(self.release, status.release) then
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
  self.channel, err = self.dial(timeout)
  if not self.channel then return fail(self, err.kind == "skew" and "skew" or "down", err) end
  local status
  status, err = self:request_status(timeout)
  if not status then
    if self.state == "skew" then return nil, err end
    self:close()
    if self.explain then
      err = self.explain(err)
    elseif err.kind == "lost" then -- which does not name the node
      err = errors.format("lost", "%s: %s", self.address, err.message)
    end
    return fail(self, "down", err)
  end
  if not self.full then self.error = nil end
  self.left = nil
  return true
end

--- Makes what `open_session` opens.
---@param handlers table see host.channel
---@return host.Session
function Connection.new_messages(_, handlers)
  return channel.session(handlers)
end

--- Opens a session, or goes on with it, over the present channel. From now on, requests for the
--- status name it.
---@param messages host.Session
---@param key string of the session
---@param timeout number seconds
---@return boolean|nil true, or nil and an error
---@return fleet.Error|nil
---@return boolean|nil by_node whether the node itself answered with the error
function Connection:open_session(messages, key, timeout)
  if not self.channel then return nil, errors.format("lost", "%s: not connected", self.name) end
  self.session_key = key
  local ok, err, by_node = messages:open(self.channel, key, timeout, self.release)
  if by_node then err = errors.format(err.kind, "%s: %s", self.name, err.message) end
  return ok, err, by_node
end

--- Cancels tasks. Each range is {worker, generation, job, first, count}.
---@param after integer number of the message that has the last of these tasks
---@param ranges integer[][]
---@param timeout number seconds
---@return boolean|nil true, or nil and an error
---@return fleet.Error|nil
function Connection:cancel(after, ranges, timeout)
  local reply, err = request(self, { "cancel", after, ranges }, timeout, "cancelled")
  return reply and true, err
end

--- Ends a session: its tasks are cancelled.
---@param timeout number seconds
---@param key string|nil of the session (default: our current one)
---@return {running: integer, events: integer}|nil what was dropped, or nil and an error
---@return fleet.Error|nil
function Connection:end_session(timeout, key)
  local reply, err = request(self, { "end", key or self.session_key }, timeout, "ended")
  if not reply then return nil, err end
  return type(reply[2]) == "table" and reply[2] or {}
end

--- Returns what is known of the node, as plain data: the fields of fleet.nodes(), and `error`, why
--- it is down, skewed or full.
---@return table
function Connection:describe()
  local status = self.status or {}
  return {
    name = self.name, address = self.address, started_by = self.started_by,
    zone = status.zone or self.zone,
    state = self.full and self.state == "ready" and "full" or self.state,
    workers = status.workers and #status.workers or 0, running = status.running or 0,
    queued = status.queued or 0, release = status.release,
    rtt = self.rtt and math.floor(self.rtt * 1e6) / 1e6, -- whole microseconds
    error = self.error and self.error.message,
  }
end

--- Closes the channel. Unless it was ended, the session remains at the node for its lease.
--- Idempotent.
function Connection:close()
  if self.channel then self.channel:close() end
  self.channel = nil
end

return connection
