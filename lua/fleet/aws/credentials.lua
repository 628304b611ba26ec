-- SPDX-License-Identifier: MIT
-- Credentials that are looked for once, kept, and renewed in time: five minutes before their
-- end, while the old ones go on being used. Many tasks that need them at once make one search.
-- May wait.

local errors = require("fleet.errors")
local flight = require("fleet.base.singleflight")
local secret = require("fleet.aws.credential")
local time = require("fleet.aws.time")

local credentials = {}

-- Seconds before their end that new ones are looked for; the instance has them by then.
local WINDOW = 300
-- So shortly before their end nobody starts with the old ones.
local LAST = 15
-- After a search that brought nothing better: half to all of it.
local PAUSE = 60

--- @class fleet.aws.CredentialCache: fleet.aws.Source
--- @field find fun(): fleet.aws.Credentials|nil, fleet.Error|nil
--- @field tools fleet.aws.Tools
--- @field current fleet.aws.Credentials|nil
--- @field not_before number no search before then, while the old ones can be used
--- @field warned boolean it was said that they cannot be renewed
local Cache = {}
Cache.__index = Cache

---@param options {find: fun(): (fleet.aws.Credentials|nil, fleet.Error|nil),
---  tools: fleet.aws.Tools}
---@return fleet.aws.CredentialCache
function credentials.new(options)
  local self = setmetatable({
    find = options.find, tools = options.tools, not_before = -math.huge, warned = false,
  }, Cache)
  self.flight = flight.new(function() return self:search() end)
  return self
end

-- Says once that something is wrong, until it is right again.
function Cache:warn(message, err)
  if self.warned then return end
  self.warned = true
  self.tools.log.warn(message, {
    source = self.current.source, expires = time.write(self.current.expires),
    why = err and err.message or nil,
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
  if not fresh.expires or now < fresh.expires - WINDOW then
    self.warned = false
  elseif fresh.lasting then -- there is trouble at AWS; the services know of it
    self:warn("AWS credentials are not renewed by the instance; they are used on")
  end
  return fresh
end

-- Whether they may still be used when nothing better is there.
local function usable(self, c)
  return c ~= nil and (not c.expires or c.lasting or self.tools.now() < c.expires)
end

--- The credentials; those of before while they can be used and new ones are looked for.
---@return fleet.aws.Credentials|nil
---@return fleet.Error|nil
function Cache:get()
  local c, now = self.current, self.tools.now()
  if c then
    if not c.expires or now < c.expires - WINDOW then return c end
    if now < self.not_before and usable(self, c) then return c end
    if now < c.expires - LAST then
      self.flight:start()
      return c
    end
  end
  local fresh, err = self.flight:run()
  if fresh and usable(self, fresh) then return fresh end
  if usable(self, self.current) then return self.current end
  return nil, err or errors.format("credentials", "the AWS credentials from %s are over",
    fresh.source)
end

--- Others than those that the service did not take: looked for now, unless somebody did so
--- meanwhile. Nil and an error when there are none.
---@param worn fleet.aws.Credentials|nil
---@return fleet.aws.Credentials|nil
---@return fleet.Error|nil
function Cache:refresh(worn)
  local before = worn or self.current
  if before and self.current and not secret.same(self.current, before) then return self.current end
  local fresh, err = self.flight:run()
  if not fresh then return nil, err end
  if not secret.same(fresh, before) then return fresh end
  return nil, errors.format("credentials", "%s has no other credentials", fresh.source)
end

return credentials
