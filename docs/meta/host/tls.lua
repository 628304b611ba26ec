---@meta host.tls
-- SPDX-License-Identifier: MIT
-- The keys of --tls DIR, for drivers (host/bindings/lib_tls.c).

local tls = {}

--- @class host.Identity
local Identity = {}

--- Reads a folder of keys and verifies that nodes will accept them.
---@param dir string
---@param command string what needs them, for messages
---@return host.Identity|nil of a driver or an observer
---@return fleet.Error|nil of kind "usage"
function tls.load(dir, command) end

--- The folder.
---@return string
function Identity:dir() end

--- The facts of its certificate.
---@return fleet.keys.Facts
function Identity:facts() end

--- What will soon end all connections: certificates that expire within 30 days, revocation lists
--- within 7.
---@return string[] sentences
function Identity:warnings() end

--- Takes the files of the folder if they have changed: all of them, or none.
---@return boolean|nil whether there are new ones; or nil and an error when they cannot be used,
---once for each different reason
---@return fleet.Error|nil
function Identity:reload() end

return tls
