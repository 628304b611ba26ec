-- SPDX-License-Identifier: MIT
-- SHA-256 of strings, by OpenSSL. Digests are lower-case hexadecimal strings.

local check = require("fleet.base.check")
local host = require("host.digest")

local digest = {}

--- @class fleet.Digest
--- @field update fun(self: fleet.Digest, s: string): fleet.Digest adds bytes; returns self
--- @field hex fun(self: fleet.Digest): string digest of the bytes so far; more may follow
--- @field close fun(self: fleet.Digest) frees it immediately, as `<close>` does; later use raises

--- Returns the SHA-256 of the bytes of `s`.
---@param s string
---@return string
digest.sha256 = host.sha256

--- Returns the HMAC-SHA-256 (RFC 2104) of the bytes of `s` under `key`.
---@param key string
---@param s string
---@return string
digest.hmac_sha256 = host.hmac_sha256

--- Returns an object that hashes data piece by piece: `digest.new():update(a):update(b):hex()`.
---@return fleet.Digest
digest.new = host.new

return check.module("fleet.digest", digest)
