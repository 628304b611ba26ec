---@meta host.sys
-- SPDX-License-Identifier: MIT
-- What the driver needs to know about the machine (host/bindings/lib_sys.c).

--- @class host.sys
--- @field version string of the program
--- @field commit string that it was built from, with "-dirty" if files were changed; or "unknown"
--- @field protocol integer version of the messages (host/wire/protocol.h)
local sys = {}

--- The libraries in use, in a fixed order.
---@return {[1]: string, [2]: string}[] name and version of each
function sys.libraries() end

--- Names of environment variables.
---@param prefix string with which they begin
---@return string[]
function sys.variables(prefix) end

--- Monotonic time.
---@return number seconds
function sys.now() end

--- The time of day.
---@return number seconds since 1970
function sys.time() end

--- Tells the service manager lines such as "READY=1", if there is one (host/base/notify.h).
---@param lines string
function sys.notify(lines) end

--- Random bytes of the kernel.
---@param n integer 1 to 256
---@return string
function sys.random(n) end

--- Processors that this process may use.
---@return integer
function sys.cores() end

--- The name of the machine.
---@return string
function sys.hostname() end

--- Whether a descriptor is a terminal.
---@param fd integer
---@return boolean
function sys.isatty(fd) end

--- Columns of the terminal at stderr.
---@return integer|nil
function sys.width() end

--- The fault to inject at a point, set in the environment (host/base/fault.h).
---@param point string
---@return string|nil
function sys.fault(point) end

--- Whether workers on this machine get a filter of system calls.
---@return true|nil
---@return fleet.Error|nil
function sys.can_filter() end

--- Sets the level of the log.
---@param level "error"|"warn"|"info"|"debug"
function sys.set_log(level) end

--- What the web page sends to browsers, a file of lua/fleet/web/assets/.
---@param name string
---@return string
function sys.asset(name) end

--- Reads the Lua library from a folder; workers of private nodes do so, too.
---@param path string
function sys.set_lua_path(path) end

--- Sets what host.http of this process may connect to beyond public addresses, and jobs of private
--- nodes.
---@param list string words and networks, separated by commas (host/net/http_filter.h)
---@return true|nil
---@return fleet.Error|nil of kind "usage"
function sys.allow_hosts(list) end

--- Sets the modules of this machine that jobs of private nodes may require.
---@param names string separated by commas
function sys.trust_modules(names) end

return sys
