-- SPDX-License-Identifier: MIT
-- Starts a node "local" with `workers` (default: 2) as the fleet of the library for the specs of
-- one file: require(...)(setup, teardown, workers) returns a function that returns the node.

local cluster = require("fleet.cluster")
local driver = require("fleet.driver")
local e2e = require("spec.support.e2e")
local sys = require("host.sys")

return function(setup, teardown, workers)
  local world, node
  setup(function()
    world = e2e.new()
    node = world:node({ name = "local", workers = workers })
    driver.set(driver.new(assert(cluster.open(e2e.sources({ node.address }), sys.version))))
  end)
  teardown(function()
    driver.close()
    world:close()
  end)
  return function() return node end
end
