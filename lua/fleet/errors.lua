-- SPDX-License-Identifier: MIT
-- The error value of the fleet: a plain table, so that it can be sent and written as JSON, with a
-- metatable that formats it for people. Host code, jobs and the command line all use this form.

local metatable = require("host.error").metatable -- no script can reach it

local errors = {}

--- What each `kind` means. A kind is a stable word that programs may compare;
--- the message is for people and may change.
errors.kinds = {
  -- the task itself
  raise = "the function raised an error, whose message and traceback these are",
  encode = "a value cannot be sent; the message names the path in it",
  decode = "received bytes are not a valid value, or a body cannot be decoded",
  input = "the input item could not be read; it never ran",
  output = "results could not be written",
  usage = "the command line or the job script is wrong",
  -- limits
  too_large = "a body, a value or a message exceeds its size limit",
  timeout = "the task, the call or the transfer exceeded its time limit",
  memory = "the task exceeded its memory limit",
  deadline = "the whole map exceeded its deadline",
  cancelled = "the driver stopped the task",
  -- workers and nodes
  crash = "the worker process died while it ran the task",
  lost = "the node was lost while it had the task",
  refused = "the node did not accept the task",
  draining = "the node is shutting down and accepts no more work",
  skew = "the node has another release or protocol than the driver",
  poisoned = "the item killed workers on several nodes; it is not tried again",
  -- network
  connect = "no connection could be made",
  url = "the URL is malformed or its scheme is not allowed",
  dns = "the host name does not resolve",
  tls = "the TLS handshake or the verification of the peer failed",
  redirect = "too many redirects, or one to a scheme that is not allowed",
  truncated = "the connection closed before the whole response had arrived",
  protocol = "the peer broke the protocol",
  -- the machine
  system = "the operating system, or a library that is loaded when needed, failed",
  -- AWS
  config = "a configuration file or an environment variable is wrong or missing",
  credentials = "there are no AWS credentials, or they could not be obtained",
  service = "an AWS service refused the call or failed",
}

--- @class fleet.Error
--- @field kind string one of the keys of `errors.kinds`
--- @field message string one line for people
--- @field applied? "yes"|"no"|"unknown" whether the function ran
--- @field traceback? string of the place where it was raised
--- @field node? string name of the node on which it happened
--- @field attempt? integer 1 for the first attempt
--- @field signal? integer|string what killed the worker
--- @field inner? table the fields `applied`, `node`, `attempt` and `signal` of an error table that
--- the function returned or raised, usually the error of a call that it made; the fields of the
--- same names outside `inner` describe the attempt of this function. Also its `kind`, if only the
--- fleet may use that (cancelled, crash, deadline, draining, lost, poisoned, refused, skew);
--- `kind` is then "raise"
--- @field status? integer HTTP status of a response that had begun before the failure

--- Returns the text of an error, as tostring does: "kind: message (node X, attempt n, signal s,
--- applied a)", with the known details. Fields may come from another process and have any type.
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
--- returns it. The table is not copied. Raises if it is not an error.
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

--- Returns whether `value` has the form of an error: a table with strings `kind` and `message` of
--- its own. The metatable does not matter, since it is lost when the table is sent.
---@param value any
---@return boolean
function errors.is(value)
  return type(value) == "table"
    and type(rawget(value, "kind")) == "string"
    and type(rawget(value, "message")) == "string"
end

--- Sets the metatable of a plain table that has the form of an error, such as one received from
--- another process. Other values, and tables with a metatable, are unchanged. Returns `value`.
---@generic T
---@param value T
---@return T
function errors.wrap(value)
  if errors.is(value) and getmetatable(value) == nil then
    setmetatable(value, metatable)
  end
  return value
end

-- Errors that prevented a whole map, or a call on all nodes, from starting.
local unstartable = setmetatable({}, { __mode = "k" })

--- Raises an error that prevents a whole operation from starting.
---@param err fleet.Error
function errors.cannot_begin(err)
  unstartable[err] = true
  error(err, 0)
end

--- Returns whether a value is an error that `cannot_begin` raised. A script that does not catch it
--- ends like a command that cannot start: with the message and exit code, without a traceback.
---@param value any
---@return boolean
function errors.is_unstartable(value)
  return value ~= nil and unstartable[value] == true
end

return errors
