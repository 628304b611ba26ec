-- SPDX-License-Identifier: MIT
-- The DNS source: the addresses of a name (A and AAAA), or the services of a name that begins with
-- "_" (SRV), queried again when their time to live ends. For Kubernetes' headless services, AWS
-- Cloud Map and Consul.

local address = require("fleet.discovery.address")
local dns = require("host.dns")
local membership = require("fleet.discovery.membership")

local source = {}

-- Bounds of a time to live in seconds: the name server must not be queried all the time, and a new
-- node must not wait for an hour.
local MIN_TTL = 2
local MAX_TTL = 60
-- Seconds between two polls when an answer has no times.
local INTERVAL = 10

-- That a name does not exist is an answer: an empty one.
local NOTHING = { no_name = true, no_data = true }

--- @class fleet.DnsSourceOptions
--- @field name string
--- @field port integer|nil for addresses; default: 5440
--- @field servers string[]|nil HOST[:PORT]; default: the system's
--- @field interval number|nil seconds between two polls; default: the records' times

--- @class fleet.DnsSource: fleet.DiscoverySource
local DnsSource = {}
DnsSource.__index = DnsSource

--- Makes a source; it does not query yet.
---@param options fleet.DnsSourceOptions
---@return fleet.DnsSource
function source.new(options)
  local by = options.servers and " by " .. table.concat(options.servers, ", ") or ""
  return setmetatable({
    options = options, services = options.name:find("^_") ~= nil,
    port = options.port or address.DEFAULT_PORT,
    rules = membership.CAUTIOUS, interval = options.interval or INTERVAL,
    name = ("dns %s%s"):format(options.name, by),
    question = table.concat({ "dns", options.name, options.port or "", by }, "\n"),
  }, DnsSource)
end

-- ---- one poll: collects members by address, the shortest time to live, and `partial` ----

local function add(found, host, port, ttl)
  local at = address.join(host, port)
  found.ttl = math.min(found.ttl, ttl)
  if found.seen[at] then return end
  found.seen[at] = true
  found.members[#found.members + 1] = { id = at, address = at }
end

-- The records of a name; nil and an error.
local function query(self, records, name)
  local list, err = records(name, { server = self.options.servers })
  if not list and NOTHING[err.reason] then return {} end
  return list, err
end

local function add_addresses(self, found, name, port, least)
  local list, err = query(self, dns.addresses, name)
  if not list then return nil, err end
  found.partial = found.partial or list.partial
  for _, a in ipairs(list) do add(found, a.address, port, math.min(a.ttl, least or a.ttl)) end
  return true
end

-- A record with port 0, which no node can have, is skipped.
local function add_services(self, found)
  local list, err = query(self, dns.services, self.options.name)
  if not list then return nil, err end
  for _, service in ipairs(list) do
    local port = service.port
    found.ttl = math.min(found.ttl, service.ttl)
    for _, a in ipairs(port > 0 and service.addresses or {}) do
      add(found, a.address, port, a.ttl)
    end
    if port > 0 and not service.addresses then
      local ok
      ok, err = add_addresses(self, found, service.target, port, service.ttl)
      if not ok then return nil, err end
    end
  end
  return true
end

--- Queries the name server. Waits.
---@return fleet.Answer|nil
---@return fleet.Error|nil
function DnsSource:poll()
  local found = { members = {}, seen = {}, ttl = math.huge, partial = nil }
  local ok, err
  if self.services then
    ok, err = add_services(self, found)
  else
    ok, err = add_addresses(self, found, self.options.name, self.port)
  end
  if not ok then return nil, err end
  local wait = INTERVAL
  if found.ttl < math.huge then wait = math.max(MIN_TTL, math.min(MAX_TTL, found.ttl)) end
  return {
    members = found.members, partial = found.partial, wait = self.options.interval or wait,
  }
end

--- Why there may be no members.
---@return string
function DnsSource:why_empty()
  return ("%s has no %s"):format(self.options.name,
    self.services and "SRV records with addresses" or "A or AAAA records")
end

return source
