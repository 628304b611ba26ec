---@meta host.dns
-- SPDX-License-Identifier: MIT
-- Lookups of names (host/bindings/lib_dns.c); in the driver only.

local dns = {}

--- @class host.DnsOptions
--- @field server string|string[]|nil "10.0.0.2", "10.0.0.2:5353", "[fd00::2]:5353"; nil: those of
--- the system
--- @field timeout number|nil seconds for the whole lookup; default: 10
--- @field tries integer|nil of each server, 1 to 10; default: 3

--- @class host.DnsAddress
--- @field address string "10.0.0.1" or "fd00::1"
--- @field ttl integer seconds; 0 also for the hosts file

--- @class host.DnsService
--- @field target string
--- @field port integer
--- @field priority integer
--- @field weight integer
--- @field ttl integer seconds
--- @field addresses host.DnsAddress[]|nil those of the target, if the response has them

--- Looks up the addresses of a name in the hosts file and at the name servers; search domains are
--- tried as resolv.conf says. Waits. The list is never empty, and has `partial` = true when the
--- question for one of the two families failed. The error has a `reason`: "no_name" and "no_data"
--- mean that there is nothing; "failed", "refused", "unreachable" and "timeout" that no server
--- could tell.
---@param name string
---@param options host.DnsOptions|nil
---@return host.DnsAddress[]|nil
---@return fleet.Error|nil kind "dns", "memory", or "usage" for an invalid name
function dns.addresses(name, options) end

--- Looks up the services (SRV) of a name, such as "_moonfleet._tcp.example.org". Waits. Fails like
--- `addresses`.
---@param name string
---@param options host.DnsOptions|nil
---@return host.DnsService[]|nil
---@return fleet.Error|nil
function dns.services(name, options) end

return dns
