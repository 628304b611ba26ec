-- SPDX-License-Identifier: MIT
-- Credentials of the container, from the endpoint that ECS and EKS name in the environment.

local credentials = require("fleet.aws.credentials")
local errors = require("fleet.errors")
local imds = require("fleet.aws.imds")
local json = require("fleet.json")

local container = {}

local fail = errors.formatter("credentials")

local ECS = "http://169.254.170.2"
local LIMITS = { connect = 1, attempt = 2, total = 5, attempts = 3 }

-- Without TLS only the machine itself and the addresses that EC2 answers on.
local PLAIN_HOSTS = {
  ["localhost"] = true, ["[::1]"] = true, ["169.254.170.2"] = true, ["169.254.170.23"] = true,
  ["[fd00:ec2::23]"] = true,
}

local function is_allowed(url)
  local scheme, host, rest = url:match("^(%a+)://([%w.:%[%]-]+)(.*)$")
  if not scheme or not (rest == "" or rest:find("^[/?]")) then return false end -- no user@
  scheme = scheme:lower()
  if scheme == "https" then return true end
  host = host:lower():gsub(":%d+$", "")
  return scheme == "http" and (PLAIN_HOSTS[host] or host:find("^127%.%d+%.%d+%.%d+$") ~= nil)
end

local RELATIVE = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
local FULL = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
local TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN"

-- The URL of the endpoint, and its name for errors without path and query: these are secret, as
-- they may be all that is needed to get the credentials. Nothing when no endpoint is configured;
-- nil and an error when it is not allowed.
local function url_of(settings)
  local path = settings:variable(RELATIVE)
  if path then
    if path:find("^/[!-~]*$") then return ECS .. path, ("%s (%s)"):format(ECS, RELATIVE) end
    return nil, errors.format("config", "%s must begin with /", RELATIVE)
  end
  local url = settings:variable(FULL)
  if not url then return nil end
  if url:find("^[!-~]+$") and is_allowed(url) then
    return url, ("%s (%s)"):format(url:match("^%a+://[^/?]*"), FULL)
  end
  return nil, errors.format("config", "%s must be an https URL, or an http URL of this machine, "
    .. "169.254.170.2, 169.254.170.23 or [fd00:ec2::23]", FULL)
end

-- The token to authenticate with, nil when none is configured; nil and an error.
local function authorization(settings)
  local path, token = settings:variable(TOKEN .. "_FILE"), settings:variable(TOKEN)
  if path then
    local err
    token, err = settings.read(path)
    if not token then
      return nil, fail("cannot read the container's token: %s",
        err and err.message or path .. ": there is no such file")
    end
    token = token:match("^[^\r\n]*")
  end
  if token and not token:find("^[ -~]+$") then
    return nil, fail("the container's token (%s) is not printable", path or TOKEN)
  end
  return token
end

--- The container's credentials; nothing when none are configured. May wait.
---@param settings fleet.aws.Settings
---@param tools fleet.aws.Tools
---@return fleet.aws.Credentials|nil
---@return fleet.Error|nil
function container.credentials(settings, tools)
  local url, shown = url_of(settings)
  if not url then return nil, shown end
  local token, err = authorization(settings)
  if err then return nil, err end
  local response
  response, err = imds.request(tools, url, { headers = { authorization = token } }, LIMITS)
  if not response or response.status ~= 200 then
    return nil, fail("the container's credentials: %s%s", shown, response
      and (" answered %d"):format(response.status) or ": " .. (errors.kinds[err.kind] or err.kind))
  end
  local reply = json.decode(response.body)
  if type(reply) ~= "table" then
    return nil, fail("the container's credentials: the answer is not a JSON object")
  end
  return credentials.new({
    key = reply.AccessKeyId, secret = reply.SecretAccessKey, token = reply.Token,
    expiration = reply.Expiration, source = "the container",
  })
end

return container
