-- SPDX-License-Identifier: MIT
local log = require("fleet.log")
local notices = require("fleet.aws.termination_notices")

describe("fleet.aws.notices", function()
  local warn, info = log.warn, log.info
  local said, rounds, drained, left
  before_each(function()
    said, rounds, drained, left = {}, 0, nil, nil
    log.warn = function(message, fields)
      said[#said + 1] = message .. " " .. (fields.error or "")
    end
    log.info = function(message) said[#said + 1] = message end
  end)
  after_each(function() log.warn, log.info = warn, info end)

  -- Watches a service that answers each round with {spot action, state, rebalance}; an entry that
  -- is a string is an error of all three. It drains after the last.
  local function watch(script)
    local function answer(name)
      return function()
        local round = script[rounds + 1] or {}
        if type(round) == "string" then return nil, { kind = "timeout", message = round } end
        return round[name]
      end
    end
    local slept = {}
    notices.watch({
      imds = {
        spot_action = answer("spot"), lifecycle_state = answer("state"),
        rebalance = answer("rebalance"),
      },
      drain = function(why, seconds) drained, left = why, seconds end,
      draining = function() return rounds >= #script end,
      sleep = function(seconds)
        slept[#slept + 1] = seconds
        rounds = rounds + 1
      end,
    })
    return slept
  end

  it("looks every five seconds while nothing is to be said", function()
    local slept = watch({ {}, { state = "InService" }, {} })
    assert.is_nil(drained)
    assert.same({}, said)
    for _, seconds in ipairs(slept) do assert.is_true(seconds >= 4.5 and seconds <= 5.5) end
  end)

  it("drains at a Spot interruption", function()
    watch({ {}, { spot = { action = "terminate", time = 1700000000 } }, {} })
    assert.equal("Spot interruption: terminate at 22:13:20 UTC", drained)
    assert.equal(105, left) -- it is over, and the machine lives: a wrong clock
    rounds = 0
    watch({ { spot = { action = "terminate", time = os.time() + 120 } } })
    assert.is_true(left > 100 and left <= 105, left)
    rounds = 0
    watch({ { spot = { action = "stop" } } })
    assert.equal(105, left) -- two minutes, as AWS says
  end)

  it("limits a drain that began before the Spot interruption", function()
    local polls = 0
    notices.limit({
      imds = { spot_action = function()
        polls = polls + 1
        return polls == 3 and { action = "stop" } or nil
      end },
      drain = function(why, seconds) drained, left = why, seconds end, sleep = function() end,
    })
    assert.same({ "Spot interruption: stop", 105, 3 }, { drained, left, polls })
  end)

  it("drains when the group wants the machine gone, not when it is to be set aside", function()
    watch({ { state = "InService" }, { state = "Standby" }, { state = "Detached" },
      { state = "Pending" } })
    assert.is_nil(drained)
    for _, state in ipairs({ "Terminated", "Warmed:Stopped", "Warmed:Running",
      "Warmed:Hibernated", "Warmed:Terminated" }) do
      rounds, drained = 0, nil
      watch({ { state = "InService" }, { state = state }, {} })
      assert.equal("Auto Scaling: target lifecycle state " .. state, drained)
      assert.equal(1, rounds)
    end
  end)

  it("mentions a rebalance recommendation once, and goes on", function()
    watch({ {}, { rebalance = { time = 1 } }, { rebalance = { time = 1 } }, {},
      { rebalance = {} } })
    assert.is_nil(drained)
    assert.equal(2, #said)
    assert.matches("^rebalance recommendation", said[1])
  end)

  it("says once that the service does not answer, and once that it does again", function()
    watch({ "no answer", "no answer", "refused", {}, {}, "no answer" })
    assert.same({
      "cannot read the termination notices of this instance no answer",
      "cannot read the termination notices of this instance refused",
      "the termination notices of this instance can be read again",
      "cannot read the termination notices of this instance no answer",
    }, said)
  end)

  it("does not ask any more when the node drains already", function()
    watch({})
    assert.is_nil(drained)
  end)
end)
