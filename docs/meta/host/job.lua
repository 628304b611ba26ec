---@meta host.job
-- SPDX-License-Identifier: MIT
-- What a task knows of itself, and its line to the driver (host/worker/lib_job.c); in workers only.

local job = {}

--- The task that runs; nil outside of tasks. `id` and `attempt` are 0 while a job is prepared.
---@return {worker: integer, node: string, job: integer, id: integer, attempt: integer}|nil
function job.self() end

--- Tells the driver something: a text, or how far the task is.
---@param what "print"|"progress"
---@param value any a text for "print"
---@return boolean|nil false: no task runs that could say it; nil: it cannot be sent
---@return fleet.Error|nil
function job.output(what, value) end

--- Sends a request to the driver and waits for its reply.
---@param bytes string
---@return string|nil reply
---@return fleet.Error|nil
function job.upcall(bytes) end

--- The bytes that the driver sent under a key.
---@param key string
---@return string|nil
function job.blob(key) end

return job
