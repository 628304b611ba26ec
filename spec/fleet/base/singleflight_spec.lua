-- SPDX-License-Identifier: MIT

local flight = require("fleet.base.singleflight")
local task = require("host.task")

describe("a flight", function()
  it("does work once for all who come meanwhile", function()
    local runs, results, left, done = 0, {}, 100, task.event()
    local f = flight.new(function()
      runs = runs + 1
      task.sleep(0.02)
      return "value", runs
    end)
    for i = 1, 100 do
      task.spawn(function()
        results[i] = { f:run() }
        left = left - 1
        if left == 0 then done:notify() end
      end)
    end
    assert(done:wait(60))
    for i = 1, 100 do assert.same({ "value", 1 }, results[i]) end
    assert.same({ "value", 2 }, { f:run() })
  end)

  it("goes on when one who waits is cancelled", function()
    local over = task.event()
    local f = flight.new(function()
      task.sleep(0.05)
      over:notify()
      return 1
    end)
    local first = task.start(function() return f:run() end)
    task.sleep(0.01)
    first:cancel()
    assert.equal(1, f:run())
    assert.is_true(over:wait(60))
  end)

  it("gives what was raised as an error, and can be run again", function()
    local fails = true
    local f = flight.new(function()
      if fails then error("broken") end
      return nil, "an error of its own"
    end)
    local value, err = f:run()
    assert.is_nil(value)
    assert.equal("raise", err.kind)
    assert.matches("broken", err.message)
    fails = false
    assert.same({ n = 2, nil, "an error of its own" }, table.pack(f:run()))
  end)
end)
