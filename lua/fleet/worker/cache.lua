-- SPDX-License-Identifier: MIT
-- A cache of bounded size: what was not asked for while as many other entries
-- came is forgotten. Two tables; when the young one is full it becomes the old
-- one, and the old one goes.

local cache = {}

--- @class fleet.Cache
local Cache = {}
Cache.__index = Cache

--- Makes a cache that holds up to twice that many entries.
---@param half integer
---@return fleet.Cache
function cache.new(half)
  return setmetatable({ half = half, count = 0, young = {}, old = {} }, Cache)
end

---@param key any
---@return any value nil when it is not there
function Cache:get(key)
  local value = self.young[key]
  if value ~= nil then return value end
  value = self.old[key]
  if value ~= nil then self:put(key, value) end
  return value
end

---@param key any
---@param value any not nil
function Cache:put(key, value)
  if self.young[key] == nil then
    if self.count == self.half then
      self.old, self.young, self.count = self.young, {}, 0
    end
    self.count = self.count + 1
  end
  self.young[key] = value
end

return cache
