-- SPDX-License-Identifier: MIT
-- Ranges of item ids that must go out once more, oldest first, each with the
-- name of the node it should keep away from. One heap per such node, so that a
-- worker looks at as many ranges as there are nodes in trouble, not at
-- everything that waits.

local heap = require("fleet.scheduler.heap")

local requeue = {}

--- @class fleet.Range
--- @field first integer
--- @field last integer
--- @field attempt integer number of the attempt to make
--- @field avoid string|nil node to keep away from if there is another
--- @field history fleet.AttemptHistory|nil what earlier attempts have left; nil: never begun

--- @class fleet.Requeue
--- @field size integer number of ids that wait
local Requeue = {}
Requeue.__index = Requeue

--- Makes an empty requeue.
---@return fleet.Requeue
function requeue.new()
  return setmetatable({ size = 0, heaps = {} }, Requeue)
end

local function find(self, avoid)
  for i, ranges in ipairs(self.heaps) do
    if ranges.avoid == avoid then return ranges, i end
  end
end

-- The range at index `i` of a heap is used up.
local function remove(self, ranges, i)
  ranges:remove(i)
  if ranges[1] then return end
  local _, at = find(self, ranges.avoid)
  table.remove(self.heaps, at)
end

--- Adds a range that overlaps no other; the table now belongs to the requeue.
---@param range fleet.Range
function Requeue:add(range)
  local ranges = find(self, range.avoid)
  if not ranges then
    ranges = heap.new("first")
    ranges.avoid = range.avoid
    self.heaps[#self.heaps + 1] = ranges
  end
  ranges:push(range)
  self.size = self.size + range.last - range.first + 1
end

--- Returns the oldest range that a worker on `node` may take, or nil. It stays
--- in the requeue and must not be changed.
---@param node string
---@param alone boolean nothing waits for a worker on another node
---@return fleet.Range|nil
function Requeue:oldest(node, alone)
  local found
  for _, ranges in ipairs(self.heaps) do
    if (alone or ranges.avoid ~= node) and (not found or ranges[1].first < found.first) then
      found = ranges[1]
    end
  end
  return found
end

--- Takes the first `n` ids out of a range that `oldest` returned.
---@param range fleet.Range
---@param n integer
function Requeue:take(range, n)
  self.size = self.size - n
  -- Ranges are disjoint: the rest of the oldest one is still the oldest.
  range.first = range.first + n
  if range.first > range.last then remove(self, find(self, range.avoid), 1) end
end

--- Takes one id out, wherever it is, and returns the range it was in, as it is
--- now; nil when it is in none. Looks at every range.
---@param id integer
---@return fleet.Range|nil
function Requeue:extract(id)
  for _, ranges in ipairs(self.heaps) do
    for i, range in ipairs(ranges) do
      if range.first <= id and id <= range.last then
        self.size = self.size - 1
        if id > range.first and id < range.last then
          local rest = {}
          for key, value in pairs(range) do rest[key] = value end
          rest.first, range.last = id + 1, id - 1
          ranges:push(rest)
        elseif id == range.first then
          range.first = id + 1
        else
          range.last = id - 1
        end
        if range.first > range.last then remove(self, ranges, i) end
        return range
      end
    end
  end
end

--- Empties the requeue and returns what was in it, in no order.
---@return fleet.Range[]
function Requeue:drain()
  local all = {}
  for _, ranges in ipairs(self.heaps) do
    table.move(ranges, 1, #ranges, #all + 1, all)
  end
  self.size, self.heaps = 0, {}
  return all
end

return requeue
