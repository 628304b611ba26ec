-- SPDX-License-Identifier: MIT
local atomic = require("fleet.base.atomic")
local jobs = require("spec.support.jobs")
local task = require("host.task")

describe("atomic.call", function()
  it("passes arguments and results through", function()
    local function all(...) return ... end
    assert.same({ n = 3, 1, nil, 3 }, table.pack(atomic.call(all, 1, nil, 3)))
    assert.same({ n = 3 }, table.pack(atomic.call(function() end)))
  end)

  it("lets errors through as they are", function()
    local thrown = {}
    local ok, err = pcall(atomic.call, function() error(thrown) end)
    assert.is_false(ok)
    assert.equal(thrown, err)
  end)

  it("lets nothing wait", function()
    local ok, message = pcall(atomic.call, task.sleep, 0)
    assert.is_false(ok)
    assert.matches("sleep cannot wait here", message, 1, true)
  end)

  it("is not preempted, and a loop outside of it is", function()
    local fleet = jobs.open(1)
    finally(function() fleet:close() end)
    -- each task marks the state as its own for a good while: does another see the mark?
    local body = [[
      local seen = 0
      local function mark()
        if busy then seen = seen + 1 end
        busy = true
        for _ = 1, 2e6 do end
        busy = false
      end
      for _ = 1, 3 do
        if %s then ("x"):gsub("x", mark) else mark() end
      end
      return seen
    ]]
    local function seen(atomically)
      local values = fleet:values(body:format(atomically), { 1, 2, 3 },
        { scheduler = { batch = 3 } })
      return values[1] + values[2] + values[3]
    end
    assert.equal(0, seen("true"))
    assert.is_true(seen("false") > 0)
  end)
end)
