-- SPDX-License-Identifier: MIT
-- Connections that break, all at once, while node and driver live on. A node on descriptors ends
-- with them instead: fault_map_spec.lua.

local carriers = require("spec.support.carriers")
local counted = require("spec.support.counted")

local function value(item) return ("x"):rep(2000) .. item end

local function break_connections(carrier, world)
  if not carrier.listens then return end
  local proxy = world:proxy(carrier.fleet(world, 1).nodes[1])
  local map = counted.start(world, {
    items = 3000, seconds = 0.02, result = '("x"):rep(2000) .. item',
    flags = { "--peers", proxy.address, "--concurrency", "8" },
  })
  map:break_connections(proxy, 4, 500)
  map:check(value)
end

describe("a map whose connections break", function()
  local breaks
  setup(function() breaks = carriers.at_once(break_connections) end)
  teardown(function() breaks:close() end)

  for _, carrier in ipairs({ carriers.tcp, carriers.ipc }) do
    it(("over %s goes on in its session, and runs nothing twice"):format(carrier.name), function()
      breaks:check(carrier)
    end)
  end
end)
