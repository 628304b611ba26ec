-- SPDX-License-Identifier: MIT
-- Polls the metadata service of an instance for notices that the instance will end:
--
--   spot/instance-action                 a Spot instance ends in two minutes
--   autoscaling/target-lifecycle-state   the group takes the instance out of service
--   events/recommendations/rebalance     a Spot instance may end soon; only logged: the group
--                                        starts a replacement, then the state changes
--
-- A node that drains in time loses nothing: it accepts no more work, finishes what it has, and
-- leaves. That needs no permission. The group's lifecycle hook runs into its own timeout (to
-- complete it earlier takes autoscaling:CompleteLifecycleAction, which nodes do not have).

local log = require("fleet.log")
local task = require("host.task")
local time = require("fleet.aws.time")

local termination_notices = {}

-- Seconds, as AWS advises (EC2 User Guide, "Spot Instance interruption notices").
local POLL_INTERVAL = 5

-- States in which the machine, or its memory, is lost. In "Standby", "Detached" and
-- "Warmed:Running" the machine and its node live on.
local FINAL = {
  Terminated = true, ["Warmed:Terminated"] = true, ["Warmed:Stopped"] = true,
  ["Warmed:Hibernated"] = true,
}

--- @class fleet.aws.Watch
--- @field imds fleet.aws.Imds
--- @field drain fun(reason: string)
--- @field draining fun(): boolean
--- @field interval number|nil seconds
--- @field sleep fun(seconds: number)|nil

-- Why the node has to leave, or nil; and an error of one of the requests.
local function reason_to_leave(watch)
  local imds = watch.imds
  local spot, spot_error = imds:spot_action()
  if spot then
    return ("Spot interruption: %s%s"):format(spot.action,
      spot.time and (" at %s UTC"):format(time.write(spot.time):sub(12, 19)) or "")
  end
  local state, state_error = imds:lifecycle_state()
  if state and FINAL[state] then return "Auto Scaling: target lifecycle state " .. state end
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

--- Polls until a notice says that the machine will end, then drains the node. Waits.
---@param watch fleet.aws.Watch
function termination_notices.watch(watch)
  local sleep = watch.sleep or task.sleep
  while not watch.draining() do
    local reason, err = reason_to_leave(watch)
    if reason then return watch.drain(reason) end
    log_error(watch, err)
    if not err then log_rebalance(watch) end
    sleep((watch.interval or POLL_INTERVAL) * (0.9 + math.random() / 5))
  end
end

return termination_notices
