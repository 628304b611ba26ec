-- SPDX-License-Identifier: MIT
-- Credentials of the container: the endpoint that ECS and EKS name in the environment.

local errors = require("fleet.errors")
local json = require("fleet.json")
local metadata = require("fleet.aws.metadata")
local secret = require("fleet.aws.credential")
local time = require("fleet.aws.time")

local container = {}

local fail = errors.formatter("credentials")

local ECS = "http://169.254.170.2"
local LIMITS = { connect = 1, whole = 2, total = 5, attempts = 3 }

-- Without TLS only hosts that are the machine itself, or that EC2 answers for.
local PLAIN_HOSTS = {
  ["localhost"] = true, ["[::1]"] = true, ["169.254.170.2"] = true, ["169.254.170.23"] = true,
  ["[fd00:ec2::23]"] = true,
}

local function allowed(url)
  local scheme, host, rest = url:match("^(%a+)://([%w.:%[%]-]+)(.*)$")
  if not scheme or not (rest == "" or rest:find("^[/?]")) then return false end -- no user@
  scheme = scheme:lower()
  if scheme == "https" then return true end
  host = host:lower():gsub(":%d+$", "")
  return scheme == "http" and (PLAIN_HOSTS[host] or host:find("^127%.%d+%.%d+%.%d+$") ~= nil)
end

local RELATIVE = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
local FULL = "AWS_CONTAINER_CREDENTIALS_FULL_URI"

-- The URL to ask, and how errors call it: paths and queries are secret, they may be all that it
-- takes to get the credentials. Nothing when none is configured, nil and an error when it is not
-- allowed.
local function url_of(settings)
  local path = settings:variable(RELATIVE)
  if path then
    if path:find("^/[!-~]*$") then return ECS .. path, ("%s (%s)"):format(ECS, RELATIVE) end
    return nil, errors.format("config", "%s must begin with /", RELATIVE)
  end
  local url = settings:variable(FULL)
  if not url then return nil end
  if url:find("^[!-~]+$") and allowed(url) then
    return url, ("%s (%s)"):format(url:match("^%a+://[^/?]*"), FULL)
  end
  return nil, errors.format("config", "%s must be an https URL, or an http URL of this machine, "
    .. "169.254.170.2, 169.254.170.23 or [fd00:ec2::23]", FULL)
end

local function authorization(settings)
  local path = settings:variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
  local token = settings:variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")
  local source = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
  if path then
    local err
    source = path
    token, err = settings.read(path)
    if not token then
      return nil, fail("cannot read the container's token: %s",
        err and err.message or path .. ": there is no such file")
    end
    token = token:match("^[^\r\n]*")
  end
  if token and not token:find("^[ -~]+$") then
    return nil, fail("the container's token (%s) is not printable", source)
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
  local answer
  answer, err = metadata.ask(tools, url, { headers = { authorization = token } }, LIMITS)
  if not answer then
    return nil, fail("the container's credentials: %s: %s", shown,
      errors.kinds[err.kind] or err.kind)
  elseif answer.status ~= 200 then
    return nil, fail("the container's credentials: %s answered %d", shown, answer.status)
  end
  local said = json.decode(answer.body)
  if type(said) ~= "table" then
    return nil, fail("the container's credentials: no JSON object came")
  end
  local expires = time.iso(said.Expiration)
  if said.Expiration ~= nil and not expires then
    return nil, fail("the container's credentials have no valid Expiration")
  end
  return secret.new({
    key = said.AccessKeyId, secret = said.SecretAccessKey, token = said.Token,
    expires = expires, source = "the container",
  })
end

return container
