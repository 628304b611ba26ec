-- SPDX-License-Identifier: MIT
-- Credentials of a profile of the shared files, in the order of the AWS CLI: a role to assume, a
-- web identity, single sign-on, keys of the credentials file, a login session, a program that
-- prints credentials, keys of the config file. What is not supported is an error that says what to
-- do instead. May wait.

local credentials = require("fleet.aws.credentials")
local credential_process = require("fleet.aws.credential_process")
local errors = require("fleet.errors")
local property = require("fleet.aws.settings").property
local sts = require("fleet.aws.sts")

local profile = {}

local fail = errors.formatter("credentials")

-- Profiles that name each other as source.
local MAX_DEPTH = 10

local function text(p, key) return property(p.values, key) end

--- Whether a profile with these properties assumes a role by other credentials.
---@param values fleet.aws.Properties
---@return boolean
function profile.has_role(values)
  return property(values, "role_arn") ~= nil and not property(values, "web_identity_token_file")
end

-- ---- the kinds of credentials, in their order ----

-- Each function returns credentials, nothing when the profile has none of that kind, or nil and an
-- error.

-- A token of an identity provider in a file. Each of the properties may be in the environment
-- instead if `use_environment`.
local function web_identity(context, p, use_environment)
  local function either(variable, key)
    return use_environment and context.settings:variable(variable) or text(p, key)
  end
  local path = either("AWS_WEB_IDENTITY_TOKEN_FILE", "web_identity_token_file")
  if not path then return nil end
  local arn = either("AWS_ROLE_ARN", "role_arn")
  local source = path == text(p, "web_identity_token_file") and "profile " .. p.name
    or "AWS_WEB_IDENTITY_TOKEN_FILE"
  if not arn then
    return nil, fail("%s names a web identity token, and there is no role: neither AWS_ROLE_ARN "
      .. "nor role_arn of profile %s is set", source, p.name)
  end
  return sts.web_identity(context.caller, {
    arn = arn, source = source, session = either("AWS_ROLE_SESSION_NAME", "role_session_name"),
  }, context.settings:expand(path) or path)
end

-- A way to sign in that is not supported, if the profile has one of its properties.
local function unsupported(name, ...)
  local keys = { ... }
  return function(_, p)
    for _, key in ipairs(keys) do
      if text(p, key) then
        return nil, fail("profile %s signs in by %s, which is not supported: sign in with the AWS "
          .. "CLI, and put into a profile of its own credential_process = aws configure "
          .. "export-credentials --profile %s", p.name, name, p.name)
      end
    end
  end
end

-- Keys of one of the two files. They are never combined with those of the other file, which may be
-- old.
local function keys(kind)
  return function(context, p)
    local values = p.files[kind] or {}
    local key = property(values, "aws_access_key_id")
    local secret = property(values, "aws_secret_access_key")
    if not key and not secret then return nil end
    if not key or not secret then
      return nil, fail("profile %s has aws_%s in %s, and no aws_%s there", p.name,
        key and "access_key_id" or "secret_access_key", context.settings:path(kind),
        key and "secret_access_key" or "access_key_id")
    end
    return credentials.new({
      key = key, secret = secret, source = "profile " .. p.name,
      -- the old name first, as in the AWS CLI
      token = property(values, "aws_security_token") or property(values, "aws_session_token"),
    })
  end
end

local function program(context, p)
  local command = text(p, "credential_process")
  if not command then return nil end
  return credential_process.credentials(context.tools, command, "profile " .. p.name)
end

local KINDS = {
  web_identity, unsupported("IAM Identity Center (SSO)", "sso_account_id", "sso_role_name"),
  keys("credentials"), unsupported("aws login (login_session)", "login_session"), program,
  keys("config"),
}

local function search(context, p, use_environment)
  for _, of_kind in ipairs(KINDS) do
    local found, err = of_kind(context, p, use_environment)
    if found or err then return found, err end
  end
end

-- ---- roles ----

-- The providers that credential_source may name.
local SOURCES = {
  Environment = "environment", EcsContainer = "container", Ec2InstanceMetadata = "instance",
}

local function of_credential_source(context, p, source)
  if not SOURCES[source] then
    return nil, fail("credential_source of profile %s must be Environment, EcsContainer or "
      .. "Ec2InstanceMetadata, not '%s'", p.name, source)
  end
  local found, err = context.providers[SOURCES[source]](context)
  if found or err then return found, err end
  return nil, fail("profile %s wants credentials from %s, and there are none", p.name, source)
end

local of_role

-- The credentials of a profile that is the source of `p`: its keys, even when it has a role too.
-- `seen`: names of the profiles that led here, in their order.
local function of_source_profile(context, p, name, seen)
  local source, err = context.settings:profile(name)
  if not source then return nil, err end
  local has_keys = text(source, "aws_access_key_id") or text(source, "aws_secret_access_key")
  for _, other in ipairs(seen) do
    if other == name and name == p.name and not has_keys then
      return nil, fail("profile %s is its own source_profile, and has no keys", name)
    elseif other == name and name ~= p.name then
      return nil, fail("profiles name each other as source_profile: %s", table.concat(seen, ", "))
    end
  end
  if #seen >= MAX_DEPTH then
    return nil, fail("a chain of more than %d profiles by source_profile: %s", MAX_DEPTH,
      table.concat(seen, ", "))
  end
  seen[#seen + 1] = name
  if not has_keys and profile.has_role(source.values) then return of_role(context, source, seen) end
  local found
  found, err = search(context, source, false)
  if found or err then return found, err end
  return nil, fail("profile %s, the source_profile of %s, has no credentials", name, p.name)
end

-- The credentials that are to assume the role of `p`.
local function of_source(context, p, seen)
  local source_profile, source = text(p, "source_profile"), text(p, "credential_source")
  if source_profile and source then
    return nil, fail("profile %s has both source_profile and credential_source: remove one",
      p.name)
  end
  if source_profile then return of_source_profile(context, p, source_profile, seen) end
  if source then return of_credential_source(context, p, source) end
  return nil, fail("profile %s has role_arn, and neither source_profile nor credential_source",
    p.name)
end

function of_role(context, p, seen)
  local duration = text(p, "duration_seconds")
  if duration and not duration:find("^%d+$") then
    return nil, fail("duration_seconds of profile %s must be a whole number, not '%s'", p.name,
      duration)
  end
  if text(p, "mfa_serial") then
    return nil, fail("profile %s needs an MFA code (mfa_serial), which cannot be entered here: get "
      .. "a session by aws sts assume-role --serial-number ... --token-code ..., or let "
      .. "credential_process do it", p.name)
  end
  local found, err = of_source(context, p, seen)
  if not found then return nil, err end
  return sts.assume_role(context.caller, {
    arn = text(p, "role_arn"), source = "profile " .. p.name, duration = duration,
    session = text(p, "role_session_name"), external_id = text(p, "external_id"),
  }, found)
end

--- @class fleet.aws.Context what providers need
--- @field settings fleet.aws.Settings
--- @field tools fleet.aws.Tools
--- @field caller fleet.aws.Caller
--- @field imds fleet.aws.Imds
--- @field providers table<string, fun(context: fleet.aws.Context): fleet.aws.Credentials|nil,
---   fleet.Error|nil>

--- The credentials of the profile in use, or of the web identity that the environment names;
--- nothing when there are none.
---@param context fleet.aws.Context
---@return fleet.aws.Credentials|nil
---@return fleet.Error|nil
function profile.credentials(context)
  local p, err = context.settings:profile()
  if not p then return nil, err end
  if profile.has_role(p.values) then return of_role(context, p, { p.name }) end
  return search(context, p, not context.settings.flags.profile)
end

return profile
