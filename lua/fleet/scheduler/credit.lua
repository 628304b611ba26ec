-- SPDX-License-Identifier: MIT
-- How many tasks one worker may have in flight. Tasks that compute must not queue on one worker
-- while another is idle, tasks that wait must fill the worker's slots, and trivial tasks must be
-- under way by the thousand to hide the round trip. So the credit is what the worker does in
-- HORIZON_SECONDS, learnt from its reports.

local check = require("fleet.base.check")

-- Work to have in flight: longer than any round trip in one region, short enough that no task waits
-- long behind others.
local HORIZON_SECONDS = 0.05
-- One task running and one waiting behind it.
local MIN_CREDIT = 2
local MAX_CREDIT = 4096
local INITIAL_CREDIT = 4
-- A report of n tasks weighs n against this many older ones.
local OLD_WEIGHT = 3
-- Slots gained by starvation that are taken back for each finished task.
local DECAY_PER_TASK = 1 / 4

local credit = {}

--- @class fleet.Credit
--- @field size integer tasks that may be in flight
local Credit = {}
Credit.__index = Credit

--- Makes the credit of a worker that has not reported yet.
---@param concurrency integer tasks that the worker runs at the same time
---@param batch integer|nil fixed number of tasks in a batch, a lower bound of the credit
---@return fleet.Credit
function credit.new(concurrency, batch)
  local min = math.max(MIN_CREDIT, batch or 0)
  return setmetatable({
    size = batch and min or INITIAL_CREDIT, concurrency = concurrency, min = min, floor = min,
  }, Credit)
end

--- Learns that `n` tasks have finished. The credit grows by at most one for each of them, so that a
--- few cheap tasks do not fetch thousands of expensive ones; it falls immediately. Impossible
--- numbers are ignored, as they come over the wire.
---@param n integer
---@param cpu number processor seconds they used together
---@param wall number sum of the seconds from start to end of each
function Credit:report(n, cpu, wall)
  if not (check.positive(n) and check.non_negative(cpu) and check.non_negative(wall))
    or n + cpu + wall == math.huge then
    return
  end
  local weight = self.cpu and n / (n + OLD_WEIGHT) or 1
  self.cpu = (self.cpu or 0) * (1 - weight) + cpu / n * weight
  self.wall = (self.wall or 0) * (1 - weight) + wall / n * weight
  local worth = math.min(HORIZON_SECONDS / self.cpu,
    self.concurrency + HORIZON_SECONDS * self.concurrency / self.wall)
  self.floor = math.max(self.min, self.floor - n * DECAY_PER_TASK)
  self.size = math.floor(math.max(self.floor, math.min(worth, self.size + n, MAX_CREDIT)))
end

--- Learns that all `running` tasks of the worker wait and that it has free slots: the credit
--- doubles, up to the concurrency, and for a while outlives reports that would lower it, since they
--- show a task that computes briefly and waits long as expensive. Ignored while most of the credit
--- is still on its way to the worker.
---@param running integer
function Credit:starved(running)
  if running * 2 < self.size then return end
  self.floor = math.max(self.floor, math.min(self.size * 2, self.concurrency))
  self.size = math.max(self.size, math.floor(self.floor))
end

return credit
