---@meta host.process
-- SPDX-License-Identifier: MIT
-- Runs another program without a shell (host/bindings/lib_process.c).

local process = {}

--- @class host.Process
local Process = {}

--- Runs a program. The process has an empty input, the stderr and environment of this one, and a
--- process group of its own.
---@param argv string[] the first is looked up in PATH if it has no slash
---@return host.Process|nil
---@return fleet.Error|nil of kind "system"
function process.start(argv) end

--- Waits for the next bytes of its output.
---@return string|nil bytes nil at the end
---@return fleet.Error|nil
function Process:read() end

--- Returns nothing while it runs; then its exit code, or nil and the signal that ended it.
---@return integer|nil code
---@return integer|nil signal
function Process:ended() end

--- Kills it and its process group. A task that reads its output gets the end.
function Process:kill() end

return process
