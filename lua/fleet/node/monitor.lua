-- SPDX-License-Identifier: MIT
-- The Lua side of a node's instance monitor (host/node/instance_monitor.h): on an EC2 instance,
-- polls for termination notices; with --http, serves the node's health and metrics.

local log = require("fleet.log")
local node = require("host.node")
local task = require("host.task")

local monitor = {}

local function watch_instance()
  local http = require("host.http")
  require("fleet.aws.termination_notices").watch({
    imds = require("fleet.aws.imds").new({
      settings = require("fleet.aws.settings").new(),
      tools = {
        request = http.request, sleep = task.sleep, now = os.time, random = math.random, log = log,
      },
    }),
    drain = node.drain, draining = node.draining,
  })
end

-- The command line has found the address free; whoever took it since has it.
local function serve_status(host, port)
  local _, err = require("fleet.node.status").serve(node, host, port)
  if err then log.error("health and metrics are not served", { error = err.message }) end
end

--- Runs until the node ends.
function monitor.run()
  local host, port = node.http()
  if host then task.spawn(serve_status, host, port) end
  if node.on_instance() then watch_instance() end
end

return monitor
