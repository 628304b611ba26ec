-- SPDX-License-Identifier: MIT
-- The Lua side of a node's instance monitor (host/node/instance_monitor.h): gets the keys that the
-- node has in a store and keeps them up to date; on an EC2 instance, follows the life of the
-- instance; with --http, serves the node's health and metrics.

local log = require("fleet.log")
local node = require("host.node")
local task = require("host.task")

local monitor = {}

-- The view of AWS, with the AWS settings of the command line.
local function view_of(options)
  return require("fleet.aws").new({
    flags = { region = options.region, profile = options.profile },
  })
end

-- Begins to serve. Returns whether the node does. Keys that nothing accepts, or that cannot be had,
-- end the node: the service manager then starts it again.
local function open(stored)
  local secret, ok, err
  if stored then
    secret, err = stored:wait()
    if not secret then
      node.fail("the node has no keys: " .. err.message)
      return false
    end
  end
  ok, err = node.open(secret)
  if secret then secret:close() end
  if not ok then node.fail(err.message) end
  return ok
end

-- The command line has found the address free; whoever took it since has it.
local function serve_status(host, port)
  local _, err = require("fleet.node.status").serve(node, host, port)
  if err then log.error("health and metrics are not served", { error = err.message }) end
end

-- Follows the life of the instance until it is to end, and then until the node has drained.
local function watch_instance(view, life)
  local notices = require("fleet.aws.termination_notices")
  local watch = { imds = view.imds, drain = node.drain, draining = node.draining }
  notices.watch(watch)
  if life.hook then task.spawn(life.keep_waiting, life) end
  notices.limit(watch)
end

--- Runs until the node ends, if there is anything to do until then.
function monitor.run()
  local options, host, port = node.options(), node.http()
  if host then task.spawn(serve_status, host, port) end
  if not options.keys and not options.on_instance then return end
  local view = view_of(options)
  local life = options.on_instance and require("fleet.aws.lifecycle").new({
    view = view, hook = options.lifecycle_hook,
  })
  if options.standby then life:wait_for_service() end
  local stored = options.keys and require("fleet.keys.store").new(view, options.keys)
  if (stored or options.standby) and not open(stored) then return end
  local hangup = task.event()
  if stored then
    task.spawn(stored.follow, stored, node.take_keys, node.keys_failed, hangup,
      options.interval_ms and options.interval_ms / 1000)
  end
  if life then task.spawn(watch_instance, view, life) end
  while node.next_event() == "hangup" do hangup:notify() end
  if life and life:complete() then
    node.fail("the instance goes into its warm pool: a node that is started there waits until it "
      .. "is in service")
  end
  node.leave()
end

return monitor
