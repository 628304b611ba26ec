-- SPDX-License-Identifier: MIT
-- A node that this driver has started (see fleet.discovery.launch): its process, whose stdin and
-- stdout carry the session, and what it writes to stderr.

local channel = require("host.channel")
local errors = require("fleet.errors")
local process = require("host.process")
local ssh = require("fleet.discovery.ssh")
local sys = require("host.sys")
local task = require("host.task")

local launched = {}

-- Bytes of stderr that are kept, for messages.
local OUTPUT_BYTES = 8192
-- Seconds.
local POLL_INTERVAL = 0.01
local START_TIMEOUT = 30
local EXPLAIN_TIMEOUT, END_TIMEOUT, TERMINATE_TIMEOUT = 1, 1, 1

--- @class fleet.Launched
--- @field launch fleet.Launch
--- @field on_line fun(line: string) takes each line that it writes to stderr; must not wait
--- @field process table|nil of host.process: the present one
--- @field output string the last bytes of its stderr
--- @field ended boolean it had a channel, and is not to be started again by `dial`
local Launched = {}
Launched.__index = Launched

-- ---- how many start at a time on one host ----

local starting = {} -- by host: their number
local freed = task.event()

local function acquire(host)
  while host and (starting[host] or 0) >= ssh.MAX_STARTS do freed:wait() end
  if host then starting[host] = (starting[host] or 0) + 1 end
end

local function release(host)
  if not host then return end
  starting[host] = starting[host] > 1 and starting[host] - 1 or nil
  freed:notify()
end

-- ---- its output ----

local function read_output(self, p)
  local rest = ""
  for bytes in p.read, p do
    if self.process == p then self.output = (self.output .. bytes):sub(-OUTPUT_BYTES) end
    rest = rest .. bytes
    for line in rest:gmatch("([^\n]*)\n") do self.on_line(line) end
    rest = rest:match("[^\n]*$"):sub(-OUTPUT_BYTES)
  end
  if rest ~= "" then self.on_line(rest) end
end

-- ---- its end ----

-- Waits until the process has ended, but at most that long. Returns whether it has, its exit code,
-- and the signal that ended it.
local function wait_for_end(p, seconds)
  local deadline = sys.now() + seconds
  while true do
    local code, signal = p:ended()
    if code or signal then return true, code, signal end
    if sys.now() >= deadline then return false end
    task.sleep(POLL_INTERVAL)
  end
end

-- Why there is no channel, or none any more: as the launch explains the end of the process, or as
-- the channel has it.
local function explain(self, err)
  local has_ended, code, signal = wait_for_end(self.process, EXPLAIN_TIMEOUT)
  if not has_ended then return errors.format(err.kind, "%s: %s", self.launch.name, err.message) end
  return errors.format("connect", "%s", self.launch.explain(code, signal, self.output))
end

--- Ends the process: it knows by the end of its channel that it is to end, and is ended by force if
--- it does not. Waits for two seconds at most. Idempotent.
function Launched:stop()
  local p = self.process
  if not p then return end
  if not wait_for_end(p, END_TIMEOUT) then
    p:terminate()
    wait_for_end(p, TERMINATE_TIMEOUT)
  end
  p:kill()
end

-- ---- its beginning ----

--- Makes a node that is not started yet.
---@param launch fleet.Launch
---@param on_line fun(line: string)
---@return fleet.Launched
function launched.new(launch, on_line)
  return setmetatable({ launch = launch, on_line = on_line, output = "", ended = false }, Launched)
end

local function start(self)
  local launch = self.launch
  local argv, p, err = launch.argv, nil, nil
  acquire(launch.host)
  local _ <close> = setmetatable({}, { __close = function() release(launch.host) end })
  if launch.prepare then argv, err = launch.prepare() end
  if not argv then return nil, err end
  p, err = process.start(argv, { duplex = true })
  if not p then return nil, err end
  self.process, self.output = p, ""
  task.spawn(read_output, self, p)
  local output, input = p:descriptors()
  local opened
  opened, err = channel.dial({
    input = output, output = input, name = launch.name, timeout = START_TIMEOUT,
    skip_noise = true,
  })
  if opened then return opened end
  err = explain(self, err)
  self:stop()
  return nil, err
end

--- Starts the node and returns its channel. A node whose channel has ended has lost its sessions,
--- so it is not started again before `restart`. Waits.
---@return host.Channel|nil channel or nil and an error, of kind "connect", "timeout", "skew", ...
---@return fleet.Error|nil
function Launched:dial()
  if self.ended then
    return nil, explain(self, { kind = "connect", message = "its channel has ended" })
  end
  local opened, err = start(self)
  self.ended = opened ~= nil
  return opened, err
end

--- Lets the next `dial` start the node again. Waits for the end of the present process.
function Launched:restart()
  self:stop()
  self.ended = false
end

return launched
