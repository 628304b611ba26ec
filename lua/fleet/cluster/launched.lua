-- SPDX-License-Identifier: MIT
-- A node that this driver has started (see fleet.discovery.launch): its process, whose stdin and
-- stdout carry the session, and what it writes to stderr.

local channel = require("host.channel")
local errors = require("fleet.errors")
local process = require("host.process")
local subprocess = require("fleet.base.subprocess")
local task = require("host.task")

local launched = {}

-- How many are started at a time on one host: sshd refuses some sessions above ten (MaxStartups).
local MAX_STARTS = 10
-- Bytes of stderr that are kept, for messages.
local OUTPUT_BYTES = 8192
-- Seconds.
local START_TIMEOUT = 30
local EXPLAIN_TIMEOUT, END_TIMEOUT, TERMINATE_TIMEOUT = 1, 1, 1

--- @class fleet.Launched
--- @field launch fleet.Launch
--- @field on_line fun(line: string) takes each line that it writes to stderr; must not wait
--- @field timeout number seconds that it may take to answer
--- @field process table|nil of host.process: the present one
--- @field output fleet.LaunchedOutput|nil of the present process
--- @field used boolean it had a channel, and is not to be started again by `dial`
--- @field closed boolean it is not to be started any more
local Launched = {}
Launched.__index = Launched

-- ---- how many start at a time on one host ----

local starting = {} -- by host: their number
local freed = task.event()

local function acquire(host)
  while host and (starting[host] or 0) >= MAX_STARTS do freed:wait() end
  if host then starting[host] = (starting[host] or 0) + 1 end
end

local function release(host)
  if not host then return end
  starting[host] = starting[host] > 1 and starting[host] - 1 or nil
  freed:notify()
end

-- ---- its output ----

--- @class fleet.LaunchedOutput what a process writes to stderr
--- @field text string the last bytes of it
--- @field ended boolean
--- @field changed host.Event it has ended

local function read_output(p, output, on_line)
  local rest = ""
  for bytes in p.read, p do
    output.text = (output.text .. bytes):sub(-OUTPUT_BYTES)
    rest = rest .. bytes
    for line in rest:gmatch("([^\n]*)\n") do
      on_line((line:gsub("\r$", ""))) -- ssh ends its lines with CR and LF
    end
    rest = rest:match("[^\n]*$"):sub(-OUTPUT_BYTES)
  end
  if rest ~= "" then on_line(rest) end
  output.ended = true
  output.changed:notify()
end

-- ---- its end ----

-- Returns a message without the place that it begins with.
local function without_place(launch, message)
  for _, place in ipairs({ launch.title, launch.name }) do
    local rest = message:sub(#place + 1)
    if message:find(place, 1, true) == 1 and rest:find("^: ") then return rest:sub(3) end
  end
  return message
end

--- Says why there is no channel, or none any more: as the launch explains the end of the process,
--- if that is what ended the channel. A channel that has ended because of what came over it has
--- ended the process as well. The last words of the process may come after its end; another process
--- may have them. Waits for two seconds at most.
---@param err fleet.Error as the channel has it
---@return fleet.Error
function Launched:explain(err)
  local output, title = self.output, self.launch.title
  if err.kind == "timeout" then
    return errors.format("timeout", "%s: the node has begun to answer, then nothing came; the "
      .. "command must pass on every byte, unchanged and at once (srun: --unbuffered)", title)
  end
  local message = without_place(self.launch, err.message)
  local titled = errors.format(err.kind, "%s: %s", title, message)
  -- requests whose channel has ended are lost, for whatever reason it has
  if err.kind ~= "lost" or not message:find("^the connection ") then return titled end
  local code, signal = subprocess.wait(self.process, EXPLAIN_TIMEOUT)
  if not code and not signal then return titled end
  if not output.ended then output.changed:wait(EXPLAIN_TIMEOUT) end
  local words = output.text
  if not words:find("%S") then -- some write to stdout, such as nologin
    local began = err.message:match('it began with (".*")$')
    words = began and "it wrote " .. began or words
  end
  return errors.format("connect", "%s", self.launch.explain(code, signal, words))
end

-- Ends the process: it knows by the end of its channel that it is to end, and is ended by force if
-- it does not. Waits for two seconds at most. Idempotent.
local function stop(self)
  local p = self.process
  if not p then return end
  local code, signal = subprocess.wait(p, END_TIMEOUT)
  if not code and not signal then
    p:terminate()
    subprocess.wait(p, TERMINATE_TIMEOUT)
  end
  p:kill()
end

-- ---- its beginning ----

--- Makes a node that is not started yet.
---@param launch fleet.Launch
---@param on_line fun(line: string)
---@param timeout number|nil seconds that it may take to answer (default: 30)
---@return fleet.Launched
function launched.new(launch, on_line, timeout)
  return setmetatable({
    launch = launch, on_line = on_line, timeout = timeout or START_TIMEOUT, used = false,
    closed = false,
  }, Launched)
end

-- Starts the process, unless the node is closed meanwhile.
local function start(self)
  local launch = self.launch
  local argv, err = launch.argv, nil
  if launch.prepare and not self.closed then argv, err = launch.prepare() end
  if not argv then return nil, err end
  if self.closed then
    return nil, errors.format("cancelled", "%s: not started any more", launch.title)
  end
  local p, fault = process.start(argv, { duplex = true })
  if not p then
    return nil, errors.format("connect", "%s: %s", launch.title, fault.message)
  end
  self.process, self.output = p, { text = "", ended = false, changed = task.event() }
  task.spawn(read_output, p, self.output, self.on_line)
  return p
end

local function start_and_dial(self)
  local launch = self.launch
  acquire(launch.host)
  local _ <close> = setmetatable({}, { __close = function() release(launch.host) end })
  local p, err = start(self)
  if not p then return nil, err end
  local output, input = p:descriptors()
  local opened
  opened, err = channel.dial({
    input = output, output = input, name = launch.title, timeout = self.timeout,
  })
  if opened then return opened end
  if err.kind == "lost" then err = self:explain(err) end
  stop(self)
  return nil, err
end

--- Starts the node and returns its channel. A node whose channel has ended has lost its sessions,
--- so it is not started again before `restart`. Waits.
---@return host.Channel|nil channel or nil and an error, of kind "connect", "timeout", "skew",
--- "lost" (its process lives), ...
---@return fleet.Error|nil
function Launched:dial()
  if self.used then
    return nil, self:explain(errors.new({ kind = "lost", message = "the connection has ended" }))
  end
  local opened, err = start_and_dial(self)
  self.used = opened ~= nil
  return opened, err
end

--- Lets the next `dial` start the node again. Waits for the end of the present process.
function Launched:restart()
  stop(self)
  self.used = false
end

--- Ends the process, and starts none any more. Waits for two seconds at most. Idempotent.
function Launched:close()
  self.closed = true
  stop(self)
end

return launched
