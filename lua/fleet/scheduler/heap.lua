-- SPDX-License-Identifier: MIT
-- A binary heap of tables, ordered by one of their fields, the least first.

local heap = {}

--- @class fleet.Heap
--- @field [integer] table [1] is the least, nil when the heap is empty
--- @field key string the field that orders them; it may be changed in the heap only if the order
--- stays the same
local Heap = {}
Heap.__index = Heap

--- Makes an empty heap ordered by the field `key`.
---@param key string
---@return fleet.Heap
function heap.new(key)
  return setmetatable({ key = key }, Heap)
end

local function sift_up(self, i)
  local key, entry = self.key, self[i]
  local value = entry[key]
  while i > 1 and self[i // 2][key] > value do
    self[i] = self[i // 2]
    i = i // 2
  end
  self[i] = entry
end

local function sift_down(self, i)
  local key, entry, n = self.key, self[i], #self
  local value = entry[key]
  while 2 * i <= n do
    local child = 2 * i
    if child < n and self[child + 1][key] < self[child][key] then child = child + 1 end
    if self[child][key] >= value then break end
    self[i] = self[child]
    i = child
  end
  self[i] = entry
end

--- Adds a table.
---@param entry table
function Heap:push(entry)
  self[#self + 1] = entry
  sift_up(self, #self)
end

--- Removes and returns the entry at index `i` of the heap, 1 for the least.
---@param i integer
---@return table|nil
function Heap:remove(i)
  local entry, n = self[i], #self
  local last = self[n]
  self[n] = nil
  if i < n then
    self[i] = last
    sift_up(self, i)
    sift_down(self, i)
  end
  return entry
end

return heap
