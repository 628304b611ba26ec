-- SPDX-License-Identifier: MIT
-- Ranges of item ids that must go out once more, oldest first, each with the
-- name of the node it should keep away from. One binary heap per such node, so
-- that a worker looks at as many ranges as there are nodes in trouble, not at
-- everything that waits.

local backlog = {}

--- @class fleet.Range
--- @field first integer
--- @field last integer
--- @field attempt integer number of the attempt to make
--- @field avoid string|nil node to keep away from if there is another
--- @field suspect boolean whether one of the items may have killed a worker
--- @field loss fleet.Error|nil why the last attempt was lost; nil: never begun

--- @class fleet.Backlog
--- @field size integer number of ids that wait
local Backlog = {}
Backlog.__index = Backlog

--- Makes an empty backlog.
---@return fleet.Backlog
function backlog.new()
  return setmetatable({ size = 0, heaps = {} }, Backlog)
end

local function sift_up(heap, i)
  local range = heap[i]
  while i > 1 and heap[i // 2].first > range.first do
    heap[i] = heap[i // 2]
    i = i // 2
  end
  heap[i] = range
end

local function sift_down(heap, i)
  local range, n = heap[i], #heap
  while 2 * i <= n do
    local child = 2 * i
    if child < n and heap[child + 1].first < heap[child].first then child = child + 1 end
    if heap[child].first > range.first then break end
    heap[i] = heap[child]
    i = child
  end
  heap[i] = range
end

local function remove_root(heap)
  local last = table.remove(heap)
  if #heap > 0 then
    heap[1] = last
    sift_down(heap, 1)
  end
end

local function find(self, avoid)
  for i, heap in ipairs(self.heaps) do
    if heap.avoid == avoid then return heap, i end
  end
end

--- Adds a range that overlaps no other; the table now belongs to the backlog.
---@param range fleet.Range
function Backlog:add(range)
  local heap = find(self, range.avoid)
  if not heap then
    heap = { avoid = range.avoid }
    self.heaps[#self.heaps + 1] = heap
  end
  heap[#heap + 1] = range
  sift_up(heap, #heap)
  self.size = self.size + range.last - range.first + 1
end

--- Returns the oldest range that a worker on `node` may take, or nil. It stays
--- in the backlog and must not be changed.
---@param node string
---@param alone boolean nothing waits for a worker on another node
---@return fleet.Range|nil
function Backlog:oldest(node, alone)
  local found
  for _, heap in ipairs(self.heaps) do
    if (alone or heap.avoid ~= node) and (not found or heap[1].first < found.first) then
      found = heap[1]
    end
  end
  return found
end

--- Takes the first `n` ids out of a range that `oldest` returned.
---@param range fleet.Range
---@param n integer
function Backlog:take(range, n)
  self.size = self.size - n
  -- Ranges are disjoint: the rest of the oldest one is still the oldest.
  range.first = range.first + n
  if range.first <= range.last then return end
  local heap, i = find(self, range.avoid)
  remove_root(heap)
  if #heap == 0 then table.remove(self.heaps, i) end
end

--- Empties the backlog and returns what was in it, in no order.
---@return fleet.Range[]
function Backlog:drain()
  local ranges = {}
  for _, heap in ipairs(self.heaps) do
    table.move(heap, 1, #heap, #ranges + 1, ranges)
  end
  self.size, self.heaps = 0, {}
  return ranges
end

return backlog
