---@meta host.codec
-- SPDX-License-Identifier: MIT
-- MessagePack for Lua (host/bindings/lib_codec.c). Failures return nil and an error of kind
-- "encode", "too_large", "decode" or "memory".

local codec = {}

--- Encodes a value.
---@param value any
---@param root string|nil names the value in errors; default: "value"
---@param max_bytes integer|nil default: 64 MiB
---@return string|nil bytes
---@return fleet.Error|nil
function codec.encode(value, root, max_bytes) end

--- Encodes list[first] .. list[last], one after another, without metamethods.
---@param list any[]
---@param first integer
---@param last integer
---@param max_bytes integer|nil of all elements together; default: 64 MiB
---@param root string|nil names each value in errors
---@return string|nil bytes
---@return fleet.Error|nil
---@return integer|nil index of the element that failed
function codec.encode_list(list, first, last, max_bytes, root) end

--- Encodes a call as fleet.worker.runner takes it.
---@param packed string
---@param cast boolean|nil
---@param ... any the arguments
---@return string|nil bytes
---@return fleet.Error|nil
function codec.encode_call(packed, cast, ...) end

--- Decodes one value. Fails at the end of the bytes.
---@param bytes string
---@param pos integer|nil where the value begins; default: 1
---@return any value
---@return integer|fleet.Error position after it
function codec.decode(bytes, pos) end

--- Decodes all values that stand one after another.
---@param bytes string
---@return any[]|nil list with holes where values are nil
---@return integer|fleet.Error n number of values
function codec.decode_all(bytes) end

return codec
