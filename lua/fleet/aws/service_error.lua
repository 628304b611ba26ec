-- SPDX-License-Identifier: MIT
-- What went wrong with a call to AWS, in a sentence that says what to do. Pure.

local answer = require("fleet.aws.xml_reply")
local errors = require("fleet.errors")
local retry = require("fleet.aws.retry")
local time = require("fleet.aws.time")

local refusal = {}

-- Services take five minutes; the SDKs correct from four on.
local MAX_SKEW = 240
local MAX_MESSAGE = 300

--- @class fleet.aws.Call
--- @field service string
--- @field action string
--- @field url string
--- @field region string|nil
--- @field role string|nil ARN of the role that is to be assumed

-- One line for people; nothing of the credentials, which AWS repeats when a signature is wrong.
local function tidy(message, credentials)
  for _, word in ipairs(credentials and { credentials.secret, credentials.token or nil } or {}) do
    local at = message:find(word, 1, true)
    if at then message = message:sub(1, at - 1) .. "..." end
  end
  message = message:match("^[^\r\n]*"):gsub(" ?Encoded authorization failure message:.*$", "")
  message = message:gsub("%c", "?")
  if #message > MAX_MESSAGE then message = message:sub(1, MAX_MESSAGE - 3) .. "..." end
  return message
end

local function who(arn)
  local kind, name = arn:match(":assumed%-(role)/([^/]+)")
  if not kind then kind, name = arn:match(":(user)/(.+)$") end
  if not kind then kind, name = arn:match(":(role)/(.+)$") end
  return kind and ("the %s %s"):format(kind, name) or arn
end

local function denied(call, message, credentials)
  local arn, action = message:match("User: (%S+) is not authorized to perform: ([%w-]+:%w+)")
  action = action or ("%s:%s"):format(call.service, call.action)
  local principal = arn and who(arn)
    or credentials and ("the owner of the credentials from %s"):format(credentials.source)
    or "the caller"
  local where = "allow it in its policy"
  if call.role then
    where = ("the trust policy of %s must allow it%s"):format(call.role,
      call.action == "AssumeRole" and ", and so must the caller's own policy" or "")
  end
  return ("%s lacks %s: %s%s"):format(principal, action, where,
    message ~= "" and " (" .. message .. ")" or "")
end

-- What may be the reason when a service knows nothing of the credentials.
local UNKNOWN = { AuthFailure = true, InvalidClientTokenId = true }

local function suspicion(call, code, credentials)
  if not credentials or not UNKNOWN[code] then return "" end
  if credentials.key:find("^ASIA") and not credentials.token then
    return "; keys that begin with ASIA need a session token, too (AWS_SESSION_TOKEN)"
  end
  return ("; is the secret right, and is %s enabled for the account?"):format(
    call.region or "the region")
end

local function clock(headers, now)
  local theirs = time.http(headers.date)
  local ahead = theirs and now - theirs
  if not ahead or math.abs(ahead) <= MAX_SKEW then return nil end
  return ("the clock of this machine is %d s %s"):format(math.floor(math.abs(ahead) + 0.5),
    ahead > 0 and "ahead" or "behind")
end

--- The error of an answer that is not 200. `class` is what retry.class says of it.
---@param call fleet.aws.Call
---@param response fleet.HttpResponse
---@param credentials fleet.aws.Credentials|nil those it was signed with
---@param now number seconds since 1970
---@return fleet.Error
function refusal.of_answer(call, response, credentials, now)
  local said = answer.refusal(response.body) or { message = "" }
  local err = {
    kind = "service", status = response.status, code = said.code, request_id = said.request_id,
  }
  err.class = retry.class(err)
  local message = tidy(said.message, credentials)
  local skew = retry.blames_clock(said.code) and clock(response.headers, now)
  local name = ("%s %s"):format(call.service, call.action)
  if skew then
    err.class = "final"
    err.message = ("%s: %s, and AWS takes no request that is so (%s)"):format(name, skew, said.code)
  elseif err.class == "denied" then
    err.message = ("%s: %s"):format(name, denied(call, message, credentials))
  elseif err.class == "stale" then
    err.message = ("%s: AWS does not take the credentials%s: %s: %s%s"):format(name,
      credentials and " from " .. credentials.source or "", said.code, message,
      suspicion(call, said.code, credentials))
  else
    err.message = ("%s: %s %s%s"):format(name, call.url, said.code and "refused: " .. said.code
      or ("answered %d"):format(response.status), message ~= "" and ": " .. message or "")
  end
  return errors.new(err)
end

--- The error of a call that got no answer.
---@param call fleet.aws.Call
---@param err fleet.Error of host.http
---@return fleet.Error
function refusal.of_silence(call, err)
  local hint = ""
  if err.kind == "timeout" or err.kind == "connect" then
    hint = ("; from a private subnet it takes a NAT gateway, or an interface VPC endpoint for %s")
      :format(call.service)
  elseif err.kind == "dns" and call.region then
    hint = ("; is %s a region?"):format(call.region)
  end
  return errors.new({
    kind = err.kind, class = retry.class(err),
    message = ("%s %s: %s%s"):format(call.service, call.action, err.message, hint),
  })
end

return refusal
