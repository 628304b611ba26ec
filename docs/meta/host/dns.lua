---@meta host.dns
-- SPDX-License-Identifier: MIT
-- The name service, (host/bindings/lib_dns.c); in the driver only.

local dns = {}

--- @class host.DnsOptions
--- @field server string|string[]|nil "10.0.0.2", "10.0.0.2:5353", "[fd00::2]:5353"; nil: those of
--- the system
--- @field timeout number|nil seconds, for all of it; 10
--- @field tries integer|nil of each server, 1 to 10; 3

--- @class host.DnsAddress
--- @field address string "10.0.0.1" or "fd00::1"
--- @field ttl integer seconds; 0 also for the hosts file

--- @class host.DnsService
--- @field target string
--- @field port integer
--- @field priority integer
--- @field weight integer
--- @field ttl integer seconds
--- @field addresses host.DnsAddress[]|nil those of the target, when they came along

--- Addresses of a name, by the hosts file and the name servers; search domains are tried as
--- resolv.conf has it. Waits. The list is never empty, and has `partial` = true when the question
--- for one of the two families failed. The error has a `reason`: "no_name" and "no_data" are
--- answers, that there is nothing; "failed", "refused", "unreachable" and "timeout" are none.
---@param name string
---@param options host.DnsOptions|nil
---@return host.DnsAddress[]|nil
---@return fleet.Error|nil kind "dns", "memory", or "usage" for what is no name
function dns.addresses(name, options) end

--- Services (SRV) of a name, such as "_moonfleet._tcp.example.org". Waits. Fails as addresses does.
---@param name string
---@param options host.DnsOptions|nil
---@return host.DnsService[]|nil
---@return fleet.Error|nil
function dns.services(name, options) end

return dns
