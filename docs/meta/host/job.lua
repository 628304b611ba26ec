---@meta host.job
-- SPDX-License-Identifier: MIT
-- What a task knows about itself, and its messages to the driver (host/worker/lib_job.c); only in
-- workers.

local job = {}

--- Describes the running task; nil outside of tasks.
--- `id` and `attempt` are 0 while a job is prepared.
---@return {worker: integer, node: string, job: integer, id: integer, attempt: integer}|nil
function job.self() end

--- Sends printed text or the progress of the task to the driver.
---@param what "print"|"progress"
---@param value any a text for "print"
---@return boolean|nil false: no task is running; nil: the value cannot be sent
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

--- The modules of the node that jobs may require.
---@return string[]
function job.modules() end

return job
