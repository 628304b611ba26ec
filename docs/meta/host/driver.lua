---@meta host.driver
-- SPDX-License-Identifier: MIT
-- What only the process of the driver has (host/driver/lib_driver.c).

local driver = {}

--- @class host.LocalNode
local LocalNode = {}

--- Waits for a signal. From the first call on, signals have no other effect.
---@return "INT"|"TERM"
function driver.wait_signal() end

--- Starts a private node.
---@param options {workers: integer, release: string}
---@return host.LocalNode|nil
---@return fleet.Error|nil
function driver.local_node(options) end

--- The descriptor of the session with it, which is the caller's from then on. To be called once.
---@return integer
function LocalNode:descriptor() end

--- Its process id.
---@return integer
function LocalNode:pid() end

--- Stops the node.
function LocalNode:stop() end

return driver
