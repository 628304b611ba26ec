-- SPDX-License-Identifier: MIT
-- Connections that break, all at once, while node and driver live on.

local e2e = require("spec.support.e2e")

local JOB = [[
local fleet = require("fleet")
local http = require("fleet.http")
return { map = function(item)
  assert(http.get("%s/count/" .. item))
  fleet.sleep(0.02)
  return ("x"):rep(2000) .. item
end }
]]

describe("a map whose connections break by RST", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("goes on in its session, and runs nothing twice", function()
    local faults, node = world:fault_server(), world:node({ workers = 2 })
    local proxy, items = world:proxy(node), {}
    for i = 1, 3000 do items[i] = i end
    local program = world:program({
      "run", world:write("job.lua", JOB:format(faults.url)), world:items(items),
      "--peers", proxy.address, "--concurrency", "8", "--log-level", "info",
    })
    for i = 1, 4 do
      e2e.wait_until("results", function() return program:lines() >= i * 500 end)
      assert.equal(1, proxy.reset())
      e2e.wait_until("it to be mended", function()
        return select(2, program:err():gsub("node answers again", "")) >= i
      end)
    end
    local run = program:wait()
    assert.equal(0, run.code, run.err)
    assert.is_nil(run.err:find("node lost", 1, true), run.err)
    local results, counts = e2e.results(run.out), faults.counts()
    assert.equal(3000, #results)
    for i, result in ipairs(results) do
      assert.equal(("x"):rep(2000) .. i, result.value)
      assert.equal(1, counts[tostring(i)])
    end
  end)
end)
