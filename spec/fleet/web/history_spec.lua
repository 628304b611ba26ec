-- SPDX-License-Identifier: MIT
local history = require("fleet.web.history")

describe("web.history", function()
  local function node(name, state, err)
    return { name = name, address = name .. ":1", state = state, error = err }
  end

  local function words(h)
    local list = {}
    for i, event in ipairs(h.events) do list[i] = event.words end
    return list
  end

  it("tells what has happened to nodes, the newest first", function()
    local h = history.new()
    h:see({ node("a", "ready"), node("b", "down", "refused") }, 1)
    h:see({ node("a", "ready"), node("b", "ready") }, 2)
    h:see({ node("b", "draining") }, 3)
    assert.same({
      "a left the fleet; it was ready", "b was ready and is draining", "b was down and is ready",
      "b was found and is down: refused", "a was found and is ready",
    }, words(h))
    assert.equal(3, h.events[1].time)
  end)

  it("keeps the last events", function()
    local h = history.new()
    for i = 1, 100 do h:see({ node("a", i % 2 == 0 and "ready" or "down") }, i) end
    assert.equal(50, #h.events)
    assert.equal(100, h.events[1].time)
  end)

  it("draws the last hour", function()
    local h = history.new()
    assert.same({ "", 0 }, { h:points(360, 100) })
    h:count(50)
    h:count(50)
    h:sample()
    h:sample()
    h:count(50)
    h:sample()
    assert.same({
      "357.0,0.0 358.0,0.0 358.0,100.0 359.0,100.0 359.0,50.0 360.0,50.0", 10,
    }, { h:points(360, 100) })
    for _ = 1, 1000 do h:sample() end
    assert.equal(360, #h.samples)
    assert.matches("^0.0,100.0 1.0,100.0 ", (h:points(360, 100)))
  end)
end)
