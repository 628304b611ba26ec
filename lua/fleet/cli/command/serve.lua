-- SPDX-License-Identifier: MIT
-- `moonfleet serve`: checks the flags; the host runs the node when this Lua state is gone
-- (host/node/serve.c).

local address_of = require("fleet.discovery.address")
local resolve = require("fleet.discovery.resolve")
local errors = require("fleet.errors")
local http_address = require("fleet.httpd.address")
local lifecycle = require("fleet.aws.lifecycle")
local log = require("fleet.log")
local node = require("fleet.cluster.connection")
local store = require("fleet.keys.store")
local sys = require("host.sys")

-- Bytes of memory of a worker, which needs some for itself.
local DEFAULT_MEMORY, MIN_MEMORY = 2 << 30, 64 << 20
-- Seconds without a driver after which a launched node leaves: a network that is cut or frozen
-- does not end its standard input.
local STDIO_LEASE_EXIT = 60
-- The termination hook of packer/stack.yaml.
local LIFECYCLE_HOOK = "moonfleet-drain"

local usage = errors.formatter("usage")

-- Returns the URL to listen on. nng's own errors are hard to read, and nobody would know the port
-- that port 0 stands for.
local function listen_url(address)
  local url = node.url(address)
  local place = url:match("^tcp://(.*)$")
  if not place then return url end
  local host, port = place:match("^(.*):(%d+)$")
  if not host or host == "" or host:find(":", 1, true) and not host:find("^%[[%x:.]+%]$") then
    return nil, usage("--listen takes HOST:PORT, [IPV6]:PORT or ipc:///PATH (127.0.0.1:%s is this "
      .. "machine alone), got '%s'", port or address_of.DEFAULT_PORT, address)
  elseif tonumber(port) < 1 or tonumber(port) > 65535 then
    return nil, usage("--listen takes a port from 1 to 65535, got '%s'", address)
  end
  return url
end

-- The host's name and the port, which differs between nodes of one machine.
local function default_name(url)
  local port = url and url:match("^tcp://.*:(%d+)$")
  return port and ("%s:%s"):format(sys.hostname(), port) or sys.hostname()
end

-- The mode of sockets from octal digits; default: 0600.
local function ipc_mode(digits)
  if not digits then return nil end
  if not digits:find("^0?[0-7][0-7][0-7]$") then
    return nil, usage("--ipc-mode takes three octal digits such as 600 or 660, got '%s'", digits)
  end
  return tonumber(digits, 8)
end

-- Asks the metadata service for the instance, its zone, and whether it is in a warm pool, where a
-- node waits. A node can serve without them.
local function find_instance(flags)
  local imds = resolve.aws(flags).imds
  local instance, err = imds:instance_id()
  local zone, state
  if instance then zone, err = imds:zone() end
  if zone then state, err = imds:lifecycle_state() end
  if err then log.warn("cannot determine which EC2 instance this is", { error = err.message }) end
  return instance, zone, lifecycle.is_warm(state)
end

local function milliseconds(seconds)
  return seconds and math.max(1, math.ceil(seconds * 1000))
end

-- Returns the descriptors of a node's only channel, if it is to have one.
local function descriptors(flags)
  if flags.session_fd then return flags.session_fd, flags.session_fd end
  if flags.stdio then return 0, 1 end
end

-- Returns where those who watch the node are answered; nothing without --http. It is tried now,
-- when a mistake can still be reported as one.
local function status_address(flags)
  if not flags.http then return nil end
  local host, port = http_address.read("--http", flags.http, 9440)
  if not host then return nil, port end
  if not http_address.is_loopback(host) and not flags.http_public then
    return nil, usage("--http %s can be reached from other machines: with --http-public, whoever "
      .. "can connect may read the node's health and metrics, and do nothing else", flags.http)
  end
  local probe, err = require("host.http_server").listen({ host = host, port = port })
  if not probe then return nil, errors.format("usage", "--http: %s", err.message) end
  probe:close()
  return host, port
end

-- Returns the folder of the keys, or their whole name in a store. Sockets of files and descriptors
-- need none, so there one that is not typed is for other commands: a private node has the
-- environment of its driver.
local function keys_of(flags, origins, listen)
  for _, url in ipairs(listen) do
    if url:find("^tcp://") then
      if not store.is_store(flags.tls) then return flags.tls end
      return store.resolve(flags.tls, "node", flags.fleet, resolve.aws(flags).imds)
    end
  end
  if origins.tls and origins.tls.typed then
    return nil, usage("--tls is for tcp addresses, and this node listens on none")
  end
end

---@param invocation fleet.cli.Invocation
---@return table|nil for the host: {listen=, name=, release=, workers=, ...}
---@return fleet.Error|nil
return function(invocation)
  local flags, origins = invocation.flags, invocation.origins or {}
  local input, output = descriptors(flags)
  if flags.stdio and origins.listen and origins.listen.typed then
    return nil, usage("--stdio serves the driver that started this node, --listen those that "
      .. "connect; a node does one of them")
  end
  local listen = {}
  for i, address in ipairs(input and {} or flags.listen or { "127.0.0.1" }) do
    local url, err = listen_url(address)
    if not url then return nil, err end
    listen[i] = url
  end
  local tls, no_use = keys_of(flags, origins, listen)
  if no_use then return nil, no_use end
  local mode, bad_mode = ipc_mode(flags.ipc_mode)
  if bad_mode then return nil, bad_mode end
  local memory = flags.worker_memory or DEFAULT_MEMORY
  if memory > 0 and memory < MIN_MEMORY then
    return nil, usage("--worker-memory takes at least 64M, or 0 for no limit, got %d bytes", memory)
  end
  local http_host, http_port = status_address(flags)
  if flags.http and not http_host then return nil, http_port end
  local lease_exit = flags.lease_exit or flags.stdio and STDIO_LEASE_EXIT or 0
  local on_ec2, instance, zone, standby = resolve.kind(flags.discover) == "ec2", nil, nil, nil
  if on_ec2 then instance, zone, standby = find_instance(flags) end
  return {
    listen = listen,
    in_fd = input,
    out_fd = output,
    tls = tls,
    tls_stored = store.is_store(tls) or nil,
    tls_interval = milliseconds(flags.tls_interval),
    region = flags.region,
    profile = flags.profile,
    insecure = flags.insecure,
    http_host = http_host,
    http_port = http_port,
    audit = flags.audit,
    ipc_mode = mode,
    instance = instance,
    zone = zone,
    monitor_instance = on_ec2 or nil,
    standby = standby or nil,
    lifecycle_hook = on_ec2 and (flags.lifecycle_hook or LIFECYCLE_HOOK) or nil,
    name = flags.name or default_name(listen[1]),
    release = flags.release,
    workers = flags.workers or sys.cores(),
    worker_memory = memory,
    lease = milliseconds(flags.lease),
    lease_exit = lease_exit > 0 and milliseconds(lease_exit) or nil,
    drain_timeout = milliseconds(flags.drain_timeout),
    worker_cgroup = flags.worker_cgroup,
    frozen_after = milliseconds(flags.frozen_after),
    lua_path = flags.lua_path,
    allow_hosts = table.concat(flags.allow_hosts or { "none" }, ","),
    modules = flags.modules and table.concat(flags.modules, ","),
    path = package.path,
    cpath = package.cpath,
  }
end
