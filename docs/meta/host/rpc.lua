---@meta host.rpc
-- SPDX-License-Identifier: MIT
-- Request and reply over nng, for the driver (host/bindings/lib_rpc.c).

local rpc = {}

--- @class host.Peer
local Peer = {}

--- Connects. Waits.
---@param url string
---@param seconds number|nil 5 by default
---@return host.Peer|nil
---@return fleet.Error|nil
function rpc.dial(url, seconds) end

--- Sends a request and waits for its reply. Many tasks may do so at once.
---@param bytes string
---@param seconds number|nil none by default
---@return string|nil reply
---@return fleet.Error|nil
function Peer:call(bytes, seconds) end

--- Whether the connection stands.
---@return boolean
function Peer:up() end

--- Closes it: calls under way fail, kind "lost".
function Peer:close() end

return rpc
