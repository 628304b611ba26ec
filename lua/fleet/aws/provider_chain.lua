-- SPDX-License-Identifier: MIT
-- The credential providers, in the order of the AWS CLI: our own configuration, the environment,
-- the profile (with a web identity of the environment), the files of older tools, the container,
-- the instance. The first provider that is configured is used; if it fails, the error is returned
-- and the next one is not tried. May wait.

local container = require("fleet.aws.container")
local credentials = require("fleet.aws.credentials")
local errors = require("fleet.errors")
local ini = require("fleet.aws.ini")
local profile = require("fleet.aws.profile")
local time = require("fleet.aws.time")

local chain = {}

local fail = errors.formatter("credentials")

-- Each provider returns credentials, nothing when it is not configured, or nil and an error.
local providers = {}

function providers.flags(context)
  local given = context.settings.flags.credentials
  if not given then return nil end
  return credentials.new({
    key = given.key, secret = given.secret, token = given.token, source = "the configuration",
  })
end

function providers.environment(context)
  local settings = context.settings
  local key = settings:variable("AWS_ACCESS_KEY_ID")
  local secret = settings:variable("AWS_SECRET_ACCESS_KEY")
  if not key and not secret then return nil end
  if not key or not secret then
    return nil, fail("AWS_%s is set, and AWS_%s is not",
      key and "ACCESS_KEY_ID" or "SECRET_ACCESS_KEY",
      key and "SECRET_ACCESS_KEY" or "ACCESS_KEY_ID")
  end
  local expiration = settings:variable("AWS_CREDENTIAL_EXPIRATION")
  if expiration and not time.iso(expiration) then
    return nil, fail("AWS_CREDENTIAL_EXPIRATION is not a time such as 2026-11-27T03:08:34Z")
  end
  return credentials.new({
    key = key, secret = secret, expiration = expiration,
    -- the old name first, as in the AWS CLI
    token = settings:variable("AWS_SECURITY_TOKEN") or settings:variable("AWS_SESSION_TOKEN"),
    source = "the environment",
  })
end

providers.profile = profile.credentials

-- ---- the files of the first tools for AWS, which the AWS CLI still reads ----

local function keys_of_file(path, key, secret)
  if key then return credentials.new({ key = key, secret = secret, source = path }) end
end

-- Lines of AWSAccessKeyId=KEY and AWSSecretKey=SECRET.
local function credential_file(settings)
  local name = settings:variable("AWS_CREDENTIAL_FILE")
  if not name then return nil end
  local path = settings:expand(name) or name
  local text, err = settings.read(path)
  if err then return nil, err end
  if not text then
    return nil, fail("there is no file %s, which AWS_CREDENTIAL_FILE names", path)
  end
  local values = {}
  for key, value in text:gmatch("([^=\r\n]*)=([^\r\n]*)") do
    values[key:match("^%s*(.-)%s*$")] = value:match("^%s*(.-)%s*$")
  end
  return keys_of_file(path, values.AWSAccessKeyId, values.AWSSecretKey)
end

-- The configuration of boto 2, which gsutil writes too.
local function boto_file(settings, path, is_named)
  local text, err = settings.read(path)
  if not text and not err and is_named then
    settings:warn_once("there is no file %s, which BOTO_CONFIG names", path)
  end
  if not text then return nil, err end
  local sections
  sections, err = ini.sections(text, path)
  for _, section in ipairs(sections or {}) do
    if section.title == "Credentials" then
      return keys_of_file(path, section.values.aws_access_key_id,
        section.values.aws_secret_access_key)
    end
  end
  return nil, err
end

function providers.legacy(context)
  local settings = context.settings
  local found, err = credential_file(settings)
  if found or err then return found, err end
  local name = settings:variable("BOTO_CONFIG")
  for _, each in ipairs(name and { name } or { "/etc/boto.cfg", "~/.boto" }) do
    local path = settings:expand(each)
    if path then found, err = boto_file(settings, path, name ~= nil) end
    if found or err then return found, err end
  end
  return nil
end

-- ---- the machine ----

function providers.container(context)
  return container.credentials(context.settings, context.tools)
end

function providers.instance(context)
  local found, err = context.imds:role_credentials()
  return found, not found and (err or fail("the instance has no role")) or nil
end

-- ---- the chain ----

--- The providers by name.
---@type table<string, fun(context: fleet.aws.Context): fleet.aws.Credentials|nil, fleet.Error|nil>
chain.providers = providers

-- A profile that is named on the command line overrides the keys of the environment.
local function order(settings)
  if settings.flags.profile then return { "flags", "profile", "legacy", "container" } end
  return { "flags", "environment", "profile", "legacy", "container" }
end

--- The identity of the caller, as far as the configuration determines it without a request.
--- Another identity may belong to another account, whose answers differ.
---@param settings fleet.aws.Settings
---@return string
function chain.identity(settings)
  local from_environment = not settings.flags.profile
  local key = from_environment and settings:variable("AWS_ACCESS_KEY_ID")
  if key then return "key " .. key end
  local used = settings:profile()
  local values = used and used.values or {}
  if from_environment and not profile.has_role(values)
    and settings:variable("AWS_WEB_IDENTITY_TOKEN_FILE") then
    return "role " .. (settings:variable("AWS_ROLE_ARN") or values.role_arn or "")
  end
  return ("profile %s %s"):format(settings:profile_name(),
    values.role_arn or values.aws_access_key_id or "")
end

--- The credentials to use.
---@param context fleet.aws.Context
---@return fleet.aws.Credentials|nil
---@return fleet.Error|nil
function chain.find(context)
  for _, name in ipairs(order(context.settings)) do
    local found, err = providers[name](context)
    if found or err then return found, err end
  end
  local found, err = providers.instance(context)
  if found then return found end
  local name, source = context.settings:profile_name()
  return nil, fail("no AWS credentials: none in the environment (AWS_ACCESS_KEY_ID), in profile "
    .. "%s%s, from a container, or from the instance (%s)", name,
    source == "default" and "" or " (" .. source .. ")", err.message)
end

return chain
