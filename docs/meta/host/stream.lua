---@meta host.stream
-- SPDX-License-Identifier: MIT
-- Files, pipes and terminals without blocking the loop (host/bindings/lib_stream.c).

local stream = {}

--- @class host.Stream
local Stream = {}

--- Opens a file. For writing to a named pipe, waits for its reader.
---@param path string
---@param mode "r"|"w"|nil default: "r"; "w" creates or empties the file
---@return host.Stream|nil
---@return fleet.Error|nil of kind "input" or "output"
function stream.open(path, mode) end

--- The standard input of the process.
---@return host.Stream
function stream.stdin() end

--- The standard output of the process.
---@return host.Stream
function stream.stdout() end

--- Opens PATH.partial, a new file with the mode and, where allowed, the owner of the file at PATH.
--- Other processes cannot open it this way until it is closed.
---@param path string
---@return host.Stream|nil
---@return fleet.Error|nil of kind "output", or "usage" when another process has it
function stream.replace(path) end

--- Copies an open descriptor, for writing.
---@param n integer
---@return host.Stream|nil
---@return fleet.Error|nil
function stream.descriptor(n) end

--- Waits for the next bytes.
---@return string|nil bytes nil at the end
---@return fleet.Error|nil
function Stream:read() end

--- Writes all bytes. Waits.
---@param bytes string
---@return true|nil
---@return fleet.Error|nil of kind "closed" if the other end is closed
function Stream:write(bytes) end

--- Returns when all written bytes are on the disk.
---@return true|nil
---@return fleet.Error|nil
function Stream:sync() end

--- Closes the stream. All bytes written to a file are on the disk then.
---@return true|nil nothing if it was closed before
---@return fleet.Error|nil
function Stream:close() end

return stream
