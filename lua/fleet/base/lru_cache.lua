-- SPDX-License-Identifier: MIT
-- A cache of bounded size, in two tables: when the young one is full it becomes the old one, and
-- the old one is dropped. So an entry is dropped if it was not used while as much else came.

local lru_cache = {}

--- @class fleet.Cache
local Cache = {}
Cache.__index = Cache

--- Makes a cache that holds at most 2 * half, in the unit of the sizes of `put`.
---@param half integer
---@return fleet.Cache
function lru_cache.new(half)
  return setmetatable({ half = half, size = 0, young = {}, old = {} }, Cache)
end

---@param key any
---@return any value nil: there is none
function Cache:get(key)
  local entry = self.young[key]
  if entry then return entry.value end
  entry = self.old[key]
  if not entry then return nil end
  self:put(key, entry.value, entry.size)
  return entry.value
end

---@param key any
---@param value any not nil
---@param size integer|nil default: 1; an entry larger than `half` is kept until the next
function Cache:put(key, value, size)
  size = size or 1
  local known = self.young[key]
  if known then self.size = self.size - known.size end
  if self.size + size > self.half and next(self.young) ~= nil then
    self.old, self.young, self.size = self.young, {}, 0
  end
  self.young[key], self.size = { value = value, size = size }, self.size + size
end

return lru_cache
