-- SPDX-License-Identifier: MIT
local parallel = require("fleet.base.parallel")
local task = require("host.task")

describe("parallel.each", function()
  it("runs all at the same time and waits for the last", function()
    local order = {}
    parallel.each({ 0.02, 0.001, 0.01 }, function(seconds)
      task.sleep(seconds)
      order[#order + 1] = seconds
    end)
    assert.same({ 0.001, 0.01, 0.02 }, order)
    parallel.each({}, error)
  end)

  it("runs no more at a time than it may", function()
    local running, most, seen = 0, 0, {}
    parallel.each({ 1, 2, 3, 4, 5, 6, 7 }, function(n)
      running = running + 1
      most = math.max(most, running)
      task.sleep(0.001)
      running, seen[n] = running - 1, true
    end, 3)
    assert.equal(3, most)
    assert.equal(7, #seen)
  end)

  it("raises what one of them raised, when all have ended", function()
    local ended = 0
    assert.has_error(function()
      parallel.each({ 1, 2, 3 }, function(n)
        if n == 2 then error("no", 0) end
        task.sleep(0.001)
        ended = ended + 1
      end)
    end, "no")
    assert.equal(2, ended)
  end)
end)
