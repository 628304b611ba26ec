-- SPDX-License-Identifier: MIT
-- The life of an instance in its Auto Scaling group, as its node sees it: it begins when the group
-- puts the instance into service (one in a warm pool waits), and ends when the group takes it out.
-- With a lifecycle hook the group then waits for the node: it records heartbeats while it drains,
-- and completes the action when it has drained. That takes CompleteLifecycleAction and
-- RecordLifecycleActionHeartbeat of autoscaling for the group; without, the hook runs into its own
-- timeout. May wait.

local errors = require("fleet.errors")
local log = require("fleet.log")
local task = require("host.task")

local lifecycle = {}

local API_VERSION = "2011-01-01"
-- The tag that Auto Scaling gives to the instances of a group.
local GROUP_TAG = "aws:autoscaling:groupName"
-- Seconds between two polls of the state, and between two heartbeats; a hook waits for at least 30.
local POLL_INTERVAL = 5
local HEARTBEAT_INTERVAL = 20
-- Seconds of one attempt to complete the action: the node leaves in any case, see
-- INSTANCE_MONITOR_LIMIT.
local TIMEOUT = 10

--- @class fleet.aws.Lifecycle
--- @field view fleet.Aws
--- @field hook string|nil name of the hook; nil: there is none
--- @field state string|nil the target state, as last seen
--- @field has_drained boolean|nil whether the node of the instance has drained
--- @field sleep fun(seconds: number)
local Lifecycle = {}
Lifecycle.__index = Lifecycle

---@param options {view: fleet.Aws, hook: string|nil, sleep: (fun(seconds: number))|nil}
---@return fleet.aws.Lifecycle
function lifecycle.new(options)
  return setmetatable({
    view = options.view, hook = options.hook, sleep = options.sleep or task.sleep,
  }, Lifecycle)
end

--- Reads the target state of the instance; nil when it is in no group.
---@return string|nil
---@return fleet.Error|nil
function Lifecycle:read()
  local state, err = self.view.imds:lifecycle_state()
  if not err then self.state = state end
  return state, err
end

--- Whether a target state is that of an instance in a warm pool, or on its way there.
---@param state string|nil
---@return boolean
function lifecycle.is_warm(state)
  return state ~= nil and state:find("^Warmed:") ~= nil
end

--- Whether a target state is that of an instance whose node serves no more: it ends, or goes into
--- the warm pool. In "Standby" and "Detached" it does.
---@param state string|nil
---@return boolean
function lifecycle.is_leaving(state)
  return state == "Terminated" or lifecycle.is_warm(state)
end

--- Waits until the group puts the instance, which is in its warm pool, into service.
function Lifecycle:wait_for_service()
  local logged
  while true do
    local state, err = self:read()
    if not err and not lifecycle.is_warm(state) then
      log.info("the instance is put into service", { state = state })
      return
    end
    local why = err and err.message or state
    if why ~= logged then log.info("waiting in the warm pool", { state = why }) end
    logged = why
    self.sleep(POLL_INTERVAL)
  end
end

-- Calls an action for the hook of this instance, or returns nil and an error.
local function call(self, action, more, options)
  local imds = self.view.imds
  local id, err = imds:instance_id()
  if not id then return nil, err end
  local group
  group, err = imds:tag(GROUP_TAG)
  if not group then
    return nil, err or errors.format("config", "the group of this instance is unknown: its "
      .. "metadata has no tag %s (InstanceMetadataTags of the launch template)", GROUP_TAG)
  end
  more.LifecycleHookName, more.AutoScalingGroupName, more.InstanceId = self.hook, group, id
  return self.view:query("autoscaling", API_VERSION, action, more, options)
end

-- In words what a refusal means.
local function explain(self, err)
  if err.code == "ValidationError" then
    return ("no hook %s waits for this instance (%s)"):format(self.hook, err.message)
  end
  return err.message
end

--- Records heartbeats for as long as the group waits for this instance, whose node drains.
function Lifecycle:keep_waiting()
  local logged
  while not self.has_drained do
    if lifecycle.is_leaving(self:read()) and not self.has_drained then
      local _, err = call(self, "RecordLifecycleActionHeartbeat", {})
      local why = err and explain(self, err)
      if why and why ~= logged then
        log.warn("the Auto Scaling group may not wait until this node has drained", { error = why })
      end
      logged = why
    end
    self.sleep(HEARTBEAT_INTERVAL)
  end
end

--- Tells the group, when it waits for this instance to leave, that it need not any more.
---@return boolean whether the instance goes into the warm pool, where a node is to wait
function Lifecycle:complete()
  self.has_drained = true
  self:read()
  local is_warm = lifecycle.is_warm(self.state)
  if not self.hook or not lifecycle.is_leaving(self.state) then return is_warm end
  local _, err = call(self, "CompleteLifecycleAction", { LifecycleActionResult = "CONTINUE" },
    { timeout = TIMEOUT })
  if err then
    log.warn("the Auto Scaling group is not told that this node has drained: its hook runs into "
      .. "its timeout", { error = explain(self, err) })
  else
    log.info("the Auto Scaling group knows that this node has drained", { hook = self.hook })
  end
  return is_warm
end

return lifecycle
