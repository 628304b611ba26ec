-- SPDX-License-Identifier: MIT
-- The functions of the library that run one function on a node, on every node or in every worker.

local backend = require("fleet.api.backend")
local check = require("fleet.base.check")
local future = require("fleet.base.future")

local calls = {}

-- Seconds; no call waits for ever by default.
local CALL_TIMEOUT = 60

--- In place of a node: the one with the least to do.
calls.any = setmetatable({}, {
  __name = "fleet.any",
  __metatable = false,
  __tostring = function() return "fleet.any" end,
})

local now = backend.in_task and function() end or require("host.sys").now

-- The backend for a call whose time limit begins now, and that time; or nil and an error.
local function backend_within(options)
  local began = now()
  local b, err = backend.get(options.timeout / 2) -- without those that are slower
  if not b then return nil, err end
  return b, began
end

-- Waits for a future; if that ends early because the waiting task is cancelled, so does the call.
local function wait_for(result)
  local _ <close> = result
  return result:wait()
end

-- Nodes by name or address; values that nobody has are collected.
local targets = setmetatable({}, {
  __mode = "v",
  __index = function(self, name)
    local target = { node = name }
    self[name] = target
    return target
  end,
})

-- A node is given by its name or address, or as fleet.nodes() describes it.
local function target_of(what, node)
  if node == calls.any then return {} end
  if type(node) == "string" then return targets[node] end
  if type(node) == "table" and type(node.name) == "string" then return { node = node.name } end
  return check.misuse(
    "%s: a node expected (its name, an entry of fleet.nodes(), or fleet.any), got %s", what,
    type(node))
end

-- Sends a call; the future, or nil and an error.
local function send(what, options, node, f, ...)
  local target = target_of(what, node)
  check.callable(what, f)
  local b, began = backend_within(options)
  if not b then return nil, began end
  return b:send(target, f, options, began, ...)
end

--- @class fleet.NodeInfo
--- @field name string
--- @field address string as it was given
--- @field started_by string|nil how the driver started it: "ssh alice@build1", "launch 2 (CMD)"
--- @field zone string|nil
--- @field state "ready"|"draining"|"skew"|"down"|"suspect"|"full"|"connecting" suspect: it has not
--- answered for 5 seconds; full: it accepts no more drivers for now
--- @field workers integer
--- @field running integer tasks that have begun
--- @field queued integer tasks that were sent to workers and have not begun
--- @field release string|nil
--- @field rtt number|nil seconds that its answer took; nil if it has not answered
--- @field error string|nil why it is not ready

--- Lists the nodes of the fleet, also those that cannot be used. All are asked for their status,
--- for at most a second; a node that does not answer in time is shown as it was last known, without
--- `rtt`. A node is "suspect" after 5 seconds without an answer and "down" after 15, or immediately
--- when nothing listens at its address any more. A task that calls this is counted among the
--- `running` of its own node.
---@return fleet.NodeInfo[]|nil nodes, or nil and an error
---@return fleet.Error|nil
function calls.nodes()
  local b, err = backend.get()
  if not b then return nil, err end
  return b:nodes()
end

-- The functions that call, with the options of fleet.with.
local function make_calls(options)
  local api = {}
  local timeout = options.timeout or CALL_TIMEOUT
  local plain, for_cast = { timeout = timeout }, { timeout = timeout, cast = true }

  --- Runs f(...) on a node like fleet.call, but returns a future immediately (see Futures):
  --- `wait(timeout)`, `check()`, `cancel()`, `progress()`.
  ---@param node string|fleet.NodeInfo name, address, entry of fleet.nodes(), or fleet.any
  ---@param f function
  ---@param ... any
  ---@return fleet.Future|nil future, or nil and an error when nothing was sent
  ---@return fleet.Error|nil
  function api.send(node, f, ...)
    return send("fleet.send", plain, node, f, ...)
  end

  --- Runs f(...) on a node, at most once, and returns its values; or nil and an error: what f
  --- raised (kind "raise"), or why there is no result. The error's field `applied` tells whether f
  --- may have run.
  ---@param node string|fleet.NodeInfo name, address, entry of fleet.nodes(), or fleet.any
  ---@param f function
  ---@param ... any
  ---@return any ...
  function api.call(node, f, ...)
    local result, err = send("fleet.call", plain, node, f, ...)
    if not result then return nil, err end
    return wait_for(result)
  end

  --- Starts f(...) on a node and returns as soon as it has begun there. It has no time limit, its
  --- output is shown as usual, and it may use the library; its values are dropped, and its error
  --- is logged by the driver. It ends with its worker or with the driver, and a draining node
  --- waits for it.
  ---@param node string|fleet.NodeInfo name, address, entry of fleet.nodes(), or fleet.any
  ---@param f function
  ---@param ... any
  ---@return true|nil accepted, or nil and an error
  ---@return fleet.Error|nil
  function api.cast(node, f, ...)
    local result, err = send("fleet.cast", for_cast, node, f, ...)
    if not result then return nil, err end
    local _, failure = wait_for(result)
    if result:failed() then return nil, failure end
    return true
  end

  --- Runs f(...) on every node, at the same time. A node that is not ready (see fleet.nodes) is
  --- among the failures, with kind "connect", "draining" or "skew"; one that does not answer within
  --- the time limit, with kind "timeout". If no node can be used at all, that error is raised, as
  --- by fleet.pmap.
  ---@param f function
  ---@param ... any
  ---@return table<string, any>|nil results the first value of each by name of the node; or nil
  --- and an error when f cannot travel
  ---@return table<string, fleet.Error>|fleet.Error failures by name of the node; may be empty
  function api.multicall(f, ...)
    check.callable("fleet.multicall", f)
    local b, began = backend_within(plain)
    if not b then return backend.cannot_begin(began, options) end
    local nodes, err = b:nodes(true)
    if not nodes then return nil, err end
    local names, futures, failures = {}, {}, {}
    for _, n in ipairs(nodes) do
      if n.state == "ready" then
        local f_node
        f_node, err = b:send({ node = n.name }, f, plain, began, ...)
        if not f_node then return nil, err end -- the function cannot travel
        names[#names + 1], futures[#futures + 1] = n.name, f_node
      else
        failures[n.name] = backend.node_error(n)
      end
    end
    local values, results = wait_for(future.all(futures)), {}
    for i, f_node in ipairs(futures) do
      local by_name = f_node:failed() and failures or results
      by_name[names[i]] = values[i]
    end
    return results, failures
  end

  --- Runs f(...) in every worker: in all present ones before it returns, and in each that joins
  --- later before its first task. Use it to prepare what all tasks of this driver need: global
  --- variables that f sets are seen by every function shipped afterwards.
  ---@param f function
  ---@param ... any
  ---@return true|nil true, or nil and an error when it failed in a worker that is there now
  ---@return fleet.Error|nil
  function api.everywhere(f, ...)
    check.callable("fleet.everywhere", f)
    local b, began = backend_within(plain)
    if not b then return nil, began end
    return b:everywhere(f, table.pack(...), plain, began)
  end

  return api
end

for name, f in pairs(make_calls({})) do calls[name] = f end

local CALL_OPTIONS = { timeout = check.positive, on_no_workers = backend.ON_NO_WORKERS }

--- Returns the functions call, send, cast, multicall and everywhere with other options:
--- `timeout` (default: 60; math.huge for none) seconds from the call to its result, including
--- queueing and connecting; `on_no_workers` (default: "raise") as in fleet.pmap, for multicall.
--- Without a result in time, the error has the kind "timeout".
---@param options {timeout: number|nil, on_no_workers: string|nil}
---@return table functions by name
function calls.with(options)
  local made = make_calls(check.options("fleet.with", options, CALL_OPTIONS))
  return check.module("fleet.with(...)", made)
end

return calls
