-- SPDX-License-Identifier: MIT
-- What went wrong with a call to AWS, in a sentence that says what to do. Pure.

local answer = require("fleet.aws.answer")
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
  return ("%s lacks %s: allow it in its policy%s"):format(principal, action,
    message ~= "" and " (" .. message .. ")" or "")
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
    err.message = ("%s: AWS does not take the credentials%s: %s: %s"):format(name,
      credentials and " from " .. credentials.source or "", said.code, message)
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
