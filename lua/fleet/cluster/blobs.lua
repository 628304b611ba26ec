-- SPDX-License-Identifier: MIT
-- The blobs that one node holds for this driver, by key: job definitions and modules. Each is sent
-- once and kept while it is in use, and also afterwards, since the same function is often mapped
-- again; of the unused ones over the limits the longest unused are dropped.

local blobs = {}

local MAX_UNUSED, MAX_UNUSED_BYTES = 256, 16 * 1024 * 1024

--- @class fleet.Blobs
local Blobs = {}
Blobs.__index = Blobs

--- Makes the account of a node that holds nothing.
---@param max integer|nil unused blobs (default: 256)
---@param max_bytes integer|nil their bytes (default: 16 MiB)
---@return fleet.Blobs
function blobs.new(max, max_bytes)
  return setmetatable({
    max = max or MAX_UNUSED, max_bytes = max_bytes or MAX_UNUSED_BYTES,
    held = {},   -- by key: {key=, bytes=, users=}
    unused = {}, -- those without users, the longest unused first
    unused_bytes = 0,
  }, Blobs)
end

--- Counts one more user of a blob.
---@param key string
---@param bytes integer its size
---@return boolean whether it must be sent
function Blobs:use(key, bytes)
  local entry = self.held[key]
  if not entry then
    self.held[key] = { key = key, bytes = bytes, users = 1 }
    return true
  end
  if entry.users == 0 then
    local i = #self.unused
    while self.unused[i] ~= entry do i = i - 1 end
    table.remove(self.unused, i)
    self.unused_bytes = self.unused_bytes - entry.bytes
  end
  entry.users = entry.users + 1
  return false
end

--- Counts one user less.
---@param key string as given to `use`
---@return string[]|nil keys that the node is to drop
function Blobs:release(key)
  local entry, unused = self.held[key], self.unused
  entry.users = entry.users - 1
  if entry.users > 0 then return nil end
  unused[#unused + 1] = entry
  self.unused_bytes = self.unused_bytes + entry.bytes
  local dropped
  while #unused > self.max or self.unused_bytes > self.max_bytes do
    local oldest = table.remove(unused, 1)
    self.unused_bytes = self.unused_bytes - oldest.bytes
    self.held[oldest.key] = nil
    dropped = dropped or {}
    dropped[#dropped + 1] = oldest.key
  end
  return dropped
end

return blobs
