-- SPDX-License-Identifier: MIT
-- Credentials of a role from STS, by credentials that may assume it, or by a token of an identity
-- provider (EKS). May wait.

local credentials = require("fleet.aws.credentials")
local errors = require("fleet.errors")
local query = require("fleet.aws.query")
local time = require("fleet.aws.time")
local xml_reply = require("fleet.aws.xml_reply")

local sts = {}

local fail = errors.formatter("credentials")

local VERSION = "2011-06-15"
local MAX_BYTES = 256 * 1024

--- @class fleet.aws.Role
--- @field arn string
--- @field source string where it is configured, for people
--- @field session? string name of the session; default: moonfleet-TIME
--- @field external_id? string
--- @field duration? string lifetime of the credentials in seconds; not for a web identity

-- Calls an action for a role and reads the credentials of the answer.
local function call(caller, action, role, params, source)
  params.RoleArn = role.arn
  params.RoleSessionName = role.session or ("moonfleet-%d"):format(math.floor(caller.tools.now()))
  local body, err = query.call(caller, "sts", VERSION, action, params,
    { credentials = source, max_bytes = MAX_BYTES })
  if not body then return nil, err end
  local fields = xml_reply.read(body, {
    key = "Credentials/AccessKeyId", secret = "Credentials/SecretAccessKey",
    token = "Credentials/SessionToken", expiration = "Credentials/Expiration",
  })
  if not time.iso(fields.expiration) then
    return nil, fail("STS gave no credentials for %s (%s)", role.arn, role.source)
  end
  fields.source = ("%s, role %s"):format(role.source, role.arn)
  return credentials.new(fields)
end

--- Credentials of a role that the credentials `own` may assume.
---@param caller fleet.aws.Caller
---@param role fleet.aws.Role
---@param own fleet.aws.Credentials
---@return fleet.aws.Credentials|nil
---@return fleet.Error|nil
function sts.assume_role(caller, role, own)
  return call(caller, "AssumeRole", role, {
    ExternalId = role.external_id, DurationSeconds = role.duration,
  }, { get = function() return own end, refresh = function() return nil end })
end

--- Credentials of a role for a token in a file, which is read each time.
---@param caller fleet.aws.Caller
---@param role fleet.aws.Role
---@param path string
---@return fleet.aws.Credentials|nil
---@return fleet.Error|nil
function sts.web_identity(caller, role, path)
  local token, err = caller.settings.read(path)
  if not token then
    return nil, fail("cannot read the web identity token (%s): %s", role.source,
      err and err.message or path .. ": there is no such file")
  end
  token = token:match("^%s*(%S*)")
  if token == "" then
    return nil, fail("the web identity token file %s (%s) is empty", path, role.source)
  end
  return call(caller, "AssumeRoleWithWebIdentity", role, { WebIdentityToken = token }, false)
end

return sts
