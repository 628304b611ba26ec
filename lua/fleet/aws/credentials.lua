-- SPDX-License-Identifier: MIT
-- Credentials, and a cache of them.
--
-- Credentials are a value that does not reveal its secrets by accident: `secret` and `token` can be
-- read as fields, but are not stored in the table, so that JSON, MessagePack, pairs, the prompt and
-- tostring do not show them.
--
-- The cache searches for credentials once, keeps them, and renews them five minutes before they
-- expire, while the old ones stay in use. Many tasks that need them at once share one search.

local errors = require("fleet.errors")
local singleflight = require("fleet.base.singleflight")
local time = require("fleet.aws.time")

local credentials = {}

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
function credentials.new(fields)
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

-- Whether a service takes two credentials for the same; `b` may be nil.
local function is_same(a, b)
  return b ~= nil and a.key == b.key and a.secret == b.secret and a.token == b.token
end

-- ---- the cache ----

-- New credentials are searched for this many seconds before the old ones expire; the instance has
-- them by then.
local RENEW_BEFORE = 300
-- Old credentials are not handed out for the last seconds before they expire.
local MIN_LEFT = 15
-- The pause after a search that found nothing better, in seconds: half to all of it.
local PAUSE = 60

--- @class fleet.aws.CredentialCache: fleet.aws.CredentialSource
--- @field find fun(): fleet.aws.Credentials|nil, fleet.Error|nil
--- @field tools fleet.aws.Tools
--- @field current fleet.aws.Credentials|nil
--- @field not_before number no search before this time while the old ones can be used
--- @field warned boolean whether a warning was given since the last good search
local Cache = {}
Cache.__index = Cache

--- Makes a cache of the credentials that `find` finds.
---@param options {find: fun(): (fleet.aws.Credentials|nil, fleet.Error|nil),
---  tools: fleet.aws.Tools}
---@return fleet.aws.CredentialCache
function credentials.cache(options)
  local self = setmetatable({
    find = options.find, tools = options.tools, not_before = -math.huge, warned = false,
  }, Cache)
  self.renewal = singleflight.new(function() return self:search() end)
  return self
end

-- Warns once, until a search succeeds again.
function Cache:warn(message, err)
  if self.warned then return end
  self.warned = true
  self.tools.log.warn(message, {
    source = self.current.source, expires = time.write(self.current.expires),
    error = err and err.message or nil,
  })
end

function Cache:search()
  local fresh, err = self.find()
  local now = self.tools.now()
  local old = self.current
  self.not_before = now + PAUSE * (1 + self.tools.random()) / 2
  if not fresh then
    if old and old.expires then self:warn("AWS credentials cannot be renewed", err) end
    return nil, err
  end
  self.current = fresh
  if not fresh.expires or now < fresh.expires - RENEW_BEFORE then
    self.warned = false
  elseif fresh.lasting then -- an outage at AWS, of which its services know
    self:warn("the instance does not renew the AWS credentials; the old ones stay in use")
  end
  return fresh
end

-- Whether credentials may be used when there are no better ones.
local function is_usable(self, c)
  return c ~= nil and (not c.expires or c.lasting or self.tools.now() < c.expires)
end

--- The credentials: the old ones while they can be used and new ones are searched for.
---@return fleet.aws.Credentials|nil
---@return fleet.Error|nil
function Cache:get()
  local c, now = self.current, self.tools.now()
  if c then
    if not c.expires or now < c.expires - RENEW_BEFORE then return c end
    if now < self.not_before and is_usable(self, c) then return c end
    if now < c.expires - MIN_LEFT then
      self.renewal:start()
      return c
    end
  end
  local fresh, err = self.renewal:run()
  if fresh and is_usable(self, fresh) then return fresh end
  if is_usable(self, self.current) then return self.current end
  return nil, err or errors.format("credentials", "the AWS credentials from %s have expired",
    fresh.source)
end

--- Credentials other than those that a service rejected: searches now, unless they have been
--- replaced meanwhile. Nil and an error when there are none.
---@param rejected fleet.aws.Credentials|nil
---@return fleet.aws.Credentials|nil
---@return fleet.Error|nil
function Cache:refresh(rejected)
  local before = rejected or self.current
  if before and self.current and not is_same(self.current, before) then
    return self.current
  end
  local fresh, err = self.renewal:run()
  if not fresh then return nil, err end
  if not is_same(fresh, before) then return fresh end
  return nil, errors.format("credentials", "%s has no other credentials", fresh.source)
end

return credentials
