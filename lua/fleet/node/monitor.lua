-- SPDX-License-Identifier: MIT
-- The instance monitor of a node (host/node/instance_monitor.h): on an EC2 instance, reads the
-- notices of its end.

local http = require("host.http")
local imds = require("fleet.aws.imds")
local log = require("fleet.log")
local node = require("host.node")
local settings = require("fleet.aws.settings")
local task = require("host.task")

local monitor = {}

--- Runs until the node ends.
function monitor.run()
  require("fleet.aws.termination_notices").watch({
    imds = imds.new({
      settings = settings.new(),
      tools = {
        request = http.request, sleep = task.sleep, now = os.time, random = math.random, log = log,
      },
    }),
    drain = node.drain, draining = node.draining,
  })
end

return monitor
