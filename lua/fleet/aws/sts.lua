-- SPDX-License-Identifier: MIT
-- Credentials of a role, from STS: by credentials that may assume it, or by a token of an
-- identity provider (EKS). May wait.

local answer = require("fleet.aws.xml_reply")
local errors = require("fleet.errors")
local secret = require("fleet.aws.credential")
local time = require("fleet.aws.time")

local sts = {}

local fail = errors.formatter("credentials")

local VERSION = "2011-06-15"
local MAX_BYTES = 256 * 1024

--- @class fleet.aws.Role
--- @field arn string
--- @field source string where it is configured, for people
--- @field session? string name of the session; made up
--- @field external_id? string
--- @field duration? string seconds that the credentials are to last; not by web identity

local function session_name(role, now)
  return role.session or ("moonfleet-%d"):format(math.floor(now))
end

-- What STS gave, or why not.
local function read(body, err, role)
  if not body then return nil, err end
  local said = answer.credentials(body)
  local expires = said and time.iso(said.expires)
  if not expires then
    return nil, fail("STS gave no credentials for %s (%s)", role.arn, role.source)
  end
  return secret.new({
    key = said.key, secret = said.secret, token = said.token, expires = expires,
    source = ("%s, role %s"):format(role.source, role.arn),
  })
end

--- Credentials of a role that `credentials` may assume.
---@param query fleet.aws.Query
---@param role fleet.aws.Role
---@param credentials fleet.aws.Credentials
---@return fleet.aws.Credentials|nil
---@return fleet.Error|nil
function sts.assume_role(query, role, credentials)
  local fixed = {
    get = function() return credentials end,
    refresh = function() return nil end,
  }
  local body, err = query:call("sts", VERSION, "AssumeRole", {
    RoleArn = role.arn, RoleSessionName = session_name(role, query.tools.now()),
    ExternalId = role.external_id, DurationSeconds = role.duration,
  }, { credentials = fixed, max_bytes = MAX_BYTES })
  return read(body, err, role)
end

--- Credentials of a role for a token that stands in a file, which is read each time.
---@param query fleet.aws.Query
---@param role fleet.aws.Role
---@param path string
---@return fleet.aws.Credentials|nil
---@return fleet.Error|nil
function sts.web_identity(query, role, path)
  local token, err = query.settings.read(path)
  if not token then
    return nil, fail("cannot read the web identity token (%s): %s", role.source,
      err and err.message or path .. ": there is no such file")
  end
  token = token:match("^%s*(%S*)")
  if token == "" then
    return nil, fail("the web identity token file %s (%s) is empty", path, role.source)
  end
  local body
  body, err = query:call("sts", VERSION, "AssumeRoleWithWebIdentity", {
    RoleArn = role.arn, RoleSessionName = session_name(role, query.tools.now()),
    WebIdentityToken = token,
  }, { credentials = false, max_bytes = MAX_BYTES })
  return read(body, err, role)
end

return sts
