-- SPDX-License-Identifier: MIT
-- The metadata service of an EC2 instance, version 2: a token first, which only the instance
-- itself can get (PUT, and no more hops than allowed), then paths. Version 1 is never used.
-- No proxy, no redirects. Everything here may wait.

local errors = require("fleet.errors")
local flight = require("fleet.base.singleflight")
local json = require("fleet.json")
local metadata = require("fleet.aws.metadata")
local settings = require("fleet.aws.settings")
local time = require("fleet.aws.time")

local imds = {}

local ENDPOINTS = { ipv4 = "http://169.254.169.254", ipv6 = "http://[fd00:ec2::254]" }

-- Seconds; AWS_METADATA_SERVICE_TIMEOUT is for both. An address that nobody has answers nothing.
local CONNECT_TIMEOUT = 1
local TIMEOUT = 2
-- All attempts of one question together.
local TOTAL = 5
local ATTEMPTS = 3
-- The longest that the service grants, and what the SDKs ask for.
local TOKEN_TTL = 21600
-- A token is renewed a little before its end.
local TOKEN_SPARE = 60
local MAX_TOKEN = 1024

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
  self.token_flight = flight.new(function() return self:fetch_token() end)
  return self
end

-- ---- configuration ----

--- Where the service is; nil and an error when it is switched off, or the variables are wrong.
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
  -- Version 1 is never used: accepted and of no effect.
  _, _, err = set:flag("AWS_EC2_METADATA_V1_DISABLED")
  if err then return nil, err end
  local url, source
  url, source, err = set:value(nil, { "AWS_EC2_METADATA_SERVICE_ENDPOINT" },
    "ec2_metadata_service_endpoint")
  if err then return nil, err end
  if url then
    if (url .. "/"):find("^https?://[%w.:%[%]-]+/[^?#%s]*$") then return (url:gsub("/+$", "")) end
    return nil, errors.format("config", "AWS_EC2_METADATA_SERVICE_ENDPOINT (%s) is no URL: %s",
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

-- As metadata.ask takes them; nil and an error.
function Imds:limits()
  local seconds, attempts, err
  seconds, err = self.settings:count("AWS_METADATA_SERVICE_TIMEOUT", "metadata_service_timeout", 0)
  if not seconds then return nil, err end
  attempts, err = self.settings:count("AWS_METADATA_SERVICE_NUM_ATTEMPTS",
    "metadata_service_num_attempts", ATTEMPTS)
  if not attempts then return nil, err end
  if seconds > 0 then
    return { connect = seconds, whole = seconds, attempts = attempts,
      total = math.max(TOTAL, seconds * attempts) }
  end
  return { connect = CONNECT_TIMEOUT, whole = TIMEOUT, attempts = attempts, total = TOTAL }
end

-- ---- requests ----

local HINT = "; not on EC2, switched off, or, in a container, the instance's hop limit is too low "
  .. "(aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2)"

-- What cannot be reached at all is explained.
local function explain(err, base)
  if err.kind ~= "timeout" and err.kind ~= "connect" then return err end
  return errors.format(err.kind, "no answer from the instance metadata service at %s (%s)%s", base,
    err.message, HINT)
end

function Imds:ask(base, path, options)
  local limits, err = self:limits()
  if not limits then return nil, err end
  local answer
  answer, err = metadata.ask(self.tools, base .. path, options, limits)
  if not answer then return nil, explain(err, base) end
  return answer
end

local function refused(status, path)
  local why = ({
    [400] = "it does not take the question",
    [401] = "it does not take the token that it gave",
    [403] = "it is switched off for this instance (--http-endpoint disabled)",
    [404] = "there is none",
  })[status] or (status == 429 or status >= 500) and "it is in trouble"
    or "an answer that it never gives"
  local err = errors.format("service", "the instance metadata service answered %d for %s: %s",
    status, path, why)
  err.status = status
  return nil, err
end

local function invalid(what)
  return nil, errors.format("protocol", "the instance metadata service gave no valid %s", what)
end

function Imds:fetch_token()
  local base, err = self:base()
  if not base then return nil, err end
  local answer
  answer, err = self:ask(base, "/latest/api/token", {
    method = "PUT", headers = { ["x-aws-ec2-metadata-token-ttl-seconds"] = TOKEN_TTL },
  })
  if not answer then return nil, err end
  if answer.status == 404 or answer.status == 405 then
    return nil, errors.format("service", "the metadata service at %s knows no version 2, and "
      .. "version 1 is never used", base)
  end
  if answer.status ~= 200 then return refused(answer.status, "/latest/api/token") end
  local text = answer.body
  if #text > MAX_TOKEN or not text:find("^[!-~]+$") then
    return nil, errors.format("protocol",
      "the instance metadata service at %s gave no token but %d other bytes", base, #text)
  end
  local ttl = math.tointeger(tonumber(answer.headers["x-aws-ec2-metadata-token-ttl-seconds"]))
  self.token = { text = text, expires = self.tools.now() + (ttl or TOKEN_TTL) - TOKEN_SPARE }
  return self.token
end

-- A token that is not `worn`, which the service did not take.
function Imds:current_token(worn)
  local token = self.token
  if token and token ~= worn and self.tools.now() < token.expires then return token end
  return self.token_flight:run()
end

--- Reads a path below /latest, such as "meta-data/instance-id". Absent is an error with status
--- 404 in it, as any other status has it.
---@param path string
---@return string|nil body
---@return fleet.Error|nil
function Imds:get(path)
  local base, err = self:base()
  if not base then return nil, err end
  local worn
  for _ = 1, 2 do
    local token, answer
    token, err = self:current_token(worn)
    if not token then return nil, err end
    answer, err = self:ask(base, "/latest/" .. path, {
      headers = { ["x-aws-ec2-metadata-token"] = token.text },
    })
    if not answer then return nil, err end
    if answer.status == 200 then return answer.body end
    if answer.status ~= 401 then return refused(answer.status, path) end
    worn = token
  end
  return refused(401, path)
end

-- ---- what is asked ----

-- The body of a path, nil when it is absent, nil and an error otherwise.
function Imds:optional(path)
  local body, err = self:get(path)
  if not body and err.status == 404 then return nil end
  return body, err
end

-- A short word that never changes, read once.
function Imds:constant(path, pattern)
  if self.known[path] then return self.known[path] end
  local body, err = self:get(path)
  if not body then return nil, err end
  if #body > 100 or not body:find(pattern) then
    return invalid(path)
  end
  self.known[path] = body
  return body
end

--- The instance's region.
---@return string|nil
---@return fleet.Error|nil
function Imds:region()
  local region, err = self:constant("meta-data/placement/region", "^%l[%l%d-]+$")
  if region and not settings.is_label(region) then
    return invalid("region")
  end
  return region, err
end

--- The instance's availability zone.
---@return string|nil
---@return fleet.Error|nil
function Imds:zone()
  return self:constant("meta-data/placement/availability-zone", "^%l[%l%d-]+$")
end

--- The instance's id.
---@return string|nil
---@return fleet.Error|nil
function Imds:instance_id()
  return self:constant("meta-data/instance-id", "^i%-%x+$")
end

--- A tag of the instance; nil without an error when it has none of that name, or does not show
--- its tags (InstanceMetadataTags, off by default).
---@param key string
---@return string|nil
---@return fleet.Error|nil
function Imds:tag(key)
  local name = key:gsub("[^%w._~-]", function(c) return ("%%%02X"):format(c:byte()) end)
  return self:optional("meta-data/tags/instance/" .. name)
end

-- An object in JSON at a path that may be absent.
function Imds:object(path, what)
  local body, err = self:optional(path)
  if not body then return nil, err end
  local value = json.decode(body)
  if type(value) ~= "table" then
    return invalid(what)
  end
  return value
end

--- @class fleet.aws.RoleCredentials as the metadata service has them, not yet checked
--- @field role string
--- @field key any
--- @field secret any
--- @field token any
--- @field expires integer

--- The credentials of the instance's role; nil without an error when it has none.
---@return fleet.aws.RoleCredentials|nil
---@return fleet.Error|nil
function Imds:role_credentials()
  local folder = "meta-data/iam/security-credentials/"
  local list, err = self:optional(folder)
  if not list then return nil, err end
  local role = list:match("^%s*([%w+=,.@_-]+)")
  if not role then return nil end
  local fields
  fields, err = self:object(folder .. role, "credentials")
  if not fields then return nil, err end
  if type(fields.Code) == "string" and fields.Code ~= "Success" then
    return nil, errors.format("credentials",
      "the instance metadata service has no credentials for role %s: %s", role,
      fields.Code:sub(1, 100):gsub("%c", "?"))
  end
  local expires = time.iso(fields.Expiration)
  if not expires then
    return nil, errors.format("credentials", "the credentials of role %s have no valid Expiration",
      role)
  end
  return {
    role = role, key = fields.AccessKeyId, secret = fields.SecretAccessKey, token = fields.Token,
    expires = expires,
  }
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

--- What the Auto Scaling group wants of the instance ("InService", "Terminated", ...), nil when
--- it is in none.
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
