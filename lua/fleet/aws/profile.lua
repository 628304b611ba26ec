-- SPDX-License-Identifier: MIT
-- Credentials of a profile of the shared files, in the order of the AWS CLI: a role to assume, a
-- web identity, single sign-on, keys of the credentials file, a login session, a program that
-- prints credentials, keys of the config file. What is not supported is an error that says what to
-- do instead. May wait.

local errors = require("fleet.errors")
local process = require("fleet.aws.credential_process")
local secret = require("fleet.aws.credential")
local sts = require("fleet.aws.sts")

local profile = {}

-- Of profiles that name each other as source.
local MAX_DEPTH = 10

local fail = errors.formatter("credentials")

local function property(values, key)
  local value = values[key]
  return type(value) == "string" and value ~= "" and value or nil
end

local function text(p, key) return property(p.values, key) end

--- Whether a profile with these properties assumes a role by other credentials.
---@param values fleet.aws.Properties
---@return boolean
function profile.has_role(values)
  return property(values, "role_arn") ~= nil
    and not property(values, "web_identity_token_file")
end

-- ---- the places, in their order ----

-- Each gives credentials; or nothing when the profile has nothing of it; or nil and an error.

-- A token of an identity provider in a file. Each of the properties may be in the environment
-- instead, where that counts.
local function web_identity(context, p, environment)
  local function either(variable, key)
    return environment and context.settings:variable(variable) or text(p, key)
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
  return sts.web_identity(context.query, {
    arn = arn, source = source, session = either("AWS_ROLE_SESSION_NAME", "role_session_name"),
  }, context.settings:expand(path) or path)
end

local function refuse(p, what)
  return nil, fail("profile %s signs in by %s, which is not supported: sign in with the AWS CLI, "
    .. "and put into a profile of its own credential_process = aws configure export-credentials "
    .. "--profile %s", p.name, what, p.name)
end

local function single_sign_on(_, p)
  if text(p, "sso_account_id") or text(p, "sso_role_name") then
    return refuse(p, "IAM Identity Center (SSO)")
  end
end

local function login(_, p)
  if text(p, "login_session") then return refuse(p, "aws login (login_session)") end
end

-- Keys of one of the two files. Never joined to what the other has: old halves would spoil them.
local function keys(kind)
  return function(context, p)
    local values = p.files[kind] or {}
    local key, secret_key = property(values, "aws_access_key_id"),
      property(values, "aws_secret_access_key")
    if not key and not secret_key then return nil end
    if not key or not secret_key then
      return nil, fail("profile %s has aws_%s in %s, and no aws_%s there", p.name,
        key and "access_key_id" or "secret_access_key", context.settings:path(kind),
        key and "secret_access_key" or "access_key_id")
    end
    return secret.new({
      key = key, secret = secret_key, source = "profile " .. p.name,
      -- the old name first, as the AWS CLI has it
      token = property(values, "aws_security_token") or property(values, "aws_session_token"),
    })
  end
end

local function program(context, p)
  local command = text(p, "credential_process")
  if command then return process.credentials(context.tools, command, "profile " .. p.name) end
end

local PLACES = { web_identity, single_sign_on, keys("credentials"), login, program, keys("config") }

-- `environment`: whether its variables count.
local function search(context, p, environment)
  for _, place in ipairs(PLACES) do
    local credentials, err = place(context, p, environment)
    if credentials or err then return credentials, err end
  end
end

-- ---- roles ----

-- The steps of the chain that credential_source may name.
local SOURCES = {
  Environment = "environment", EcsContainer = "container", Ec2InstanceMetadata = "instance",
}

local function of_credential_source(context, p, source)
  local step = SOURCES[source]
  if not step then
    return nil, fail("credential_source of profile %s must be Environment, EcsContainer or "
      .. "Ec2InstanceMetadata, not '%s'", p.name, source)
  end
  local credentials, err = context.steps[step](context)
  if credentials or err then return credentials, err end
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
  local credentials
  credentials, err = search(context, source, false)
  if credentials or err then return credentials, err end
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
    return nil, fail("profile %s needs an MFA code (mfa_serial), which nobody is asked for here: "
      .. "get a session by aws sts assume-role --serial-number ... --token-code ..., or let "
      .. "credential_process do it", p.name)
  end
  local credentials, err = of_source(context, p, seen)
  if not credentials then return nil, err end
  return sts.assume_role(context.query, {
    arn = text(p, "role_arn"), source = "profile " .. p.name, duration = duration,
    session = text(p, "role_session_name"), external_id = text(p, "external_id"),
  }, credentials)
end

--- @class fleet.aws.Context
--- @field settings fleet.aws.Settings
--- @field tools fleet.aws.Tools
--- @field query fleet.aws.Query
--- @field imds fleet.aws.Imds
--- @field steps table<string, fun(context: fleet.aws.Context): fleet.aws.Credentials|nil,
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
