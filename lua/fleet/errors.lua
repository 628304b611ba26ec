-- SPDX-License-Identifier: MIT
-- The one error value of the fleet: a plain table, so that it crosses the wire
-- and prints well in JSON, with a metatable that prints it for people. Host
-- code, jobs and the command line all make and read errors of this shape.

local metatable = require("host.error").metatable -- no script can reach it

local errors = {}

--- What each `kind` means. A kind is a stable word that programs may compare;
--- the message is for people and may change.
errors.kinds = {
  -- the task itself
  raise = "the function raised; message and traceback are its own",
  encode = "a value cannot be sent; the message names the path in it",
  decode = "received bytes are not a valid value, or not a body that can be decoded",
  input = "the input item could not be read; it never ran",
  output = "results could not be written",
  usage = "the command line or the job script is wrong",
  -- limits
  too_large = "a body, a value or a message is over its size limit",
  timeout = "the task, or the transfer, took longer than it may",
  memory = "the task needed more memory than it may have",
  deadline = "the whole map took longer than it may",
  cancelled = "stopped on request of the driver",
  -- workers and nodes
  crash = "the worker process died while it ran the task",
  lost = "the node went away while it had the task",
  refused = "the node did not take the task",
  draining = "the node is leaving and takes no more work",
  skew = "the node runs another release or protocol",
  poisoned = "the item killed workers on several nodes; it is not tried again",
  -- network
  connect = "no connection could be made",
  url = "the URL is malformed or its scheme is not allowed",
  dns = "the host name does not resolve",
  tls = "the TLS handshake or the verification of the peer failed",
  redirect = "too many redirects, or one to a scheme that is not allowed",
  truncated = "the connection closed before the whole answer had come",
  protocol = "the peer broke the protocol",
  -- the machine
  system = "the operating system, or a library that is loaded when needed, failed",
  -- AWS
  config = "a configuration file or an environment variable is wrong, or something is not set",
  credentials = "there are no credentials for AWS, or they could not be had",
  service = "a service of AWS refused the call, or failed",
}

--- @class fleet.Error
--- @field kind string one of the keys of `errors.kinds`
--- @field message string one line for people
--- @field applied? "yes"|"no"|"unknown" whether the work was done at the far end
--- @field traceback? string where it was raised
--- @field node? string name of the node it happened on
--- @field attempt? integer 1 for the first attempt
--- @field signal? integer|string what killed the worker
--- @field inner? table what an error table that the function returned or raised, most often that
--- of a call that it passes on, said of `applied`, `node`, `attempt` and `signal`: here these are
--- of its own attempt. Also its `kind` when only the fleet gives that (cancelled, crash, deadline,
--- draining, lost, poisoned, refused, skew); `kind` is "raise" then
--- @field status? integer HTTP status of an answer that had begun and failed

--- "kind: message", then what is known of "(node X, attempt n, signal s, applied a)": what
--- tostring gives of an error. Fields may have come over the wire, so they can be of any type.
---@param e table
---@return string
function errors.text(e)
  local details = {}
  for _, field in ipairs({ "node", "attempt", "signal", "applied" }) do
    local value = rawget(e, field)
    if value ~= nil then details[#details + 1] = field .. " " .. tostring(value) end
  end
  local text = tostring(rawget(e, "kind")) .. ": " .. tostring(rawget(e, "message"))
  if #details == 0 then return text end
  return text .. " (" .. table.concat(details, ", ") .. ")"
end

metatable.__tostring = errors.text

--- Turns `fields` (kind and message are required strings) into an error and
--- returns it. The table is not copied. Raises when it is no error.
---@param fields fleet.Error
---@return fleet.Error
function errors.new(fields)
  if not errors.is(fields) then
    error("errors.new: needs a table with the strings 'kind' and 'message'", 2)
  end
  if debug.getmetatable(fields) == metatable then return fields end
  return setmetatable(fields, metatable)
end

--- Makes an error of a kind with a message that is formatted as string.format does.
---@param kind string
---@param format string
---@param ... any
---@return fleet.Error
function errors.format(kind, format, ...)
  return errors.new({ kind = kind, message = format:format(...) })
end

--- Returns a function(format, ...) that makes errors of `kind` as errors.format does.
---@param kind string
---@return fun(format: string, ...: any): fleet.Error
function errors.formatter(kind)
  return function(...) return errors.format(kind, ...) end
end

--- Whether `value` has the shape of an error: a table with string `kind` and
--- `message` of its own. The metatable does not matter, the wire drops it.
---@param value any
---@return boolean
function errors.is(value)
  return type(value) == "table"
    and type(rawget(value, "kind")) == "string"
    and type(rawget(value, "message")) == "string"
end

--- Gives a bare table that is an error (say, one that came over the wire) the
--- metatable; any other value, or a table with a metatable of its own, stays as
--- it is. Returns `value`.
---@generic T
---@param value T
---@return T
function errors.wrap(value)
  if errors.is(value) and getmetatable(value) == nil then
    setmetatable(value, metatable)
  end
  return value
end

-- Errors that say why nothing of a map, or of a call on all nodes, could begin.
local unstartable = setmetatable({}, { __mode = "k" })

--- Raises an error that says why nothing of what was asked for could begin.
---@param err fleet.Error
function errors.cannot_begin(err)
  unstartable[err] = true
  error(err, 0)
end

--- Whether a value is an error that `cannot_begin` raised: a script that does not catch it ends as
--- a command does that cannot begin, with its message and exit code, and no traceback.
---@param value any
---@return boolean
function errors.is_unstartable(value)
  return value ~= nil and unstartable[value] == true
end

return errors
