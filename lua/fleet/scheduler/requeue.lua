-- SPDX-License-Identifier: MIT
-- A queue of ranges of item ids that must be sent again, oldest first, each with the name of the
-- node to avoid. There is one heap for each such node, so that a worker examines as many ranges as
-- there are nodes to avoid, not all that wait.

local heap = require("fleet.scheduler.heap")

local requeue = {}

--- @class fleet.Range
--- @field first integer
--- @field last integer
--- @field attempt integer number of the attempt to make
--- @field avoid string|nil node to avoid if there is another
--- @field history fleet.AttemptHistory|nil nil: never begun

--- @class fleet.Requeue
--- @field size integer number of ids that wait
local Requeue = {}
Requeue.__index = Requeue

--- Makes an empty queue.
---@return fleet.Requeue
function requeue.new()
  return setmetatable({ size = 0, heaps = {} }, Requeue)
end

local function find(self, avoid)
  for i, ranges in ipairs(self.heaps) do
    if ranges.avoid == avoid then return ranges, i end
  end
end

--- Adds a range that overlaps no other; the table belongs to the queue from now on.
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

--- Returns the oldest range that a worker on `node` may take, or nil. It stays in the queue and
--- must not be changed.
---@param node string
---@param alone boolean no worker on another node can take it
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
  if range.first <= range.last then return end
  local ranges, i = find(self, range.avoid)
  ranges:remove(1)
  if not ranges[1] then table.remove(self.heaps, i) end
end

--- Empties the queue and returns the ranges that were in it, in no particular order.
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
