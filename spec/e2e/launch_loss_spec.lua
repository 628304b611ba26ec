-- SPDX-License-Identifier: MIT
-- Patient: a frozen node is lost after 15 seconds, and ends by itself after 60.
--
-- Nodes of ssh, of a real sshd of this machine, that die, freeze and lose their driver in the
-- middle of a map.

local e2e = require("spec.support.e2e")
local jobs = require("spec.support.jobs")
local launching = require("spec.support.launching")
local sshd = require("spec.support.sshd")
local sys = require("host.sys")

local ITEMS = 3000
-- One of several workers does 20 a second of these.
local SLOW = [[
local fleet = require("fleet")
return { options = { concurrency = 4 }, map = function(item)
  fleet.sleep(0.2)
  return tonumber(item)
end }
]]
local SLOW_ITEMS = 500

-- About a millisecond for each item.
local BUSY = jobs.busy(e2e.sanitized and 10000 or 100000)

describe("a map on nodes of ssh", function()
  local world, host
  before_each(function()
    world = e2e.new()
    host = sshd.start(world)
  end)
  after_each(function() world:close() end)

  -- Starts a map on `count` nodes with a worker each, and returns in the middle of it.
  local function start(count, job, last, ...)
    local items, targets = {}, {}
    for i = 1, last or ITEMS do items[i] = i end
    for i = 1, count do targets[i] = "1/" .. host.target end
    local driver = world:program({
      "run", world:write("job.lua", job or BUSY), world:items(items), "--ssh",
      table.concat(targets, ","), "--ssh-command", host.command, ...,
    })
    e2e.wait_until("results", function()
      return driver:lines() >= #items / 10 or not driver:alive()
    end)
    assert.is_true(driver:alive(), driver:err())
    return driver
  end

  -- Each item must have its result, once and in its place.
  local function check_done(driver, last)
    local run = driver:wait()
    assert.equal(0, run.code, run.err)
    local results = e2e.results(run.out)
    assert.equal(last or ITEMS, #results)
    for i, result in ipairs(results) do
      assert.same({ item = tostring(i), value = i }, result)
    end
  end

  it("goes on when nodes are killed, and starts them again", function()
    local driver = start(3, SLOW, SLOW_ITEMS)
    local before = launching.processes(world)
    assert.same({ 3, 3, 3 }, { #before.nodes, #before.workers, #before.connections })
    e2e.kill(before.nodes[1], "KILL")
    e2e.wait_until("the same number of nodes again", function()
      local now = launching.processes(world)
      return #now.nodes == 3 and now.nodes[1] ~= before.nodes[1] or not driver:alive()
    end)
    assert.is_true(driver:alive())
    e2e.kill(launching.processes(world).connections[1], "KILL")
    check_done(driver, SLOW_ITEMS)
    launching.wait_gone(world)
  end)

  it("goes on when the only node is killed", function()
    local driver = start(1)
    e2e.kill(launching.processes(world).nodes[1], "KILL")
    check_done(driver)
    launching.wait_gone(world)
  end)

  it("leaves nothing there when the driver is killed", function()
    local driver = start(2)
    driver:kill("KILL")
    launching.wait_gone(world, 3)
  end)

  it("leaves nothing there when it is interrupted twice", function()
    local driver = start(2)
    driver:kill("INT")
    driver:kill("INT")
    assert.equal(130, driver:wait().code)
    launching.wait_gone(world)
  end)

  it("gives up a host that freezes after 15 s; its node ends by itself within 65 s", function()
    local driver = start(2, SLOW, SLOW_ITEMS, "--log-level", "info")
    local node = launching.processes(world).nodes[1]
    local frozen = launching.ancestors(node, host.process.pid)
    assert.is_true(#frozen > 0)
    for _, pid in ipairs(frozen) do e2e.kill(pid, "STOP") end
    local since = sys.now()
    local function passed(what, text)
      e2e.wait_until(what, function() return driver:err():find(text, 1, true) end)
      return sys.now() - since
    end
    local suspected = passed("the suspicion", "node does not answer")
    assert.is_true(suspected >= 4 and suspected < 8, suspected)
    local lost = passed("the loss", "node lost")
    assert.is_true(lost >= 14 and lost < 16, lost)
    check_done(driver, SLOW_ITEMS)
    e2e.wait_until("the end of the node", function() return not e2e.alive(node) end,
      65 - (sys.now() - since))
    for _, pid in ipairs(frozen) do e2e.kill(pid, "CONT") end
    launching.wait_gone(world)
  end)
end)
