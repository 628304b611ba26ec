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

--- Reads the files in a secret, from a store that knows them by a name, and verifies the same.
---@param name string for messages
---@param secret host.Secret
---@param command string what needs them, for messages
---@return host.Identity|nil
---@return fleet.Error|nil of kind "usage"
function tls.load_text(name, secret, command) end

--- The folder, or the name.
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

--- Takes the files that the store has now: all of them, or none.
---@param secret host.Secret
---@return boolean|nil as for `reload`
---@return fleet.Error|nil
function Identity:take_text(secret) end

--- Whether what was read last could not be used: by time alone it may become valid.
---@return boolean
function Identity:failed() end

return tls
