---@meta host.process
-- SPDX-License-Identifier: MIT
-- Runs another program without a shell (host/bindings/lib_process.c).

local process = {}

--- @class host.Process
local Process = {}

--- Runs a program. The process has an empty input, the stderr and environment of this one, and a
--- process group of its own.
---@param argv string[] the first is looked up in PATH if it has no slash
---@param options {duplex: boolean|nil}|nil duplex: its input and output are pipes for
--- `descriptors`, and `read` reads its stderr
---@return host.Process|nil
---@return fleet.Error|nil of kind "system"
function process.start(argv, options) end

--- Waits for the next bytes of its output.
---@return string|nil bytes nil at the end
---@return fleet.Error|nil
function Process:read() end

--- Returns the descriptors to read its output from and to write its input to, which belong to the
--- caller from then on. To be called once.
---@return integer output
---@return integer input
function Process:descriptors() end

--- Returns nothing while it runs; then its exit code, or nil and the signal that ended it.
---@return integer|nil code
---@return integer|nil signal
function Process:ended() end

--- Asks it and its process group to end (SIGTERM).
function Process:terminate() end

--- Kills it and its process group. A task that reads its output gets the end. Does not wait for a
--- process that it may not kill.
function Process:kill() end

return process
