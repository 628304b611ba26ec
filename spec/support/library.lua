-- SPDX-License-Identifier: MIT
-- Starts a private node with `workers` (default: 2) as the fleet of the library for the specs of
-- one file: require(...)(setup, teardown, workers) returns a function that returns the node.

local driver = require("fleet.driver")
local host_driver = require("host.driver")
local cluster = require("fleet.cluster")
local sys = require("host.sys")

return function(setup, teardown, workers)
  local child
  setup(function()
    child = assert(host_driver.local_node({ workers = workers or 2, release = sys.version }))
    driver.set(driver.new(assert(cluster.open({ child:url() }, sys.version))))
  end)
  teardown(function()
    driver.close()
    child:stop()
  end)
  return function() return child end
end
