-- SPDX-License-Identifier: MIT
-- Credentials as a value that does not tell its secrets by accident: `secret` and `token` can
-- be read as fields, but they are no fields of the table, so that JSON, MessagePack, pairs, the
-- prompt and tostring do not show them.

local errors = require("fleet.errors")

local secret = {}

--- @class fleet.aws.Credentials
--- @field key string the access key's id; no secret
--- @field secret string not in the table itself
--- @field token? string session token; not in the table itself
--- @field expires? number seconds since 1970; nil: never
--- @field source string where they are from, for people
--- @field lasting? boolean the service takes them beyond their end, if nothing better is there

--- @class fleet.aws.CredentialFields
--- @field key any
--- @field secret any
--- @field token? any
--- @field expires? number
--- @field lasting? boolean
--- @field source string

-- Headers carry them: nothing that is not printable, nothing empty, and no novels.
local MAX_LENGTH = 16384

local function is_word(s)
  return type(s) == "string" and #s <= MAX_LENGTH and s:find("^[!-~]+$") ~= nil
end

local function bad(source, what)
  return nil, errors.format("credentials", "%s has no valid %s", source, what)
end

--- Makes credentials of fields that were read somewhere; nil and an error (without their
--- values) when they cannot be right.
---@param fields fleet.aws.CredentialFields
---@return fleet.aws.Credentials|nil
---@return fleet.Error|nil
function secret.new(fields)
  local hidden = { secret = fields.secret, token = fields.token }
  if hidden.token == "" then hidden.token = nil end
  if not is_word(fields.key) then return bad(fields.source, "access key id") end
  if not is_word(hidden.secret) then return bad(fields.source, "secret access key") end
  if hidden.token ~= nil and not is_word(hidden.token) then
    return bad(fields.source, "session token")
  end
  return setmetatable({
    key = fields.key, expires = fields.expires, source = fields.source, lasting = fields.lasting,
  }, {
    __name = "fleet.aws.credentials",
    __metatable = "fleet.aws.credentials",
    __index = function(_, name) return hidden[name] end,
    __tostring = function(self)
      return ("AWS credentials %s from %s"):format(self.key, self.source)
    end,
  })
end

--- Whether two are the same, to the service.
---@param a fleet.aws.Credentials|nil
---@param b fleet.aws.Credentials|nil
---@return boolean
function secret.same(a, b)
  if not a or not b then return a == b end
  return a.key == b.key and a.secret == b.secret and a.token == b.token
end

return secret
