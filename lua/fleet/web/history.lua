-- SPDX-License-Identifier: MIT
-- What has happened to the fleet since the program began: changes of nodes, and results per second
-- over the last hour.

local history = {}

-- Seconds of a sample; samples and events that are kept.
history.INTERVAL = 10
local MAX_SAMPLES, MAX_EVENTS = 360, 50

--- @class fleet.WebHistory
--- @field events {time: integer, words: string}[] the newest first
--- @field samples number[] results per second, the oldest first
local History = {}
History.__index = History

---@return fleet.WebHistory
function history.new()
  return setmetatable({ events = {}, samples = {}, states = {}, results = 0 }, History)
end

local function add_event(self, time, words)
  table.insert(self.events, 1, { time = time, words = words })
  self.events[MAX_EVENTS + 1] = nil
end

local function reason_of(n)
  return n.error and (": %s"):format(n.error) or ""
end

--- Takes up the nodes as they are now.
---@param nodes table[] as of fleet.nodes
---@param time integer seconds since 1970
function History:see(nodes, time)
  local seen = {}
  for _, n in ipairs(nodes) do
    local before = self.states[n.address]
    seen[n.address] = { name = n.name, state = n.state }
    if not before then
      add_event(self, time, ("%s was found and is %s%s"):format(n.name, n.state, reason_of(n)))
    elseif before.state ~= n.state then
      add_event(self, time, ("%s was %s and is %s%s"):format(n.name, before.state, n.state,
        reason_of(n)))
    end
  end
  for address, before in pairs(self.states) do
    if not seen[address] then
      add_event(self, time, ("%s left the fleet; it was %s"):format(before.name, before.state))
    end
  end
  self.states = seen
end

--- Counts results.
---@param n integer
function History:count(n) self.results = self.results + n end

--- Ends a sample of history.INTERVAL seconds.
function History:sample()
  self.samples[#self.samples + 1] = self.results / history.INTERVAL
  if #self.samples > MAX_SAMPLES then table.remove(self.samples, 1) end
  self.results = 0
end

--- Returns the samples as points of a plot, "x,y x,y ...", and the largest.
---@param width number
---@param height number
---@return string
---@return number
function History:points(width, height)
  local most, list = 0, {}
  for _, value in ipairs(self.samples) do most = math.max(most, value) end
  local from = MAX_SAMPLES - #self.samples
  for i, value in ipairs(self.samples) do
    local y = most > 0 and height - value / most * height or height
    local left, right = from + i - 1, from + i -- of a step
    list[i] = ("%.1f,%.1f %.1f,%.1f"):format(left / MAX_SAMPLES * width, y,
      right / MAX_SAMPLES * width, y)
  end
  return table.concat(list, " "), most
end

return history
