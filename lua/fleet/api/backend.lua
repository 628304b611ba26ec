-- SPDX-License-Identifier: MIT
-- Chooses what does the work of the library: the driver of this process (fleet.driver), or, inside
-- a task, the client that passes requests on to the driver of the task (fleet.worker.client). Both
-- have the same methods.

local errors = require("fleet.errors")

local backend = {}

local driver -- once it is used

--- Whether this process is a worker, so that the caller is inside a task.
backend.in_task = package.preload["host.job"] ~= nil

--- The backend of this process; a driver connects to its nodes at the first use. Waits.
---@param patience number|nil seconds to wait for the nodes; nil: as long as it takes
---@return fleet.Driver|fleet.WorkerClient|nil
---@return fleet.Error|nil
function backend.get(patience)
  if backend.in_task then return require("fleet.worker.client") end
  driver = driver or require("fleet.driver")
  return driver.get(patience)
end

-- The caller must not mistake nil for results when nothing could begin: errors of these kinds (no
-- node can be used; the call or the command line is wrong) are raised.
local RAISED = { connect = true, usage = true, config = true, input = true, output = true }

--- Raises or returns the error that kept a call from beginning.
---@param err fleet.Error
---@param options {on_no_workers: string|nil} "return": an error of kind "connect" is returned
---@return nil
---@return fleet.Error
function backend.cannot_begin(err, options)
  local is_wanted = err.kind == "connect" and options.on_no_workers == "return"
  if RAISED[err.kind] and not is_wanted then errors.cannot_begin(err) end
  return nil, err
end

local KINDS = { draining = "draining", skew = "skew" }

--- Returns the error of a call on a node that is not ready.
---@param n fleet.NodeInfo
---@return fleet.Error
function backend.node_error(n)
  return errors.new({
    kind = KINDS[n.state] or "connect", node = n.name, applied = "no",
    message = n.error or ("node %s is %s"):format(n.name, n.state),
  })
end

--- Schema rule of the option `on_no_workers`.
backend.ON_NO_WORKERS = { "raise", "return" }

return backend
