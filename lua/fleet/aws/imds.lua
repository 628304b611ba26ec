-- SPDX-License-Identifier: MIT
-- The client of the metadata service of an EC2 instance, version 2: first it gets a token, which
-- only the instance itself can do (PUT, with a hop limit), then it reads paths. Version 1 is never
-- used. No proxy, no redirects. Everything here may wait.

local credentials = require("fleet.aws.credentials")
local errors = require("fleet.errors")
local json = require("fleet.json")
local retry = require("fleet.aws.retry")
local settings = require("fleet.aws.settings")
local singleflight = require("fleet.base.singleflight")
local time = require("fleet.aws.time")

local imds = {}

--- The tag that has the name of the fleet, of instances and of all else that belongs to one.
imds.FLEET_TAG = "moonfleet:fleet"

local ENDPOINTS = { ipv4 = "http://169.254.169.254", ipv6 = "http://[fd00:ec2::254]" }

-- Seconds; AWS_METADATA_SERVICE_TIMEOUT sets both. Outside of EC2 nothing answers at the address.
local CONNECT_TIMEOUT = 1
local TIMEOUT = 2
-- Seconds of all attempts of one request.
local TOTAL = 5
local ATTEMPTS = 3
-- Seconds: the longest lifetime that the service grants, which the SDKs request as well.
local TOKEN_TTL = 21600
-- A token is renewed this many seconds before it expires.
local TOKEN_MARGIN = 60
local MAX_TOKEN = 1024
-- The largest answer.
local MAX_BYTES = 64 * 1024
-- Seconds of the first pause, at most; the service is only microseconds away.
local BACKOFF = 0.2
-- Seconds; no attempt is begun when less time is left.
local MIN_ATTEMPT = 0.1

--- @class fleet.aws.Imds
--- @field settings fleet.aws.Settings
--- @field tools fleet.aws.Tools
--- @field token {text: string, expires: number}|nil
local Imds = {}
Imds.__index = Imds

---@param options {settings: fleet.aws.Settings, tools: fleet.aws.Tools}
---@return fleet.aws.Imds
function imds.new(options)
  local self = setmetatable({
    settings = options.settings, tools = options.tools, known = {},
  }, Imds)
  self.token_fetch = singleflight.new(function() return self:fetch_token() end)
  return self
end

-- ---- configuration ----

--- The URL of the service; nil and an error when it is switched off, or the variables are wrong.
---@return string|nil
---@return fleet.Error|nil
function Imds:base()
  local set = self.settings
  local off, _, err = set:flag("AWS_EC2_METADATA_DISABLED")
  if err then return nil, err end
  if off then
    return nil, errors.format("refused", "the instance metadata service is switched off here "
      .. "(AWS_EC2_METADATA_DISABLED)")
  end
  -- checked, but without effect: version 1 is never used
  _, _, err = set:flag("AWS_EC2_METADATA_V1_DISABLED")
  if err then return nil, err end
  local url, source
  url, source, err = set:value(nil, { "AWS_EC2_METADATA_SERVICE_ENDPOINT" },
    "ec2_metadata_service_endpoint")
  if err then return nil, err end
  if url then
    if (url .. "/"):find("^https?://[%w.:%[%]-]+/[^?#%s]*$") then return (url:gsub("/+$", "")) end
    return nil, errors.format("config", "AWS_EC2_METADATA_SERVICE_ENDPOINT (%s) is not a URL: %s",
      source, url)
  end
  local mode
  mode, source, err = set:value(nil, { "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE" },
    "ec2_metadata_service_endpoint_mode")
  if err then return nil, err end
  if not mode then
    local ipv6
    ipv6, _, err = set:flag("AWS_IMDS_USE_IPV6", "imds_use_ipv6")
    if err then return nil, err end
    mode = ipv6 and "ipv6" or "ipv4"
  end
  local base = ENDPOINTS[mode:lower()]
  if base then return base end
  return nil, errors.format("config", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE (%s) must be IPv4 or "
    .. "IPv6, not '%s'", source, mode)
end

-- The fleet.aws.Limits of a request; nil and an error.
function Imds:limits()
  local seconds, attempts, err
  seconds, err = self.settings:count("AWS_METADATA_SERVICE_TIMEOUT", "metadata_service_timeout", 0)
  if not seconds then return nil, err end
  attempts, err = self.settings:count("AWS_METADATA_SERVICE_NUM_ATTEMPTS",
    "metadata_service_num_attempts", ATTEMPTS)
  if not attempts then return nil, err end
  if seconds > 0 then
    return { connect = seconds, attempt = seconds, attempts = attempts,
      total = math.max(TOTAL, seconds * attempts) }
  end
  return { connect = CONNECT_TIMEOUT, attempt = TIMEOUT, total = TOTAL, attempts = attempts }
end

-- ---- requests ----

--- @class fleet.aws.Limits
--- @field connect number seconds to connect
--- @field attempt number seconds of one attempt
--- @field total number seconds of all attempts
--- @field attempts integer

--- Makes a request to a metadata service, of the instance or of the container: it is near and
--- answers briefly. Repeats the request until it does not fail for a transient reason, or a limit
--- is reached.
---@param tools fleet.aws.Tools
---@param url string
---@param options table `method`, `headers`
---@param limits fleet.aws.Limits
---@return fleet.HttpResponse|nil of any status
---@return fleet.Error|nil
function imds.request(tools, url, options, limits)
  local deadline = tools.now() + limits.total
  local response, err
  for attempt = 1, limits.attempts do
    local left = deadline - tools.now()
    response, err = tools.request(url, "buffer", {
      method = options.method, headers = options.headers, metadata = true, compressed = false,
      max_bytes = MAX_BYTES, max_redirects = 0,
      connect_timeout = math.max(MIN_ATTEMPT, math.min(limits.connect, left)),
      timeout = math.max(MIN_ATTEMPT, math.min(limits.attempt, left)),
    })
    local is_transient
    if response then
      is_transient = response.status == 429 or response.status >= 500
    else
      is_transient = retry.class(err) == "lost"
    end
    if not is_transient then break end
    local pause = retry.backoff(attempt, tools.random(), BACKOFF)
    if attempt == limits.attempts or tools.now() + pause + MIN_ATTEMPT >= deadline then break end
    tools.sleep(pause)
  end
  return response, err
end

local HINT = "; not on EC2, switched off, or, in a container, the instance's hop limit is too low "
  .. "(aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2)"

function Imds:request(base, path, options)
  local limits, err = self:limits()
  if not limits then return nil, err end
  local response
  response, err = imds.request(self.tools, base .. path, options, limits)
  if not response and (err.kind == "timeout" or err.kind == "connect") then
    return nil, errors.format(err.kind, "no answer from the instance metadata service at %s (%s)%s",
      base, err.message, HINT)
  end
  return response, err
end

local function refused(status, path)
  local reason = ({
    [400] = "it rejects the request",
    [401] = "it rejects the token that it gave",
    [403] = "it is switched off for this instance (--http-endpoint disabled)",
    [404] = "there is none",
  })[status] or (status == 429 or status >= 500) and "it is overloaded or failing"
    or "an unexpected answer"
  local err = errors.format("service", "the instance metadata service answered %d for %s: %s",
    status, path, reason)
  err.status = status
  return nil, err
end

local function invalid(what)
  return nil, errors.format("protocol", "the instance metadata service gave no valid %s", what)
end

function Imds:fetch_token()
  local base, err = self:base()
  if not base then return nil, err end
  local response
  response, err = self:request(base, "/latest/api/token", {
    method = "PUT", headers = { ["x-aws-ec2-metadata-token-ttl-seconds"] = TOKEN_TTL },
  })
  if not response then return nil, err end
  if response.status == 404 or response.status == 405 then
    return nil, errors.format("service", "the metadata service at %s does not support version 2, "
      .. "and version 1 is never used", base)
  end
  if response.status ~= 200 then return refused(response.status, "/latest/api/token") end
  local text = response.body
  if #text > MAX_TOKEN or not text:find("^[!-~]+$") then
    return nil, errors.format("protocol",
      "the instance metadata service at %s gave no token but %d other bytes", base, #text)
  end
  local ttl = math.tointeger(tonumber(response.headers["x-aws-ec2-metadata-token-ttl-seconds"]))
  self.token = { text = text, expires = self.tools.now() + (ttl or TOKEN_TTL) - TOKEN_MARGIN }
  return self.token
end

-- A token other than `rejected`, which the service did not accept.
function Imds:current_token(rejected)
  local token = self.token
  if token and token ~= rejected and self.tools.now() < token.expires then return token end
  return self.token_fetch:run()
end

--- Reads a path below /latest, such as "meta-data/instance-id". Any status but 200 is an error that
--- has it as `status`; 404: there is no such path.
---@param path string
---@return string|nil body
---@return fleet.Error|nil
function Imds:get(path)
  local base, err = self:base()
  if not base then return nil, err end
  local rejected
  for _ = 1, 2 do
    local token, response
    token, err = self:current_token(rejected)
    if not token then return nil, err end
    response, err = self:request(base, "/latest/" .. path, {
      headers = { ["x-aws-ec2-metadata-token"] = token.text },
    })
    if not response then return nil, err end
    if response.status == 200 then return response.body end
    if response.status ~= 401 then return refused(response.status, path) end
    rejected = token
  end
  return refused(401, path)
end

-- ---- paths ----

-- The body of a path; nil when there is no such path; nil and an error.
function Imds:optional(path)
  local body, err = self:get(path)
  if not body and err.status == 404 then return nil end
  return body, err
end

-- A short word that never changes and is read once.
function Imds:constant(path, is_valid)
  if self.known[path] then return self.known[path] end
  local body, err = self:get(path)
  if not body then return nil, err end
  if not is_valid(body) then return invalid(path) end
  self.known[path] = body
  return body
end

--- The instance's region.
---@return string|nil
---@return fleet.Error|nil
function Imds:region()
  return self:constant("meta-data/placement/region", settings.is_label)
end

--- The instance's availability zone.
---@return string|nil
---@return fleet.Error|nil
function Imds:zone()
  return self:constant("meta-data/placement/availability-zone", settings.is_label)
end

--- The instance's id.
---@return string|nil
---@return fleet.Error|nil
function Imds:instance_id()
  return self:constant("meta-data/instance-id", function(id)
    return #id <= 100 and id:find("^i%-%x+$")
  end)
end

--- A tag of the instance; nil without an error when it has no such tag, or its tags are not in the
--- metadata (InstanceMetadataTags, off by default).
---@param key string
---@return string|nil
---@return fleet.Error|nil
function Imds:tag(key)
  local name = key:gsub("[^%w._~-]", function(c) return ("%%%02X"):format(c:byte()) end)
  return self:optional("meta-data/tags/instance/" .. name)
end

-- The JSON object of a path; nil when there is no such path; nil and an error.
function Imds:object(path, what)
  local body, err = self:optional(path)
  if not body then return nil, err end
  local value = json.decode(body)
  if type(value) ~= "table" then
    return invalid(what)
  end
  return value
end

--- The credentials of the instance's role; nil without an error when it has none.
---@return fleet.aws.Credentials|nil
---@return fleet.Error|nil
function Imds:role_credentials()
  local folder = "meta-data/iam/security-credentials/"
  local list, err = self:optional(folder)
  if not list then return nil, err end
  local role = list:match("^%s*([%w+=,.@_-]+)")
  if not role then return nil end
  local reply
  reply, err = self:object(folder .. role, "credentials")
  if not reply then return nil, err end
  if type(reply.Code) == "string" and reply.Code ~= "Success" then
    return nil, errors.format("credentials",
      "the instance metadata service has no credentials for role %s: %s", role,
      reply.Code:sub(1, 100):gsub("%c", "?"))
  end
  return credentials.new({
    key = reply.AccessKeyId, secret = reply.SecretAccessKey, token = reply.Token,
    expiration = reply.Expiration or "", -- without one is not valid
    lasting = true, source = ("the instance, role %s"):format(role),
  })
end

--- The notice that this Spot instance is to be interrupted, or nil.
---@return {action: string, time: integer|nil}|nil
---@return fleet.Error|nil
function Imds:spot_action()
  local fields, err = self:object("meta-data/spot/instance-action", "instance-action")
  if not fields then return nil, err end
  if type(fields.action) ~= "string" then
    return invalid("instance-action")
  end
  return { action = fields.action, time = time.iso(fields.time) }
end

--- The recommendation to replace this Spot instance, or nil.
---@return {time: integer|nil}|nil
---@return fleet.Error|nil
function Imds:rebalance()
  local fields, err = self:object("meta-data/events/recommendations/rebalance", "recommendation")
  if not fields then return nil, err end
  return { time = time.iso(fields.noticeTime) }
end

--- The target state of the instance in its Auto Scaling group ("InService", "Terminated", ...), nil
--- when it is in none.
---@return string|nil
---@return fleet.Error|nil
function Imds:lifecycle_state()
  local state, err = self:optional("meta-data/autoscaling/target-lifecycle-state")
  if not state then return nil, err end
  state = state:match("^%s*([%w:]+)%s*$")
  if not state or #state > 100 then
    return invalid("lifecycle state")
  end
  return state
end

return imds
