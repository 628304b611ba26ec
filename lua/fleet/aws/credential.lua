-- SPDX-License-Identifier: MIT
-- Credentials as a value that does not reveal its secrets by accident: `secret` and `token` can
-- be read as fields, but are not stored in the table, so that JSON, MessagePack, pairs, the prompt
-- and tostring do not show them.

local errors = require("fleet.errors")
local time = require("fleet.aws.time")

local credential = {}

--- @class fleet.aws.Credentials
--- @field key string the access key id, which is not secret
--- @field secret string not in the table itself
--- @field token? string session token; not in the table itself
--- @field expires? number seconds since 1970; nil: never
--- @field source string where they come from, for people
--- @field lasting? boolean services accept them after they expire if there are no newer ones

-- They are sent in headers: only printable characters, at least one, and not too many.
local MAX_LENGTH = 16384

local function is_word(s)
  return type(s) == "string" and #s <= MAX_LENGTH and s:find("^[!-~]+$") ~= nil
end

--- Makes credentials of fields of any type, as they were read somewhere; `expiration` is a date as
--- time.iso reads it, nil for credentials that do not expire. Nil and an error (without the
--- values) when one of them is not valid.
---@param fields {key: any, secret: any, token: any, expiration: any, lasting: boolean|nil,
---  source: string}
---@return fleet.aws.Credentials|nil
---@return fleet.Error|nil
function credential.new(fields)
  local hidden = { secret = fields.secret, token = fields.token }
  if hidden.token == "" then hidden.token = nil end
  local expires = time.iso(fields.expiration)
  local wrong = fields.expiration ~= nil and not expires and "Expiration"
    or not is_word(fields.key) and "access key id"
    or not is_word(hidden.secret) and "secret access key"
    or hidden.token ~= nil and not is_word(hidden.token) and "session token"
  if wrong then
    return nil, errors.format("credentials", "%s has no valid %s", fields.source, wrong)
  end
  return setmetatable({
    key = fields.key, expires = expires, source = fields.source, lasting = fields.lasting,
  }, {
    __name = "fleet.aws.credentials",
    __metatable = "fleet.aws.credentials",
    __index = function(_, name) return hidden[name] end,
    __tostring = function(self)
      return ("AWS credentials %s from %s"):format(self.key, self.source)
    end,
  })
end

--- Whether a service takes two credentials for the same.
---@param a fleet.aws.Credentials|nil
---@param b fleet.aws.Credentials|nil
---@return boolean
function credential.same(a, b)
  if not a or not b then return a == b end
  return a.key == b.key and a.secret == b.secret and a.token == b.token
end

return credential
