---@meta host.stream
-- SPDX-License-Identifier: MIT
-- Files, pipes and terminals without blocking the loop (host/bindings/lib_stream.c).

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

--- Opens PATH.partial, a new file with the mode and, where that is allowed, the owner of the file
--- that has the name now. No other process gets it until it is closed.
---@param path string
---@return host.Stream|nil
---@return fleet.Error|nil of kind "output", or "usage" when another process has it
function stream.replace(path) end

--- A copy of a descriptor that the process has, to write to.
---@param n integer
---@return host.Stream|nil
---@return fleet.Error|nil
function stream.descriptor(n) end

--- The next bytes. Waits.
---@return string|nil bytes nil at the end
---@return fleet.Error|nil
function Stream:read() end

--- Writes all bytes. Waits.
---@param bytes string
---@return true|nil
---@return fleet.Error|nil of kind "closed" when nobody reads the other end
function Stream:write(bytes) end

--- Returns when what was written is on the disk.
---@return true|nil
---@return fleet.Error|nil
function Stream:sync() end

--- Closes it; what was written to a file is on the disk then.
---@return true|nil nothing at all when it was closed before
---@return fleet.Error|nil
function Stream:close() end

return stream
