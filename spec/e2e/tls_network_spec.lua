-- SPDX-License-Identifier: MIT
-- Patient: two machines, played by two network namespaces, from keygen to a job, as docs/fleet.md
-- says; and what becomes of it when the cable is cut.

local e2e = require("spec.support.e2e")
local netns = require("spec.support.netns")
local sys = require("host.sys")

local SLEEPER = [[
local fleet = require("fleet")
return { map = function(x) fleet.sleep(0.05) return x * 2 end }]]

describe("a fleet of two machines", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("works by the commands of the documentation, and notices a cable that is cut", function()
    local net, why = netns.new(world, "10.9.0.")
    if not net then return pending(why) end
    local far, near = { within = net.far.within }, { within = net.near.within }
    local peer = net.far.address .. ":5440"

    local run = world:run({ "serve", "--listen", "tcp://0.0.0.0:5440" }, far)
    assert.equal(2, run.code)
    assert.matches("will not listen on 0.0.0.0 without %-%-tls DIR", run.err)
    run = world:run({ "nodes", "--peers", net.far.address }, near)
    assert.same({ 2, ("moonfleet: %s: reachable only with --tls DIR or --ssh\n"):format(peer) },
      { run.code, run.err })

    local keys = world:path("keys")
    run = world:run({ "keygen", keys, "--fleet", "search" })
    assert.equal(0, run.code, run.err)
    local node = world:node({ url = "tcp://0.0.0.0:5440", within = net.far.within, workers = 2,
      name = "far", flags = { "--tls", keys .. "/node" } })
    local driver = { "--peers", net.far.address, "--tls", keys .. "/driver" }
    local function with(...)
      local words = { ... }
      return table.move(driver, 1, #driver, #words + 1, words)
    end
    run = world:run(with("nodes"), near)
    assert.equal(0, run.code, run.err)
    assert.matches("far +10.9.0.2 +ready +2", run.out)
    run = world:run(with("doctor"), near)
    assert.equal(0, run.code, run.out)
    run = world:run(with("run", world:write("job.lua", SLEEPER), "--items", "1", "2"), near)
    assert.equal(0, run.code, run.err)
    assert.matches("connected peer=10.9.0.1:%d+ cn=driver role=driver", node:err())

    local items = {}
    for i = 1, 100000 do items[i] = i end
    local program = world:program(with("run", world:write("job.lua", SLEEPER), world:items(items)),
      near)
    e2e.wait_until("results", function() return program:lines() >= 100 end)
    net.cut()
    local began = sys.now()
    e2e.wait_until("the loss", function() return program:err():find('msg="node lost"', 1, true) end,
      30)
    assert.is_true(sys.now() - began < 16, program:err())
    e2e.wait_until("the node to free it", function()
      return node:err():find("session expired: its driver is silent", 1, true)
    end, 30)
    assert.is_true(sys.now() - began < 20, node:err())
  end)
end)
