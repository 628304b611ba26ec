-- SPDX-License-Identifier: MIT
-- Reads the answers of EC2's DescribeInstances: a page of XML as a list of instances.
-- fleet.discovery.ec2 makes the requests.

local errors = require("fleet.errors")
local xml = require("fleet.xml")

local instances = {}

--- @class fleet.Ec2Instance fields that the answer does not have are nil
--- @field id string
--- @field state? string "running", "stopped", ...
--- @field zone? string
--- @field launched? string a date as EC2 writes it
--- @field private_v4? string
--- @field public_v4? string
--- @field private_v6? string the first of its IPv6 addresses
--- @field public_v6? string the first that is not of fc00::/7
--- @field tags table<string, string> "" for a tag without a value

--- @class fleet.Ec2Page
--- @field instances fleet.Ec2Instance[] those without an id are left out: they cannot be told apart
--- @field next_token? string for the request of the next page; nil: this is the last page

-- The text of an element without the white space around it; nil when there is none.
local function text_of(element)
  local text = element and element:text():match("^%s*(.-)%s*$")
  return text ~= "" and text or nil
end

-- By name, the first child of that name in the namespace of the answer.
local function fields_of(element, namespace)
  local fields = {}
  for _, child in ipairs(element and element:children() or {}) do
    local name = child:name()
    if not fields[name] and child:namespace() == namespace then fields[name] = child end
  end
  return fields
end

local function items_of(element, namespace)
  local items = {}
  for _, child in ipairs(element and element:children() or {}) do
    if child:name() == "item" and child:namespace() == namespace then items[#items + 1] = child end
  end
  return items
end

local function add_v6(instance, address)
  if not address then return end
  instance.private_v6 = instance.private_v6 or address
  if not address:find("^[fF][c-dC-D]") then instance.public_v6 = instance.public_v6 or address end
end

local function read_v6(instance, fields, namespace)
  add_v6(instance, text_of(fields.ipv6Address))
  for _, interface in ipairs(items_of(fields.networkInterfaceSet, namespace)) do
    local addresses = fields_of(interface, namespace).ipv6AddressesSet
    for _, item in ipairs(items_of(addresses, namespace)) do
      add_v6(instance, text_of(fields_of(item, namespace).ipv6Address))
    end
  end
end

local function read_tags(element, namespace)
  local tags = {}
  for _, item in ipairs(items_of(element, namespace)) do
    local fields = fields_of(item, namespace)
    local key = text_of(fields.key)
    if key then tags[key] = text_of(fields.value) or "" end
  end
  return tags
end

local function read_instance(element, namespace)
  local fields = fields_of(element, namespace)
  local instance = {
    id = text_of(fields.instanceId),
    state = text_of(fields_of(fields.instanceState, namespace).name),
    zone = text_of(fields_of(fields.placement, namespace).availabilityZone),
    launched = text_of(fields.launchTime),
    private_v4 = text_of(fields.privateIpAddress),
    public_v4 = text_of(fields.ipAddress),
    tags = read_tags(fields.tagSet, namespace),
  }
  read_v6(instance, fields, namespace)
  return instance
end

local bad = errors.formatter("decode")

--- Reads a page of at most 64 MiB.
---@param body string
---@return fleet.Ec2Page|nil
---@return fleet.Error|nil of kind "decode" (no XML, cut off, or another document than
---  DescribeInstancesResponse), "too_large", "timeout" or "memory"
function instances.parse(body)
  local document <close>, err = xml.parse(body)
  if not document then return nil, err end
  local root = document:root()
  local name, namespace = root:name(), root:namespace()
  if name ~= "DescribeInstancesResponse" then
    return nil, bad("not an answer of EC2, but an XML document '%s'", name:sub(1, 40))
  end
  local fields = fields_of(root, namespace)
  if not fields.reservationSet then -- which must not look like an empty fleet
    return nil, bad("an answer of EC2 without its set of reservations")
  end
  local page = { instances = {}, next_token = text_of(fields.nextToken) }
  for _, reservation in ipairs(items_of(fields.reservationSet, namespace)) do
    local set = fields_of(reservation, namespace).instancesSet
    for _, item in ipairs(items_of(set, namespace)) do
      local instance = read_instance(item, namespace)
      if instance.id then page.instances[#page.instances + 1] = instance end
    end
  end
  return page
end

return instances
