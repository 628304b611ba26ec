-- SPDX-License-Identifier: MIT
-- How many tasks one worker may have in flight. Three kinds of work want three
-- answers: tasks that compute must not queue deep on one worker while another
-- is free, tasks that wait must fill the worker's slots, and trivial tasks must
-- be under way by the thousand to hide the round trip. So the credit is what
-- the worker does in HORIZON seconds, learnt from its reports.

local check = require("fleet.base.check")

-- Seconds of work to have in flight: longer than any round trip in one region,
-- short enough that nobody waits for a queue on another worker.
local HORIZON = 0.05
-- One task running and one waiting behind it.
local LEAST = 2
local MOST = 4096
local START = 4
-- A report of n tasks weighs n against this many older ones.
local MEMORY = 3
-- Slots raised by hunger that are taken back for each finished task.
local DECAY = 1 / 4

local credit = {}

--- @class fleet.Credit
--- @field size integer tasks that may be in flight
local Credit = {}
Credit.__index = Credit

--- Makes the credit of a worker that nothing is known of.
---@param concurrency integer tasks that the worker runs at the same time
---@param batch integer|nil fixed number of tasks in a batch; the credit never
--- falls below it
---@return fleet.Credit
function credit.new(concurrency, batch)
  local least = math.max(LEAST, batch or 0)
  return setmetatable({
    size = batch and least or START,
    concurrency = concurrency,
    least = least,
    floor = least,
  }, Credit)
end

--- Learns that `n` tasks have finished. The credit grows by at most one for
--- each of them, so that a few cheap tasks do not fetch thousands of dear ones;
--- it falls at once. Numbers that make no sense are ignored: they come over the
--- wire.
---@param n integer
---@param cpu number processor seconds they used together
---@param wall number sum of the seconds from start to end of each
function Credit:report(n, cpu, wall)
  if not (check.positive(n) and check.non_negative(cpu) and check.non_negative(wall))
    or n + cpu + wall == math.huge then
    return
  end
  local weight = self.cpu and n / (n + MEMORY) or 1
  self.cpu = (self.cpu or 0) * (1 - weight) + cpu / n * weight
  self.wall = (self.wall or 0) * (1 - weight) + wall / n * weight
  local worth = math.min(HORIZON / self.cpu,
    self.concurrency + HORIZON * self.concurrency / self.wall)
  self.floor = math.max(self.least, self.floor - n * DECAY)
  self.size = math.floor(math.max(self.floor, math.min(worth, self.size + n, MOST)))
end

--- Learns that all `running` tasks of the worker wait and slots are free: the
--- credit doubles, up to the concurrency. It then outlives reports that would
--- lower it for a while, since a task that computes for a moment and waits for
--- long looks dear to them. Ignored while most of the credit is still on its
--- way to the worker.
---@param running integer
function Credit:starved(running)
  if running * 2 < self.size then return end
  self.floor = math.max(self.floor, math.min(self.size * 2, self.concurrency))
  self.size = math.max(self.size, math.floor(self.floor))
end

return credit
