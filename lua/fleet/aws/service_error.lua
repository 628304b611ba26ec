-- SPDX-License-Identifier: MIT
-- Errors of calls to AWS: what went wrong, in a sentence that says what to do. Pure.

local errors = require("fleet.errors")
local retry = require("fleet.aws.retry")
local time = require("fleet.aws.time")

local service_error = {}

-- Seconds. Services allow five minutes; the SDKs correct the clock from four minutes on.
local MAX_SKEW = 240
local MAX_MESSAGE = 300

--- @class fleet.aws.Call: fleet.aws.Request
--- @field url string
--- @field region string|nil

-- One line for people, without the credentials, which AWS repeats when a signature is wrong.
local function clean(message, credentials)
  for _, word in ipairs(credentials and { credentials.secret, credentials.token or nil } or {}) do
    local at = message:find(word, 1, true)
    if at then message = message:sub(1, at - 1) .. "..." end
  end
  message = message:match("^[^\r\n]*"):gsub(" ?Encoded authorization failure message:.*$", "")
  message = message:gsub("%c", "?")
  if #message > MAX_MESSAGE then message = message:sub(1, MAX_MESSAGE - 3) .. "..." end
  return message
end

-- "the role NAME" or "the user NAME" for the ARN of a principal.
local function principal_of(arn)
  local kind, name = arn:match(":assumed%-(role)/([^/]+)")
  if not kind then kind, name = arn:match(":(user)/(.+)$") end
  if not kind then kind, name = arn:match(":(role)/(.+)$") end
  return kind and ("the %s %s"):format(kind, name) or arn
end

local function denied(call, message, credentials)
  local arn, action = message:match("User: (%S+) is not authorized to perform: ([%w-]+:%w+)")
  action = action or ("%s:%s"):format(call.service, call.action)
  local principal = arn and principal_of(arn)
    or credentials and ("the owner of the credentials from %s"):format(credentials.source)
    or "the caller"
  local resource = message:match(" on resource: (%S+)")
    or action:find("^" .. call.service .. ":") and call.resource or "*"
  local advice = ('allow it in its policy: {"Effect": "Allow", "Action": "%s", "Resource": "%s"}')
    :format(action, resource)
  if call.role then
    advice = ("the trust policy of %s must allow it%s"):format(call.role,
      call.action == "AssumeRole" and ", and so must the caller's own policy" or "")
  end
  return ("%s lacks %s: %s%s"):format(principal, action, advice,
    message ~= "" and " (" .. message .. ")" or "")
end

-- Codes of a service that does not know the credentials.
local UNKNOWN = { AuthFailure = true, InvalidClientTokenId = true }

-- A probable reason for that.
local function hint(call, code, credentials)
  if not credentials or not UNKNOWN[code] then return "" end
  if credentials.key:find("^ASIA") and not credentials.token then
    return "; keys that begin with ASIA need a session token, too (AWS_SESSION_TOKEN)"
  end
  return ("; is the secret right, and is %s enabled for the account?"):format(
    call.region or "the region")
end

local function clock_skew(headers, now)
  local theirs = time.http(headers.date)
  local ahead = theirs and now - theirs
  if not ahead or math.abs(ahead) <= MAX_SKEW then return nil end
  return ("the clock of this machine is %d s %s"):format(math.floor(math.abs(ahead) + 0.5),
    ahead > 0 and "ahead" or "behind")
end

--- The error for an answer whose status is not 200. Its `class` is that of retry.class.
---@param call fleet.aws.Call
---@param response fleet.HttpResponse
---@param credentials fleet.aws.Credentials|nil those that the request was signed with
---@param now number seconds since 1970
---@return fleet.Error
function service_error.of_answer(call, response, credentials, now)
  local fields = call.read_error(response)
  if not fields.code then fields = {} end
  local err = {
    kind = "service", status = response.status, code = fields.code, request_id = fields.id,
  }
  err.class = retry.class(err)
  local message = clean(fields.message or "", credentials)
  local skew = retry.blames_clock(err.code) and clock_skew(response.headers, now)
  local name = ("%s %s"):format(call.service, call.action)
  if skew then
    err.class = "final"
    err.message = ("%s: %s, and AWS rejects such requests (%s)"):format(name, skew, err.code)
  elseif err.class == "denied" then
    err.message = ("%s: %s"):format(name, denied(call, message, credentials))
  elseif err.class == "stale" then
    err.message = ("%s: AWS rejects the credentials%s: %s: %s%s"):format(name,
      credentials and " from " .. credentials.source or "", err.code, message,
      hint(call, err.code, credentials))
  else
    err.message = ("%s: %s %s%s"):format(name, call.url, err.code and "refused: " .. err.code
      or ("answered %d"):format(response.status), message ~= "" and ": " .. message or "")
  end
  return errors.new(err)
end

--- The error for a call that got no answer.
---@param call fleet.aws.Call
---@param err fleet.Error of host.http
---@return fleet.Error
function service_error.of_failure(call, err)
  local advice = ""
  if err.kind == "timeout" or err.kind == "connect" then
    advice = ("; from a private subnet reaching AWS takes a NAT gateway or an interface "
      .. "VPC endpoint for %s"):format(call.service)
  elseif err.kind == "dns" and call.region then
    advice = ("; is %s a region?"):format(call.region)
  end
  return errors.new({
    kind = err.kind, class = retry.class(err),
    message = ("%s %s: %s%s"):format(call.service, call.action, err.message, advice),
  })
end

return service_error
