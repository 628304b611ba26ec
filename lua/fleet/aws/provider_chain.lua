-- SPDX-License-Identifier: MIT
-- Where credentials are looked for, in the order of the AWS CLI: what is said here, the
-- environment, the profile (with a web identity of the environment), the files of older tools, the
-- container, the instance. The first place that has them counts; a place that should have them and
-- does not is an error, and the next is not asked. May wait.

local container = require("fleet.aws.container")
local errors = require("fleet.errors")
local legacy = require("fleet.aws.legacy")
local profile = require("fleet.aws.profile")
local secret = require("fleet.aws.credential")
local time = require("fleet.aws.time")

local chain = {}

-- Each step returns credentials; or nothing when it is not configured, and then perhaps a note
-- as third value; or nil and an error.
local steps = {}

local fail = errors.formatter("credentials")

function steps.said(context)
  local said = context.settings.flags.credentials
  if not said then return nil end
  return secret.new({
    key = said.key, secret = said.secret, token = said.token, source = "the configuration",
  })
end

function steps.environment(context)
  local set = context.settings
  local key, secret_key = set:variable("AWS_ACCESS_KEY_ID"), set:variable("AWS_SECRET_ACCESS_KEY")
  if not key and not secret_key then return nil end
  if not key or not secret_key then
    return nil, fail("AWS_%s is set, and AWS_%s is not",
      key and "ACCESS_KEY_ID" or "SECRET_ACCESS_KEY",
      key and "SECRET_ACCESS_KEY" or "ACCESS_KEY_ID")
  end
  local ends = set:variable("AWS_CREDENTIAL_EXPIRATION")
  local expires = time.iso(ends)
  if ends and not expires then
    return nil, fail("AWS_CREDENTIAL_EXPIRATION is no time such as 2026-11-27T03:08:34Z")
  end
  return secret.new({
    key = key, secret = secret_key, expires = expires,
    -- the old name first, as the AWS CLI has it
    token = set:variable("AWS_SECURITY_TOKEN") or set:variable("AWS_SESSION_TOKEN"),
    source = "the environment",
  })
end

function steps.profile(context) return profile.credentials(context) end

function steps.legacy(context) return legacy.credentials(context.settings) end

function steps.container(context) return container.credentials(context.settings, context.tools) end

function steps.instance(context)
  local fields, err = context.imds:role_credentials()
  if not fields then
    if err then return nil, err end
    return nil, fail("the instance has no role")
  end
  return secret.new({
    key = fields.key, secret = fields.secret, token = fields.token, expires = fields.expires,
    lasting = true, source = ("the instance, role %s"):format(fields.role),
  })
end

chain.steps = steps

-- Whose profile is named on the command line means that, whatever is in the environment.
local function order(settings)
  if settings.flags.profile then return { "said", "profile", "legacy", "container" } end
  return { "said", "environment", "profile", "legacy", "container" }
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
    local credentials, err = steps[name](context)
    if credentials or err then return credentials, err end
  end
  local credentials, err = steps.instance(context)
  if credentials then return credentials end
  local name, source = context.settings:profile_name()
  return nil, fail("no AWS credentials: none in the environment (AWS_ACCESS_KEY_ID), in profile "
    .. "%s%s, from a container, or from the instance (%s)", name,
    source == "default" and "" or " (" .. source .. ")", err.message)
end

return chain
