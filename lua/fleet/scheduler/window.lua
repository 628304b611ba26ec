-- SPDX-License-Identifier: MIT
-- The items of a map from the oldest that has not been released to the newest that has been
-- admitted, and the order in which they are released: the base of fleet.scheduler.
--
-- Items are numbered 1, 2, 3, ... as they come in. All that is known of item id is in slot
-- `id & mask` of a few arrays used as rings. Released slots are overwritten with a marker, never
-- with nil, so that Lua keeps them as arrays (slot 0 is outside the array part, one of many).

local window = {}

--- The states of an item. Any other table in `state` is the batch it is in flight with.
window.FREE, window.QUEUED, window.OK, window.FAILED = {}, {}, {}, {}
local FREE, QUEUED, OK, FAILED = window.FREE, window.QUEUED, window.OK, window.FAILED

-- In place of an absent item or value, and of a nil result.
local NONE = {}

--- @class fleet.Window
--- @field oldest integer oldest id not yet released
--- @field newest integer newest id admitted
--- @field capacity integer slots, a power of two
--- @field mask integer
--- @field items any[] by slot
--- @field state table[] by slot
--- @field buffered number bytes of the results that wait to be released
--- @field dropped integer items forgotten without a result

--- Returns the fields of an empty window. The arrays grow as they are first used, up to the next
--- power of two above `size`, and never shrink.
---@param size integer most items at a time
---@param ordered boolean release in input order, else in order of completion
---@return fleet.Window
function window.new(size, ordered)
  local capacity = 1
  while capacity < size do capacity = capacity * 2 end
  return {
    size = size, ordered = ordered, capacity = capacity, mask = capacity - 1,
    items = {}, state = {}, values = {}, bytes = {},
    oldest = 1, newest = 0,
    ready = {}, ready_first = 1, ready_last = 0, -- finished ids, when unordered
    buffered = 0, dropped = 0,
  }
end

--- Admits an item as queued and returns its id, or nil when the window is full.
---@param self fleet.Window
---@param item any non-nil
---@return integer|nil id
function window.admit(self, item)
  local id = self.newest + 1
  if id - self.oldest >= self.size then return nil end
  local slot = id & self.mask
  self.items[slot], self.state[slot] = item, QUEUED
  if id <= self.capacity then -- the first lap allocates all arrays in order
    self.values[slot], self.bytes[slot] = NONE, 0
  end
  self.newest = id
  return id
end

--- Returns the batch, or the duplicate of one, that item `id` is in flight with on that worker in
--- that attempt; or nil. The range is compared because another id may have the same slot.
---@param self fleet.Window
---@param worker_id any
---@param id integer
---@param attempt integer
---@return table|nil
function window.find(self, worker_id, id, attempt)
  local batch = self.state[id & self.mask]
  if batch and batch.worker_id == worker_id and batch.attempt == attempt
    and id >= batch.first and id <= batch.last then
    return batch
  end
  local other = batch and batch.duplicate
  if other and other.worker_id == worker_id and other.attempt == attempt and other.first == id then
    return other
  end
end

--- Gives an unfinished item its value (outcome OK) or error (FAILED).
---@param self fleet.Window
---@param id integer
---@param outcome table
---@param value any
---@param bytes number size of the value
function window.resolve(self, id, outcome, value, bytes)
  local slot = id & self.mask
  self.state[slot] = outcome
  if value ~= nil then self.values[slot] = value end
  self.bytes[slot] = bytes
  self.buffered = self.buffered + bytes
  if not self.ordered then
    local last = self.ready_last + 1
    self.ready[last & self.mask] = id
    self.ready_last = last
  end
end

local function skip_released(self)
  local oldest, newest, state, mask = self.oldest, self.newest, self.state, self.mask
  while oldest <= newest and state[oldest & mask] == FREE do oldest = oldest + 1 end
  self.oldest = oldest
end

--- Releases the next finished item and forgets it: returns its id, the item, whether it succeeded,
--- and its value or error; nil when none is due.
---@param self fleet.Window
---@return integer|nil id
---@return any item
---@return boolean|nil ok
---@return any value
function window.pop(self)
  local id = self.oldest
  if not self.ordered then
    local first = self.ready_first
    if first > self.ready_last then return nil end
    id = self.ready[first & self.mask]
    self.ready_first = first + 1
  elseif id > self.newest then
    return nil
  end
  local slot = id & self.mask
  local state = self.state
  local outcome = state[slot]
  if outcome ~= OK and outcome ~= FAILED then return nil end
  local items, values = self.items, self.values
  local item, value = items[slot], values[slot]
  state[slot], items[slot], values[slot] = FREE, NONE, NONE
  self.buffered = self.buffered - self.bytes[slot]
  if id == self.oldest then
    self.oldest = id + 1
    if state[(id + 1) & self.mask] == FREE then skip_released(self) end
  end
  if value == NONE then value = nil end
  return id, item, outcome == OK, value
end

--- Forgets unfinished items first .. last; they are never released.
---@param self fleet.Window
---@param first integer
---@param last integer
function window.drop(self, first, last)
  for id = first, last do
    local slot = id & self.mask
    self.state[slot], self.items[slot] = FREE, NONE
  end
  self.dropped = self.dropped + last - first + 1
  skip_released(self)
end

return window
