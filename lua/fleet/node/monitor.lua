-- SPDX-License-Identifier: MIT
-- The Lua side of a node's instance monitor (host/node/instance_monitor.h): on an EC2 instance,
-- polls for termination notices.

local http = require("host.http")
local imds = require("fleet.aws.imds")
local log = require("fleet.log")
local node = require("host.node")
local settings = require("fleet.aws.settings")
local task = require("host.task")
local termination_notices = require("fleet.aws.termination_notices")

local monitor = {}

--- Runs until the node ends.
function monitor.run()
  termination_notices.watch({
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
