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
local EXPLAIN_TIMEOUT, END_TIMEOUT, TERMINATE_TIMEOUT = 1, 1, 1

--- @class fleet.Launched
--- @field launch fleet.Launch
--- @field output string the last bytes of its stderr
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

local function read_output(self)
  local rest = ""
  for bytes in self.process.read, self.process do
    self.output = (self.output .. bytes):sub(-OUTPUT_BYTES)
    rest = rest .. bytes
    for line in rest:gmatch("([^\n]*)\n") do self.on_line(line) end
    rest = rest:match("[^\n]*$"):sub(-OUTPUT_BYTES)
  end
  if rest ~= "" then self.on_line(rest) end
end

-- Waits until the process has ended, but at most that long. Returns whether it has.
local function wait_for_end(self, seconds)
  local deadline = sys.now() + seconds
  repeat
    local code, signal = self.process:ended()
    if code or signal then
      self.code, self.signal = code, signal
      return true
    end
    task.sleep(POLL_INTERVAL)
  until sys.now() >= deadline
  return false
end

-- The error of a connection that was not made or broke, as the launch explains it.
local function explain(self, err)
  if not wait_for_end(self, EXPLAIN_TIMEOUT) then return err end
  return errors.format("connect", "%s", self.launch.explain(self.code, self.signal, self.output))
end

-- ---- its life ----

--- Starts the node and waits for its preface.
---@param launch fleet.Launch
---@param timeout number seconds
---@param on_line fun(line: string) takes each line that it writes to stderr; must not wait
---@return fleet.Launched|nil
---@return fleet.Error|nil
function launched.start(launch, timeout, on_line)
  local argv, err = launch.argv, nil
  acquire(launch.host)
  local _ <close> = setmetatable({}, { __close = function() release(launch.host) end })
  if launch.prepare then argv, err = launch.prepare() end
  if not argv then return nil, err end
  local self = setmetatable({ launch = launch, output = "", on_line = on_line }, Launched)
  self.process, err = process.start(argv, { duplex = true })
  if not self.process then return nil, err end
  task.spawn(read_output, self)
  local output, input = self.process:descriptors()
  self.channel, err = channel.dial({
    input = output, output = input, name = launch.name, timeout = timeout,
  })
  if self.channel then return self end
  err = explain(self, err)
  self:stop()
  return nil, err
end

--- Says why its channel has ended. Waits, for a second at most.
---@param err fleet.Error of the channel
---@return fleet.Error
function Launched:explain(err)
  return explain(self, err)
end

--- Closes its channel, by which it knows that it is to end, and ends it by force if it does not.
--- Waits for a few seconds at most. Idempotent.
function Launched:stop()
  if self.channel then self.channel:close() end
  if not wait_for_end(self, END_TIMEOUT) then
    self.process:terminate()
    wait_for_end(self, TERMINATE_TIMEOUT)
  end
  self.process:kill()
end

return launched
