-- SPDX-License-Identifier: MIT
-- The notices of an instance's end, read from its metadata service again and again:
--
--   spot/instance-action                 a Spot instance goes in two minutes
--   autoscaling/target-lifecycle-state   the group wants the instance out of service
--   events/recommendations/rebalance     a Spot instance may go soon; said, not acted upon: the
--                                        group brings a replacement, and then the state changes
--
-- A node that drains in time loses nothing: it takes no more work, finishes what it has, leaves.
-- That needs no permission. The group's hook waits for its own time-out meanwhile (to end it
-- early takes autoscaling:CompleteLifecycleAction, which nodes do not have).

local log = require("fleet.log")
local task = require("host.task")
local time = require("fleet.aws.time")

local notices = {}

-- Seconds; as AWS advises (EC2 User Guide, "Spot Instance interruption notices").
local INTERVAL = 5

-- States after which the machine, or its memory, is gone. In "Standby", "Detached" and
-- "Warmed:Running" it lives on, and the node with it.
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

-- Why the node has to go, or nil; and an error of one of the questions.
local function reason_to_go(watch)
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

-- Once for each recommendation.
local function mention_rebalance(watch)
  local advice = watch.imds:rebalance()
  if advice and not watch.mentioned then
    log.warn("rebalance recommendation: this Spot instance is at risk of interruption", {
      noticed = advice.time and time.write(advice.time),
    })
  end
  watch.mentioned = advice ~= nil
end

-- An error is said once, until something else happens.
local function mention_error(watch, err)
  if err and err.message ~= watch.error then
    log.warn("cannot read the notices of this instance", { error = err.message })
  elseif not err and watch.error then
    log.info("the notices of this instance can be read again")
  end
  watch.error = err and err.message
end

--- Reads the notices until one says that the machine goes, and drains the node then. Waits.
---@param watch fleet.aws.Watch
function notices.watch(watch)
  local sleep = watch.sleep or task.sleep
  while not watch.draining() do
    local why, err = reason_to_go(watch)
    if why then return watch.drain(why) end
    mention_error(watch, err)
    if not err then mention_rebalance(watch) end
    sleep((watch.interval or INTERVAL) * (0.9 + math.random() / 5))
  end
end

return notices
