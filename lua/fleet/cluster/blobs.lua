-- SPDX-License-Identifier: MIT
-- What one node holds for us, by key: job definitions and modules. Each is sent once, kept as
-- long as a job uses it, and for a while after that, since the same function is often mapped
-- again; what is then over the bound is dropped, the longest unused first.

local blobs = {}

local MOST, MOST_BYTES = 256, 16 * 1024 * 1024

--- @class fleet.Blobs
local Blobs = {}
Blobs.__index = Blobs

--- Makes the account of a node that holds nothing. The bounds are on unused blobs.
---@param most integer|nil number of them, 256 by default
---@param most_bytes integer|nil their bytes, 16 MiB by default
---@return fleet.Blobs
function blobs.new(most, most_bytes)
  return setmetatable({
    most = most or MOST, most_bytes = most_bytes or MOST_BYTES,
    held = {},                                   -- by key: {key=, bytes=, users=}
    unused = {}, first = 1, last = 0,            -- a queue of entries, with gaps
    unused_count = 0, unused_bytes = 0,
  }, Blobs)
end

local function reuse(self, entry)
  if not entry.at then return end
  self.unused[entry.at] = nil
  entry.at = nil
  self.unused_count, self.unused_bytes = self.unused_count - 1, self.unused_bytes - entry.bytes
end

--- Says that one more job uses a blob.
---@param key string
---@param bytes integer its size
---@return boolean whether it must be sent
function Blobs:use(key, bytes)
  local entry = self.held[key]
  if entry then
    reuse(self, entry)
    entry.users = entry.users + 1
    return false
  end
  self.held[key] = { key = key, bytes = bytes, users = 1 }
  return true
end

--- Says that a job uses a blob no more.
---@param key string that `use` was called with
---@return string[]|nil keys that the node is to drop
function Blobs:release(key)
  local entry = self.held[key]
  entry.users = entry.users - 1
  if entry.users > 0 then return nil end
  self.last = self.last + 1
  self.unused[self.last], entry.at = entry, self.last
  self.unused_count, self.unused_bytes = self.unused_count + 1, self.unused_bytes + entry.bytes
  local dropped
  while self.unused_count > self.most or self.unused_bytes > self.most_bytes do
    local oldest = self.unused[self.first]
    if oldest then
      reuse(self, oldest)
      self.held[oldest.key] = nil
      dropped = dropped or {}
      dropped[#dropped + 1] = oldest.key
    end
    self.first = self.first + 1
  end
  return dropped
end

return blobs
