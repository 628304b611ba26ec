---@meta host.log
-- SPDX-License-Identifier: MIT
-- The structured log on stderr (host/bindings/lib_log.c); fleet.log is the public face.

local log = {}

--- Writes one line, when the level is in force.
---@param level "error"|"warn"|"info"|"debug"
---@param message string
---@param fields table<string, any>|nil at most 16, written as tostring gives them, sorted by key
function log.write(level, message, fields) end

--- Whether a line of that level would be written.
---@param level "error"|"warn"|"info"|"debug"
---@return boolean
function log.enabled(level) end

--- What any other line on stderr has to begin with.
---@return string
function log.start() end

return log
