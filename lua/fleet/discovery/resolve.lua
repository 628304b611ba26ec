-- SPDX-License-Identifier: MIT
-- The nodes that the command line selects: those of --peers, those that --discover finds, those
-- that it has started (--ssh, --sshlogin-file, --launch), or only this machine.

local address = require("fleet.discovery.address")
local check = require("fleet.base.check")
local errors = require("fleet.errors")
local text = require("fleet.base.text")

local resolve = {}

--- The flags that select nodes, by their keys. Without any there is a private node.
resolve.SELECTORS = { "peers", "discover", "ssh", "sshlogin_file", "launch" }

--- Returns whether any of the flags selects nodes.
---@param flags table of the command line
---@return boolean
function resolve.selects(flags)
  for _, key in ipairs(resolve.SELECTORS) do
    if flags[key] then return true end
  end
  return false
end

local KINDS = { "dns", "ec2", "file" }

local usage = errors.formatter("usage")

-- By kind, functions that make a source; `rest` is the text behind the colon, or nil.
local sources = {}

function sources.file(rest, flags)
  if not rest then return nil, usage("--discover file:PATH needs the path of a list of nodes") end
  local file = require("fleet.discovery.file")
  return file.new(rest, file.addresses(flags.port or address.DEFAULT_PORT))
end

-- The view of AWS of this process, which keeps tokens and credentials.
local aws

--- The view of AWS that the flags configure.
---@param flags table of the command line
---@return fleet.Aws
function resolve.aws(flags)
  aws = aws or require("fleet.aws").new({
    flags = {
      region = flags.region, profile = flags.profile,
      endpoints = flags.endpoint and { ec2 = flags.endpoint } or nil,
    },
  })
  return aws
end

-- Parses NAME=VALUE|VALUE as {name=, values=}.
local function parse_filter(text_of_filter)
  local name, list = text_of_filter:match("^([^=]+)=(.+)$")
  if not name then
    return nil, usage("--filter takes NAME=VALUE, such as vpc-id=vpc-1234, got %s",
      text.quote(text_of_filter))
  end
  local values = {}
  for value in (list .. "|"):gmatch("([^|]*)|") do values[#values + 1] = value end
  return { name = name, values = values }
end

function sources.ec2(rest, flags, fleet)
  if rest then return nil, usage("--discover ec2 takes no argument; use flags") end
  local filters = {}
  for i, filter in ipairs(flags.filter or {}) do
    local parsed, err = parse_filter(filter)
    if not parsed then return nil, err end
    filters[i] = parsed
  end
  local service = resolve.aws(flags)
  local region, _, err = service.settings:region()
  if not region then return nil, err end
  local endpoint
  endpoint, _, err = service:endpoint("ec2")
  if not endpoint then return nil, err end
  return require("fleet.discovery.ec2").new({
    aws = service, region = region, endpoint = endpoint, identity = service:identity(),
    release = flags.release, fleet = flags.fleet or fleet, only_tagged = flags.fleet ~= nil,
    tag_key = flags.tag_key or require("fleet.discovery.release").TAG_KEY, filters = filters,
    address = flags.address or "private_v4", port = flags.port or address.DEFAULT_PORT,
    interval = flags.poll_interval,
  })
end

function sources.dns(rest, flags)
  local host, port = address.split(rest or "")
  if not host then
    return nil, usage("--discover dns:NAME[:PORT] needs a name, got %s", text.quote(rest or ""))
  end
  return require("fleet.discovery.dns").new({
    name = host, port = port or flags.port, servers = flags.dns_server,
    interval = flags.poll_interval,
  })
end

--- The kind of a discovery.
---@param what string|nil the value of --discover
---@return "dns"|"ec2"|"file"|nil kind nil: there is none; nil and an error
---@return string|fleet.Error|nil rest the text behind the colon; or the error, of kind "usage"
function resolve.kind(what)
  if not what then return nil end
  local kind, rest = what:match("^(%w+):(.+)$")
  kind = kind or what:match("^(%w+):?$")
  if sources[kind] then return kind, rest end
  local nearest = check.nearest(kind or what, KINDS)
  return nil, usage("--discover takes ec2, dns:NAME[:PORT] or file:PATH, got %s%s",
    text.quote(what), nearest and ("; did you mean %s?"):format(nearest) or "")
end

--- Makes the source of a discovery. Waits.
---@param what string the value of --discover
---@param flags table of the command line
---@param fleet string|nil that our keys belong to
---@return fleet.DiscoverySource|nil
---@return fleet.Error|nil of kind "usage"
function resolve.source(what, flags, fleet)
  local kind, rest = resolve.kind(what)
  if not kind then return nil, rest end
  return sources[kind](rest, flags, fleet)
end

-- Flags that say how ssh starts nodes.
local OF_SSH = { "ssh_program", "ssh_copy", "ssh_command" }

-- Returns an error, or nothing.
local function check_of_ssh(flags, origins)
  if flags.ssh or flags.sshlogin_file then return nil end
  for _, key in ipairs(OF_SSH) do
    local origin = origins[key]
    if origin and origin.typed then
      return usage("%s needs --ssh or --sshlogin-file, which select the hosts", origin.name)
    end
  end
  return nil
end

--- Removes the flags that select nodes less specifically than others do: the command line wins over
--- the environment, and that over the configuration. Those of one place are used together, except
--- --peers with --discover.
---@param flags table of the command line
---@param origins table<string, fleet.cli.Origin>
---@return true|nil
---@return fleet.Error|nil of kind "usage"
function resolve.most_specific(flags, origins)
  local most = math.huge
  for _, key in ipairs(resolve.SELECTORS) do
    if origins[key] then most = math.min(most, origins[key].precedence) end
  end
  for _, key in ipairs(resolve.SELECTORS) do
    if origins[key] and origins[key].precedence > most then flags[key] = nil end
  end
  local peers, discover = origins.peers, origins.discover
  if peers and discover and flags.peers and flags.discover then
    return nil, usage("%s and %s both select the nodes: give only one of them", peers.name,
      discover.name)
  end
  local err = check_of_ssh(flags, origins)
  return not err or nil, err
end

-- Checks that peers are addresses, and not, say, the path of a list.
local function check_peers(peers)
  for _, peer in ipairs(peers) do
    local place = peer:match("^tcp://(.*)$") or not peer:find("://", 1, true) and peer
    local host, fault = address.split(place or "localhost")
    if not host then
      local hint = place:find("/", 1, true)
        and "; a list of nodes in a file is --discover file:PATH" or ""
      return usage("--peers: %s %s%s", text.quote(peer), fault, hint)
    end
  end
  return nil
end

local function new_discovery(source, getenv)
  local cache = require("fleet.discovery.cache")
  return require("fleet.discovery").new(source,
    source.question and cache.new(cache.folder(getenv), source.question))
end

--- @class fleet.NodeSources where the nodes of a cluster come from
--- @field members fleet.Member[] those that the command line names
--- @field discoveries fleet.Discovery[] those that come and go
--- @field access fleet.Access|nil how those over TCP are reached (default: on this machine alone)

--- The nodes to open a cluster with.
---@param flags table of the command line
---@param getenv fun(name: string): string|nil
---@param fleet string|nil that our keys belong to
---@return fleet.NodeSources|nil sources nil: this machine; nil and an error
---@return fleet.Error|nil
function resolve.nodes(flags, getenv, fleet)
  -- loaded when used, so that short commands start fast
  local launch = (flags.ssh or flags.launch or flags.sshlogin_file)
    and require("fleet.discovery.launch")
  local members, err = {}, nil
  if launch then members, err = launch.members(flags) end
  err = err or check_peers(flags.peers or {})
  if err then return nil, err end
  for _, peer in ipairs(flags.peers or {}) do
    members[#members + 1] = { id = peer, address = peer }
  end
  local discoveries, source = {}
  if flags.discover then
    source, err = resolve.source(flags.discover, flags, fleet)
    if not source then return nil, err end
    discoveries[1] = new_discovery(source, getenv)
  end
  if flags.sshlogin_file then
    local parse
    parse, err = launch.file_parser(flags)
    if not parse then return nil, err end
    source = require("fleet.discovery.file").new(flags.sshlogin_file, parse)
    discoveries[#discoveries + 1] = new_discovery(source, getenv)
  end
  if #members + #discoveries == 0 then return nil end
  return { members = members, discoveries = discoveries }
end

return resolve
