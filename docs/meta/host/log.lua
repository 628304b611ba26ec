---@meta host.log
-- SPDX-License-Identifier: MIT
-- The structured log on stderr (host/bindings/lib_log.c); fleet.log is the public face.

local log = {}

--- Writes one line, if the level is enabled.
---@param level "error"|"warn"|"info"|"debug"
---@param message string
---@param fields table<string, any>|nil at most 16; written by tostring, sorted by key
function log.write(level, message, fields) end

--- Whether a line of that level would be written.
---@param level "error"|"warn"|"info"|"debug"
---@return boolean
function log.enabled(level) end

--- The text that any other line on stderr must begin with.
---@return string
function log.start() end

return log
