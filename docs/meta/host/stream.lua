---@meta host.stream
-- SPDX-License-Identifier: MIT
-- Files, pipes and terminals without blocking the loop (host/lib_stream.c).

local stream = {}

--- @class host.Stream
local Stream = {}

--- Opens a file; to write to a named pipe waits for who reads it.
---@param path string
---@param mode "r"|"w"|nil "r" by default; "w" makes a new file
---@return host.Stream|nil
---@return fleet.Error|nil of kind "input" or "output"
function stream.open(path, mode) end

--- The process's own input.
---@return host.Stream
function stream.stdin() end

--- The process's own output.
---@return host.Stream
function stream.stdout() end

--- Whether something other than a regular file has that name: a device, a pipe, a folder, a
--- symbolic link.
---@param path string
---@return boolean
function stream.is_special(path) end

--- The next bytes. Waits.
---@return string|nil bytes nil at the end
---@return fleet.Error|nil
function Stream:read() end

--- Writes all bytes. Waits.
---@param bytes string
---@return true|nil
---@return fleet.Error|nil of kind "closed" when nobody reads the other end
function Stream:write(bytes) end

--- Closes it; what was written to a file is on the disk then.
---@return true|nil nothing at all when it was closed before
---@return fleet.Error|nil
function Stream:close() end

return stream
