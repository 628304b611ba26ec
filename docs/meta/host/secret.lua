---@meta host.secret
-- SPDX-License-Identifier: MIT
-- Texts that Lua code can pass on, but not read (host/bindings/lib_secret.c). Their memory is
-- overwritten when they are collected or closed.

local secret = {}

--- @class host.Secret
local Secret = {}

--- Makes a secret with the bytes of a string.
---@param text string
---@return host.Secret
function secret.new(text) end

--- Returns how many bytes it has.
---@return integer
function Secret:size() end

--- Reads the text as JSON: an object whose member `object` is an object.
---@param object string
---@param name string of the member of that object which becomes a secret
---@return table<string, string|number|boolean|host.Secret>|nil members that are strings, numbers or
---flags; nil when the text is something else
function Secret:member(object, name) end

--- Overwrites it now.
function Secret:close() end

return secret
