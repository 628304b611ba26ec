-- SPDX-License-Identifier: MIT
-- The worker's side of a job, called by the host (job.c): loads the job's
-- source in the sandbox and hands out its map function.

local errors = require("fleet.errors")
local job = require("fleet.job")
local sandbox = require("fleet.sandbox")

local runner = {}

--- Runs as a task before the first item. `definition` is what fleet.map sends:
--- {source=, chunkname=, concurrency=, timeout= seconds or nil}. Raises what
--- setup() raises.
---@param definition table
---@return function|nil map or nil and an error
---@return integer|fleet.Error concurrency tasks to run at a time
---@return number|nil timeout seconds, of one task; 0: none
function runner.prepare(definition)
  local loaded, err = job.load(definition.source, definition.chunkname, sandbox.new())
  if not loaded then return nil, err end
  if loaded.script then -- but it was one in the driver
    return nil, errors.new({
      kind = "usage",
      message = "the script returns no job in a worker, where io, os and package are not at hand",
    })
  end
  if loaded.setup then loaded.setup() end
  return loaded.map, definition.concurrency, definition.timeout or 0
end

return runner
