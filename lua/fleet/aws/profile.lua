-- SPDX-License-Identifier: MIT
-- Credentials of a profile of the shared files: a role to assume, keys, or a program that prints
-- them. What is not supported is an error that says what to do instead. May wait.

local errors = require("fleet.errors")
local process = require("fleet.aws.process")
local secret = require("fleet.aws.secret")
local sts = require("fleet.aws.sts")

local profile = {}

-- Of profiles that name each other as source.
local MAX_DEPTH = 10

local function fail(message, ...)
  return nil, errors.new({ kind = "credentials", message = message:format(...) })
end

local function text(p, key)
  local value = p.values[key]
  return type(value) == "string" and value ~= "" and value or nil
end

local function static(p)
  local key, secret_key = text(p, "aws_access_key_id"), text(p, "aws_secret_access_key")
  if not key and not secret_key then return nil end
  if not key or not secret_key then
    return fail("profile %s has aws_%s, and no aws_%s", p.name,
      key and "access_key_id" or "secret_access_key",
      key and "secret_access_key" or "access_key_id")
  end
  return secret.new({
    key = key, secret = secret_key, token = text(p, "aws_session_token"),
    source = "profile " .. p.name,
  })
end

-- The steps of the chain that credential_source may name.
local SOURCES = {
  Environment = "environment", EcsContainer = "container", Ec2InstanceMetadata = "instance",
}

local load

-- The credentials that are to assume the role of `p`.
local function of_source(context, p, seen)
  local source_profile, source = text(p, "source_profile"), text(p, "credential_source")
  if source_profile and source then
    return fail("profile %s has both source_profile and credential_source: take one away", p.name)
  end
  if source_profile == p.name then
    local credentials, err = static(p)
    if credentials or err then return credentials, err end
    return fail("profile %s is its own source_profile, and has no keys", p.name)
  end
  if source_profile then
    local credentials, err = load(context, source_profile, seen)
    if credentials or err then return credentials, err end
    return fail("profile %s, the source_profile of %s, has no credentials", source_profile, p.name)
  end
  if not source then
    return fail("profile %s has role_arn, and neither source_profile nor credential_source", p.name)
  end
  local step = SOURCES[source]
  if not step then
    return fail("credential_source of profile %s must be Environment, EcsContainer or "
      .. "Ec2InstanceMetadata, not '%s'", p.name, source)
  end
  local credentials, err = context.steps[step](context)
  if credentials or err then return credentials, err end
  return fail("profile %s wants credentials from %s, and there are none", p.name, source)
end

local function of_role(context, p, seen)
  local role = {
    arn = text(p, "role_arn"), source = "profile " .. p.name,
    session = text(p, "role_session_name"), external_id = text(p, "external_id"),
    duration = text(p, "duration_seconds"),
  }
  if text(p, "mfa_serial") then
    return fail("profile %s needs an MFA code, which nobody is asked for here: get a session by "
      .. "aws sts assume-role --serial-number ... --token-code ..., or let credential_process do "
      .. "it", p.name)
  end
  local token_file = text(p, "web_identity_token_file")
  if token_file then
    return sts.web_identity(context.query, role, context.settings:expand(token_file) or token_file)
  end
  local credentials, err = of_source(context, p, seen)
  if not credentials then return nil, err end
  return sts.assume_role(context.query, role, credentials)
end

local UNSUPPORTED = {
  sso_session = "IAM Identity Center (SSO)", sso_start_url = "IAM Identity Center (SSO)",
  sso_account_id = "IAM Identity Center (SSO)", login_session = "aws login",
}

local function unsupported(p)
  for key, what in pairs(UNSUPPORTED) do
    if text(p, key) then
      return fail("profile %s signs in by %s, which is not supported: sign in with the AWS CLI, "
        .. "and put into a profile of its own credential_process = aws configure "
        .. "export-credentials --profile %s", p.name, what, p.name)
    end
  end
end

-- `seen`: names of the profiles that led here, in their order.
function load(context, name, seen)
  local p, err = context.settings:profile(name)
  if not p then return nil, err end
  for _, other in ipairs(seen) do
    if other == p.name or #seen >= MAX_DEPTH then
      return fail("profiles name each other as source_profile: %s", table.concat(seen, ", "))
    end
  end
  seen[#seen + 1] = p.name
  if text(p, "role_arn") then return of_role(context, p, seen) end
  local credentials
  credentials, err = static(p)
  if credentials or err then return credentials, err end
  local command = text(p, "credential_process")
  if command then return process.credentials(context.tools, command, "profile " .. p.name) end
  return unsupported(p)
end

--- @class fleet.aws.Context
--- @field settings fleet.aws.Settings
--- @field tools fleet.aws.Tools
--- @field query fleet.aws.Query
--- @field imds fleet.aws.Imds
--- @field steps table<string, fun(context: fleet.aws.Context): fleet.aws.Credentials|nil,
---   fleet.Error|nil>

--- The credentials of the profile in use; nothing when it has none.
---@param context fleet.aws.Context
---@return fleet.aws.Credentials|nil
---@return fleet.Error|nil
function profile.credentials(context)
  return load(context, nil, {})
end

return profile
