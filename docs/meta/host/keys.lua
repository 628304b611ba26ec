---@meta host.keys
-- SPDX-License-Identifier: MIT
-- Certificates of a fleet and the authority (CA) that issues them (host/bindings/lib_keys.c). Keys,
-- certificates and CRLs are strings in PEM format. Failures return nil and an error.

local keys = {}

--- @class host.Authority
local Authority = {}

--- Reads the first certificate of a string. The role is other than "other" only if the names, the
--- usages and the kind of the certificate agree; `fleet` is nil if it is "other".
---@param certificate string
---@return fleet.keys.Facts|nil
---@return fleet.Error|nil
function keys.facts(certificate) end

--- Whether a fleet may have the name `s`.
---@param s string
---@return boolean
function keys.is_fleet(s) end

--- Whether a certificate may have the common name `s`.
---@param s string
---@return boolean
function keys.is_name(s) end

--- Writes a date as "2027-11-29 14:05 UTC".
---@param seconds integer since 1970
---@return string
function keys.date(seconds) end

--- Makes a CA with a new key.
---@param fleet string
---@param days integer of validity, at most 3650
---@return host.Authority|nil
---@return fleet.Error|nil
function keys.new(fleet, days) end

--- Opens the CA of an unencrypted key, whose certificate is among `certificates`.
---@param key string
---@param certificates string
---@return host.Authority|nil
---@return fleet.Error|nil
function keys.open(key, certificates) end

--- The facts of its certificate.
---@return fleet.keys.Facts
function Authority:facts() end

--- Its certificate and its key.
---@return string|nil certificate
---@return string|fleet.Error key
function Authority:write() end

--- Issues a certificate with a new key. It expires with the CA at the latest.
---@param role "node"|"driver"|"observer"
---@param name string
---@param days integer
---@return string|nil certificate
---@return string|fleet.Error key
function Authority:issue(role, name, days) end

--- Reads the first certificate of a string, if this CA has issued it.
---@param certificate string
---@return fleet.keys.Facts|nil
---@return fleet.Error|nil
function Authority:verify(certificate) end

--- Whether the certificate of this CA is in a string.
---@param certificates string
---@return boolean
function Authority:is_in(certificates) end

--- Makes the next CRL.
---@param crl string|nil the last one, with those of other CAs, which are kept
---@param serial string|nil hexadecimal; also revoke this one
---@param days integer
---@return string|nil crl
---@return fleet.Error|nil
function Authority:revoke(crl, serial, days) end

--- Frees it. Later use raises.
function Authority:close() end

return keys
