-- SPDX-License-Identifier: MIT
-- Connections that break, all at once, while node and driver live on.

local counted = require("spec.support.counted")
local e2e = require("spec.support.e2e")

describe("a map whose connections break by RST", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("goes on in its session, and runs nothing twice", function()
    local proxy = world:proxy(world:node({ workers = 2 }))
    local map = counted.start(world, {
      items = 3000, seconds = 0.02, result = '("x"):rep(2000) .. item',
      flags = { "--peers", proxy.address, "--concurrency", "8" },
    })
    map:break_connections(proxy, 4, 500)
    map:check(function(item) return ("x"):rep(2000) .. item end)
  end)
end)
