---@meta host.json
-- SPDX-License-Identifier: MIT
-- JSON (host/bindings/lib_json.c); fleet.json is the public face. Failures return nil and an
-- error of kind "decode", "encode", "too_large" or "memory".

local json = {}

--- @class host.JsonLines
local Lines = {}

--- Reads a JSON text. null becomes nil: absent from objects, a hole in arrays.
---@param text string UTF-8
---@return any value
---@return fleet.Error|nil
function json.decode(text) end

--- Writes a value on one line.
---@param value any
---@return string|nil text
---@return fleet.Error|nil
function json.encode(value) end

--- Writes an object with the given members in the given order.
---@param ... any a name, its value, the next name, ...
---@return string|nil text
---@return fleet.Error|nil
function json.encode_record(...) end

--- Makes an empty buffer of JSON Lines.
---@return host.JsonLines
function json.lines() end

--- Appends a record and a line feed; a failure leaves the buffer unchanged.
---@param ... any as encode_record
---@return integer|nil bytes in the buffer
---@return fleet.Error|nil
function Lines:add(...) end

--- Returns the text of the buffer and empties it.
---@return string
function Lines:take() end

return json
