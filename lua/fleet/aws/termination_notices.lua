-- SPDX-License-Identifier: MIT
-- Polls the metadata service of an instance for notices that the instance will end:
--
--   spot/instance-action                 a Spot instance ends in two minutes
--   autoscaling/target-lifecycle-state   the group takes the instance out of service, for good or
--                                        into its warm pool
--   events/recommendations/rebalance     a Spot instance may end soon; only logged: the group
--                                        starts a replacement, then the state changes
--
-- A node that drains in time loses nothing: it accepts no more work, finishes what it has, and
-- leaves. That needs no permission. fleet.aws.lifecycle has a group wait for it.

local lifecycle = require("fleet.aws.lifecycle")
local log = require("fleet.log")
local task = require("host.task")
local time = require("fleet.aws.time")

local termination_notices = {}

-- Seconds, as AWS advises (EC2 User Guide, "Spot Instance interruption notices").
local POLL_INTERVAL = 5

-- Seconds before the time of a Spot interruption by which the node has left.
local SPOT_MARGIN = 15
-- Seconds from a notice to the interruption, as AWS says: when the notice has no time, or one that
-- cannot be, since one of the clocks is wrong.
local SPOT_NOTICE = 120

--- @class fleet.aws.Watch
--- @field imds fleet.aws.Imds
--- @field drain fun(reason: string, seconds: number|nil) `seconds`: what has not finished by then
---  is given up
--- @field draining fun(): boolean
--- @field interval number|nil seconds
--- @field sleep fun(seconds: number)|nil

-- What a Spot interruption is called, or nil; an error; and the seconds that the node has.
local function spot_interruption(watch)
  local spot, err = watch.imds:spot_action()
  if not spot then return nil, err end
  local left = spot.time and spot.time - os.time() or SPOT_NOTICE
  if left <= 0 or left > SPOT_NOTICE then left = SPOT_NOTICE end
  return ("Spot interruption: %s%s"):format(spot.action,
    spot.time and (" at %s UTC"):format(time.write(spot.time):sub(12, 19)) or ""), nil,
    math.max(0, left - SPOT_MARGIN)
end

-- Why the node has to leave, or nil; an error of one of the requests; and the seconds that it has,
-- if they are known.
local function reason_to_leave(watch)
  local imds = watch.imds
  local spot, spot_error, left = spot_interruption(watch)
  if spot then return spot, nil, left end
  local state, state_error = imds:lifecycle_state()
  if lifecycle.is_leaving(state) then return "Auto Scaling: target lifecycle state " .. state end
  return nil, spot_error or state_error
end

-- Logs each recommendation once.
local function log_rebalance(watch)
  local advice = watch.imds:rebalance()
  if advice and not watch.is_advised then
    log.warn("rebalance recommendation: this Spot instance is at risk of interruption", {
      noticed = advice.time and time.write(advice.time),
    })
  end
  watch.is_advised = advice ~= nil
end

-- Logs an error when it first occurs, and once when it is over.
local function log_error(watch, err)
  if err and err.message ~= watch.error then
    log.warn("cannot read the termination notices of this instance", { error = err.message })
  elseif not err and watch.error then
    log.info("the termination notices of this instance can be read again")
  end
  watch.error = err and err.message
end

-- Between two polls.
local function pause(watch)
  (watch.sleep or task.sleep)((watch.interval or POLL_INTERVAL) * (0.9 + math.random() / 5))
end

--- Polls until a notice says that the machine will end, then drains the node. Waits.
---@param watch fleet.aws.Watch
function termination_notices.watch(watch)
  while not watch.draining() do
    local reason, err, seconds = reason_to_leave(watch)
    if reason then return watch.drain(reason, seconds) end
    log_error(watch, err)
    if not err then log_rebalance(watch) end
    pause(watch)
  end
end

--- Polls for a Spot interruption of an instance whose node drains already: its group may have
--- replaced it because of a recommendation. Then there is a limit for the drain. Waits.
---@param watch fleet.aws.Watch
function termination_notices.limit(watch)
  while true do
    local reason, _, seconds = spot_interruption(watch)
    if reason then return watch.drain(reason, seconds) end
    pause(watch)
  end
end

return termination_notices
