-- SPDX-License-Identifier: MIT
-- Signed calls of AWS's services by POST, with retries as in the standard mode of the SDKs. What a
-- request and an error look like is up to the protocol: fleet.aws.query, fleet.aws.json_rpc. May
-- wait.

local endpoint = require("fleet.aws.endpoint")
local errors = require("fleet.errors")
local retry = require("fleet.aws.retry")
local service_error = require("fleet.aws.service_error")
local time = require("fleet.aws.time")

local caller = {}

-- Seconds of one attempt.
local CONNECT_TIMEOUT = 5
local TIMEOUT = 30
-- The largest answer.
local MAX_BYTES = 32 * 1024 * 1024
-- Seconds: a service may ask for a longer pause than ours, up to this.
local MAX_RETRY_AFTER = 20

--- @class fleet.aws.Caller
--- @field settings fleet.aws.Settings
--- @field tools fleet.aws.Tools
--- @field credentials fleet.aws.CredentialSource
local Caller = {}
Caller.__index = Caller

--- @class fleet.aws.CredentialSource
--- @field get fun(self): fleet.aws.Credentials|nil, fleet.Error|nil
--- @field refresh fun(self, rejected: fleet.aws.Credentials|nil): fleet.aws.Credentials|nil,
---   fleet.Error|nil others than `rejected`, which the service did not accept

---@param options {settings: fleet.aws.Settings, tools: fleet.aws.Tools,
---  credentials: fleet.aws.CredentialSource|nil}
---@return fleet.aws.Caller
function caller.new(options)
  return setmetatable({
    settings = options.settings, tools = options.tools, credentials = options.credentials,
    quota = retry.quota(),
  }, Caller)
end

-- Makes all that is the same in every attempt.
function Caller:prepare(request, options)
  local url, _, err = endpoint.find(self.settings, request.service)
  if not url then return nil, err end
  local bundle, source = self.settings:value(nil, { "AWS_CA_BUNDLE" }, "ca_bundle")
  if bundle then -- which the AWS CLI obeys
    self.settings:warn_once("%s names certificates in %s, which has no effect here: add them to "
      .. "those of the system", source, bundle)
  end
  local call = setmetatable({ url = url, credentials = options.credentials }, { __index = request })
  if call.credentials == nil then call.credentials = self.credentials end
  if call.credentials then
    call.region, _, err = self.settings:region()
    if not call.region then return nil, err end
  end
  call.timeout, call.max_bytes = options.timeout or TIMEOUT, options.max_bytes or MAX_BYTES
  return call
end

-- Makes one attempt. Returns the body, or nil and an error with the `class` of retry.class, then
-- the credentials that were used, and the pause that the service asks for in seconds.
function Caller:attempt(call)
  local headers = {}
  for name, value in pairs(call.headers) do headers[name] = value end
  local sign, credentials, err
  if call.credentials then
    credentials, err = call.credentials:get()
    if not credentials then return nil, err end
    headers["x-amz-security-token"] = credentials.token
    sign = {
      service = call.service, region = call.region, key = credentials.key,
      secret = credentials.secret,
    }
  end
  local response
  response, err = self.tools.request(call.url, "buffer", {
    method = "POST", headers = headers, body = call.body, sign = sign, proxy = "environment",
    connect_timeout = CONNECT_TIMEOUT, timeout = call.timeout, max_bytes = call.max_bytes,
    max_redirects = 0, secret = call.secret,
  })
  if not response then return nil, service_error.of_failure(call, err), credentials end
  if response.status == 200 then return response.body end
  err = service_error.of_answer(call, response, credentials, self.tools.now())
  local after = tonumber(response.headers["retry-after"])
    or (time.http(response.headers["retry-after"]) or 0) - self.tools.now()
  return nil, err, credentials, math.max(0, math.min(MAX_RETRY_AFTER, after))
end

-- The configured number of attempts. The retry modes do not differ in anything that is done here.
function Caller:attempts()
  local mode, source, err = self.settings:value(nil, { "AWS_RETRY_MODE" }, "retry_mode")
  if err then return nil, err end
  if mode and mode ~= "standard" and mode ~= "adaptive" and mode ~= "legacy" then
    return nil, errors.format("config",
      "AWS_RETRY_MODE (%s) must be standard, adaptive or legacy, not '%s'", source, mode)
  end
  return self.settings:count("AWS_MAX_ATTEMPTS", "max_attempts", retry.ATTEMPTS)
end

local RETRIED = { throttled = true, transient = true, lost = true }

-- ---- the call ----

local function give_up(err, attempt)
  if attempt > 1 then err.message = ("%s (tried %d times)"):format(err.message, attempt) end
  return nil, err
end

--- @class fleet.aws.Request
--- @field service string "ec2", "sts", "autoscaling" or "ssm"
--- @field action string "DescribeInstances"
--- @field headers table<string, string>
--- @field body string
--- @field read_error fun(response: fleet.HttpResponse): {code: string|nil, message: string|nil,
---   id: string|nil} of an answer whose status is not 200
--- @field role? string ARN of the role that is to be assumed
--- @field resource? string what the action is about: for policies, in errors
--- @field secret? boolean the body of a good answer is a host.secret

--- @class fleet.aws.CallOptions
--- @field credentials? fleet.aws.CredentialSource|false default: the caller's; false: do not sign
--- @field timeout? number seconds of one attempt; default: 30
--- @field max_bytes? integer the largest answer; default: 32 MiB

--- Calls an action and returns the body of its answer. An error from the service has `status`,
--- `code` and `request_id`.
---@param request fleet.aws.Request
---@param options fleet.aws.CallOptions|nil
---@return string|host.Secret|nil
---@return fleet.Error|nil
function Caller:call(request, options)
  local call, err = self:prepare(request, options or {})
  if not call then return nil, err end
  local attempts
  attempts, err = self:attempts()
  if not attempts then return nil, err end
  local attempt, refreshed, taken = 1, false, nil
  while true do
    local started = self.tools.now()
    local body, used, after
    body, err, used, after = self:attempt(call)
    self.tools.log.debug("aws call", {
      service = call.service, action = call.action, attempt = attempt,
      seconds = math.floor((self.tools.now() - started) * 1000 + 0.5) / 1000,
      error = err and (err.code or err.kind) or nil,
    })
    if body then
      self.quota:give(taken)
      return body
    end
    if err.class == "stale" and used and not refreshed then
      refreshed = true
      local fresh = call.credentials:refresh(used)
      if not fresh then return nil, err end
    elseif RETRIED[err.class] and attempt < attempts then
      taken = self.quota:take(err.class)
      if not taken then return give_up(err, attempt) end
      self.tools.sleep(math.max(after or 0, retry.backoff(attempt, self.tools.random())))
      attempt = attempt + 1
    else
      return give_up(err, attempt)
    end
  end
end

return caller
