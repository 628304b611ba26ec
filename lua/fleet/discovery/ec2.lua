-- SPDX-License-Identifier: MIT
-- The EC2 source: the running instances whose tag has the fleet's release, by DescribeInstances,
-- page by page. An answer is all pages or none.

local FLEET_TAG = require("fleet.aws.imds").FLEET_TAG
local address = require("fleet.discovery.address")
local errors = require("fleet.errors")
local instances = require("fleet.aws.instances")
local log = require("fleet.log")
local membership = require("fleet.discovery.membership")
local release = require("fleet.discovery.release")
local task = require("host.task")
local text = require("fleet.base.text")

local source = {}

local API_VERSION = "2016-11-15"
-- The most that EC2 accepts. It has to be given: without it EC2 tries to answer in one piece, and
-- fails for large accounts.
local PAGE = 1000
-- More than any account has: the answer must be endless.
local MAX_PAGES = 500

--- Seconds between two polls of a small fleet. With N nodes it is (1 + N / 100) times as long: EC2
--- limits the calls of an account in a region (to about 20 a second), and so even 30 drivers of 200
--- nodes make one call a second. Nodes make none.
source.INTERVAL = 10

--- The values of --address: the kinds of addresses to dial; the first that an instance has is used.
source.ADDRESSES = {
  private_v4 = { "private_v4" },
  private_v6 = { "private_v6" },
  public_v4 = { "public_v4" },
  public_v6 = { "public_v6" },
  auto = { "private_v4", "private_v6", "public_v4", "public_v6" },
}

--- @class fleet.Ec2Options
--- @field aws fleet.Aws
--- @field region string
--- @field endpoint string URL; part of the question
--- @field identity string of the credentials; part of the question
--- @field release string value of the tag, or several (fleet.discovery.release)
--- @field fleet string|nil instances that are tagged as another fleet's are left out
--- @field only_tagged boolean|nil and those that are not tagged as this one's
--- @field tag_key string
--- @field filters {name: string, values: string[]}[] more of EC2's filters
--- @field address string a key of ADDRESSES
--- @field port integer
--- @field interval number|nil seconds; default: 10
--- @field page integer|nil instances in a page; default: 1,000

--- @class fleet.Ec2Source: fleet.DiscoverySource
local Ec2Source = {}
Ec2Source.__index = Ec2Source

-- Escapes the wildcards * and ? of filter values.
local function literal(value)
  return (value:gsub("[\\*?]", "\\%0"))
end

-- The values of the filter for the releases. The wildcard finds every instance that has the tag.
local function values_of(wanted)
  local values = {}
  for i, name in ipairs(release.list(wanted) or {}) do values[i] = literal(name) end
  return values[1] and values or { "*" }
end

local function describe_filters(filters)
  local parts = {}
  for i, filter in ipairs(filters) do
    parts[i] = (" and %s = %s"):format(filter.name, table.concat(filter.values, "|"))
  end
  return table.concat(parts)
end

-- Finds out which instance this is, if it is one. Runs in a task of its own, because it takes
-- seconds outside of EC2.
local function find_own(self)
  self.own_id = self.options.aws.imds:instance_id()
  if self.own_id then log.debug("this machine is an EC2 instance", { id = self.own_id }) end
end

-- Whether an answer should have this machine: because of its tag, or because an earlier answer had
-- it and its tag does not differ. With filters of the user's the tag alone is not enough.
local function is_expected(self)
  if not self.own_id then return false end
  local options = self.options
  local tag = options.aws.imds:tag(options.tag_key)
  local is_ours = tag ~= nil and release.accepts(options.release, tag)
  if self.own_before == self.own_id then return tag == nil or is_ours end
  return is_ours and #options.filters == 0 and not options.only_tagged
end

--- Makes a source; it makes no calls yet.
---@param options fleet.Ec2Options
---@return fleet.Ec2Source
function source.new(options)
  local what = ("tag %s = %s%s%s"):format(options.tag_key, (options.release:gsub(",", "|")),
    options.fleet and (" of fleet %s%s"):format(options.fleet, options.only_tagged and ""
      or " or untagged") or "", describe_filters(options.filters))
  local filters = {
    { name = "tag:" .. options.tag_key, values = values_of(options.release) },
    { name = "instance-state-name", values = { "running" } },
    options.only_tagged and { name = "tag:" .. FLEET_TAG, values = { literal(options.fleet) } }
      or nil,
  }
  return setmetatable({
    options = options, what = what,
    filters = table.move(options.filters, 1, #options.filters, #filters + 1, filters),
    rules = membership.CAUTIOUS, interval = options.interval or source.INTERVAL,
    name = ("ec2 %s (%s)"):format(options.region, what),
    question = table.concat({ "ec2", options.identity, options.endpoint, options.region, what,
      options.address, options.port }, "\n"),
    own_id = nil,     -- of this machine, once it is known
    own_before = nil, -- its id in an earlier answer
  }, Ec2Source)
end

--- Takes the id of this machine in a cached answer.
---@param id string|nil
function Ec2Source:expect(id)
  self.own_before = id
end

-- ---- one poll ----

-- All instances that match the filters, or nil and an error.
local function all_instances(self, filters)
  local all, seen, params = {}, {}, { MaxResults = self.options.page or PAGE }
  for n, filter in ipairs(filters) do
    params[("Filter.%d.Name"):format(n)] = filter.name
    for i, value in ipairs(filter.values) do
      params[("Filter.%d.Value.%d"):format(n, i)] = value
    end
  end
  for _ = 1, MAX_PAGES do
    local body, err = self.options.aws:query("ec2", API_VERSION, "DescribeInstances", params)
    if not body then return nil, err end
    local page
    page, err = instances.parse(body)
    if not page then return nil, err end
    table.move(page.instances, 1, #page.instances, #all + 1, all)
    local token = page.next_token
    -- a page may be empty without being the last
    if not token then return all end
    if seen[token] then
      return nil, errors.format("protocol",
        "EC2 returns the same page repeatedly (NextToken)")
    end
    seen[token], params.NextToken = true, token
  end
  return nil, errors.format("protocol", "EC2 returns more than %d pages", MAX_PAGES)
end

local function address_of(self, instance)
  for _, field in ipairs(source.ADDRESSES[self.options.address]) do
    if instance[field] then return address.join(instance[field], self.options.port) end
  end
  return nil
end

--- Whether an instance may be of our fleet: it is not tagged as another's.
---@param instance fleet.Ec2Instance
---@return boolean
function Ec2Source:is_of_fleet(instance)
  local theirs, ours = instance.tags[FLEET_TAG], self.options.fleet
  return ours == nil or theirs == ours or theirs == nil and not self.options.only_tagged
end

--- Calls EC2. Waits.
---@return fleet.Answer|nil
---@return fleet.Error|nil
function Ec2Source:poll()
  if not self.is_own_sought then
    self.is_own_sought = true
    task.spawn(find_own, self)
  end
  local found, err = all_instances(self, self.filters)
  if not found then return nil, err end
  local members, without = {}, {}
  local own_at -- address of this machine; nil: it is missing; false: it is left out
  for _, instance in ipairs(found) do
    local tag = instance.tags[self.options.tag_key]
    -- EC2 applies the filters already, but is not trusted with it
    if instance.state == "running" and tag and release.accepts(self.options.release, tag)
      and self:is_of_fleet(instance) then
      local at = address_of(self, instance)
      if at then
        members[#members + 1] = { id = instance.id, address = at, zone = instance.zone }
      else
        without[#without + 1] = instance.id
      end
      if instance.id == self.own_id then own_at = at or false end
    end
  end
  if own_at then self.own_before = self.own_id end
  local expected = own_at or own_at == nil and is_expected(self)
  self.without = #without
  return {
    members = members,
    own = expected and self.own_id or nil,
    wait = self.interval * (1 + #members / 100),
    note = #without > 0 and ("left out: %s without %s address (%s%s)"):format(
      text.count(#without, "instance"), self.options.address, table.concat(without, " ", 1,
      math.min(3, #without)), #without > 3 and " ..." or "") or nil,
  }
end

--- Counts all instances that have the tag, whatever the user's filters, for people who wonder why
--- theirs are not found. Waits.
---@return table<string, table<string, integer>>|nil counts by value of the tag and by state
---@return fleet.Error|nil
function Ec2Source:census()
  local key = self.options.tag_key
  local found, err = all_instances(self, { { name = "tag-key", values = { literal(key) } } })
  if not found then return nil, err end
  local counts = {}
  for _, instance in ipairs(found) do
    local value = instance.tags[key]
    if value then
      counts[value] = counts[value] or {}
      counts[value][instance.state] = (counts[value][instance.state] or 0) + 1
    end
  end
  return counts
end

--- Why there may be no members.
---@return string
function Ec2Source:why_empty()
  if (self.without or 0) > 0 then
    return ("EC2 has %s with %s in %s, none with an address of type %s (--address)"):format(
      text.count(self.without, "running instance"), self.what, self.options.region,
      self.options.address)
  end
  return ("EC2 has no running instance with %s in %s; moonfleet doctor tells more"):format(
    self.what, self.options.region)
end

return source
