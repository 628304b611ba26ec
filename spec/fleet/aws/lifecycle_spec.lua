-- SPDX-License-Identifier: MIT

local errors = require("fleet.errors")
local lifecycle = require("fleet.aws.lifecycle")
local log = require("fleet.log")

describe("fleet.aws.lifecycle", function()
  local warn, info = log.warn, log.info
  local logged, states, calls, refusal, group, slept
  before_each(function()
    logged, states, calls, refusal, group, slept = {}, {}, {}, nil, "moonfleet-search", 0
    local function note(message, fields)
      logged[#logged + 1] = message .. (fields and fields.error and ": " .. fields.error or "")
    end
    log.warn, log.info = note, note
  end)
  after_each(function() log.warn, log.info = warn, info end)

  -- An instance whose target states are those of `states`, the last one for ever; the end of the
  -- list of `sleeps` ends what runs.
  local function new(hook, sleeps)
    return lifecycle.new({
      hook = hook,
      view = {
        imds = {
          instance_id = function() return "i-1" end,
          tag = function(_, key)
            assert.equal("aws:autoscaling:groupName", key)
            return group
          end,
          lifecycle_state = function()
            local state = #states > 1 and table.remove(states, 1) or states[1]
            if state == "error" then return nil, { message = "no answer" } end
            return state
          end,
        },
        query = function(_, service, version, action, params, options)
          assert.same({ "autoscaling", "2011-01-01" }, { service, version })
          calls[#calls + 1] = { action = action, params = params, options = options }
          if refusal then return nil, errors.new(refusal) end
          return "<xml/>"
        end,
      },
      sleep = function()
        slept = slept + 1
        if slept > (sleeps or math.huge) then error("enough", 0) end
      end,
    })
  end

  it("knows the states in which a node serves no more, and those of a warm pool", function()
    for state, is in pairs({ Terminated = true, ["Warmed:Stopped"] = true,
      ["Warmed:Running"] = true, InService = false, Standby = false, Detached = false }) do
      assert.equal(is, lifecycle.is_leaving(state), state)
    end
    assert.is_false(lifecycle.is_leaving(nil))
    assert.is_true(lifecycle.is_warm("Warmed:Hibernated"))
    assert.is_false(lifecycle.is_warm("Terminated"))
    assert.is_false(lifecycle.is_warm(nil))
  end)

  it("waits in a warm pool until the instance is in service", function()
    states = { "Warmed:Stopped", "Warmed:Stopped", "error", "Warmed:Running", "InService" }
    new():wait_for_service()
    assert.equal(4, slept)
    assert.equal(4, #logged)
    assert.equal("the instance is put into service", logged[4])
    assert.same({}, calls)
    states, slept = {}, 0 -- in no group any more
    new():wait_for_service()
    assert.equal(0, slept)
  end)

  it("keeps the group waiting while the node drains, and only then", function()
    states = { "InService", "Terminated" }
    pcall(new("drain", 3).keep_waiting, new("drain", 3))
    assert.equal(3, #calls)
    assert.same({ LifecycleHookName = "drain", AutoScalingGroupName = "moonfleet-search",
      InstanceId = "i-1" }, calls[1].params)
    assert.equal("RecordLifecycleActionHeartbeat", calls[1].action)
  end)

  it("completes the action when the node has drained", function()
    states = { "Terminated" }
    assert.is_false(new("drain"):complete())
    assert.same({ LifecycleHookName = "drain", AutoScalingGroupName = "moonfleet-search",
      InstanceId = "i-1", LifecycleActionResult = "CONTINUE" }, calls[1].params)
    assert.equal("CompleteLifecycleAction", calls[1].action)
    assert.is_true(3 * calls[1].options.timeout < 60) -- all attempts, in INSTANCE_MONITOR_LIMIT
    states = { "Warmed:Stopped" } -- from the group into its warm pool
    assert.is_true(new("drain"):complete())
    assert.equal(2, #calls)
    states = { "InService" } -- stopped by somebody
    assert.is_false(new("drain"):complete())
    states = { "Terminated" }
    assert.is_false(new():complete())
    assert.equal(2, #calls)
  end)

  it("says in words what keeps it from that, once, and harms nothing", function()
    states, group = { "Terminated" }, nil
    new("drain"):complete()
    assert.matches("its hook runs into its timeout: the group of this instance is unknown: its "
      .. "metadata has no tag aws:autoscaling:groupName", logged[1])
    assert.same({}, calls)
    group, refusal = "g", { kind = "service", code = "ValidationError", message = "No active" }
    new("drain"):complete()
    assert.matches("no hook drain waits for this instance %(No active%)", logged[2])
    refusal = { kind = "service", code = "AccessDenied", message = "lacks it" }
    pcall(new("drain", 3).keep_waiting, new("drain", 3))
    assert.equal(3, #logged)
    assert.equal("the Auto Scaling group may not wait until this node has drained: lacks it",
      logged[3])
    states = { "error" }
    assert.is_false(new("drain"):complete())
  end)
end)
