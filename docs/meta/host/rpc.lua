---@meta host.rpc
-- SPDX-License-Identifier: MIT
-- Requests to nodes over nng, for the driver (host/bindings/lib_rpc.c).

local rpc = {}

--- @class host.Peer
local Peer = {}

--- Connects. Waits.
---@param url string
---@param seconds number|nil default: 5
---@return host.Peer|nil
---@return fleet.Error|nil
function rpc.dial(url, seconds) end

--- Sends a request and waits for its reply. Many tasks may do so at once.
---@param bytes string
---@param seconds number|nil time limit; default: none
---@return string|nil reply
---@return fleet.Error|nil
function Peer:call(bytes, seconds) end

--- Whether it is connected.
---@return boolean
function Peer:up() end

--- Closes the connection. Pending calls fail with kind "lost".
function Peer:close() end

return rpc
