---@meta host.process
-- SPDX-License-Identifier: MIT
-- Another program, run without a shell (host/bindings/lib_process.c).

local process = {}

--- @class host.Process
local Process = {}

--- Runs a program. It has an empty input, our standard error and environment, and a process
--- group of its own.
---@param argv string[] the first is looked up in PATH when it has no slash
---@return host.Process|nil
---@return fleet.Error|nil of kind "system"
function process.start(argv) end

--- The next bytes of its output. Waits.
---@return string|nil bytes nil at the end
---@return fleet.Error|nil
function Process:read() end

--- Nothing while it runs; then its exit code, or nil and the signal that ended it.
---@return integer|nil code
---@return integer|nil signal
function Process:ended() end

--- Ends it, and what it has started in its group; whoever reads has reached the end.
function Process:kill() end

return process
