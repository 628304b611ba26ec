---@meta host.digest
-- SPDX-License-Identifier: MIT
-- Digests by OpenSSL (host/bindings/lib_digest.c); fleet.digest is the public face. Raises if
-- OpenSSL fails.

local digest = {}

--- @class host.Digest
local Digest = {}

--- SHA-256 of a string.
---@param s string
---@return string lower-case hexadecimal
function digest.sha256(s) end

--- SHA-256 of a string, as bytes.
---@param s string
---@param n integer|nil only the first n of them; default: 32
---@return string
function digest.sha256_bytes(s, n) end

--- HMAC-SHA-256 (RFC 2104) of a string.
---@param key string
---@param s string
---@return string lower-case hexadecimal
function digest.hmac_sha256(key, s) end

--- Makes a digest to which bytes are added piece by piece.
---@return host.Digest
function digest.new() end

--- Adds bytes.
---@param s string
---@return host.Digest self
function Digest:update(s) end

--- The digest of all bytes so far; more may follow.
---@return string lower-case hexadecimal
function Digest:hex() end

--- Frees the digest. Later use raises.
function Digest:close() end

return digest
