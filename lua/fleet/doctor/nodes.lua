-- SPDX-License-Identifier: MIT
-- Checks the nodes that were found: whether they can be reached, have the driver's release, and
-- do work.

local source_cache = require("fleet.ship.source_cache")
local sys = require("host.sys")
local text = require("fleet.base.text")

local nodes = {}

-- Bytes sent to each node and back: more than fits into a packet of any network, to detect a path
-- that loses large packets (its MTU).
local PAYLOAD = 64 * 1024
-- Seconds.
local TIMEOUT = 10
-- Nodes named in one line.
local MAX_NAMES = 3

-- Seconds by which clocks may differ: keygen dates certificates an hour back.
local CLOCK_WARN, CLOCK_FAIL = 30, 3600

local FIXES = {
  refused = "start moonfleet serve there; without --listen it listens on loopback only",
  usage = "make keys for the fleet (moonfleet keygen) and give --tls DIR, or use --ssh "
    .. "(docs/fleet.md)",
  tls = "give both sides keys of one fleet that are valid now (docs/security.md); moonfleet doctor "
    .. "--tls DIR checks a folder of ours, the log of the node says why it refuses",
  plain = "start the node with --tls and the folder of a node, or leave out our --tls if it "
    .. "listens on this machine alone",
  revoked = "make another pair for this driver: moonfleet keygen DIR --driver NAME",
  lost = "if the node has --tls, give --tls with the folder of a driver",
  timeout = "allow TCP connections to that port from here in the security group of the nodes, and "
    .. "check routes and network ACLs",
  dns = "name the nodes by address, or correct the name",
  connect = "check the address, and routes and firewalls on the way there",
  skew = "give both sides the same --release, and start both from the same build",
  silent = "restart the node if it hangs (journalctl -u moonfleet), or correct the port",
  protocol = "something else listens there: check the port",
  started = "run the command by hand: a node writes a line that begins with moonfleet/ and waits, "
    .. "until Ctrl-C; docs/fleet.md explains the messages",
  ssh = "docs/fleet.md explains the messages of --ssh; by hand, ssh -o BatchMode=yes HOST "
    .. "moonfleet version must work",
  draining = "the node is shutting down; expect a replacement",
}

-- What an error's message has for each reason, the first match: a key of FIXES.
local REASONS = {
  connect = {
    { "refused", "refused" }, { "connected, but", "silent" }, { "is not moonfleet", "protocol" },
    { "no such host", "dns" }, { "could not be looked up", "dns" },
  },
  usage = { { "is not an address", "dns" } },
  tls = {
    { "answers without TLS", "plain" }, { "no TLS answer", "protocol" },
    { "our certificate (revoked)", "revoked" },
  },
}

-- Why a node is not usable: a key of FIXES, or another kind of error.
local function reason_of(n)
  local err = n.error
  if not err then return n.state end
  if n.started_by and err.kind ~= "skew" then
    return n.started_by:find("^ssh ") and "ssh" or "started"
  end
  for _, case in ipairs(REASONS[err.kind] or {}) do
    if err.message:find(case[1], 1, true) then return case[2] end
  end
  return err.kind
end

-- What several nodes may have in common: the message without the address that it begins with.
local function without_address(message)
  return message:match("^%S+: (.+)$") or message
end

local function check_reach(report, cluster)
  local ready, groups, order = 0, {}, {}
  for _, n in ipairs(cluster.nodes) do
    if n.state == "ready" then
      ready = ready + 1
    else
      local reason = reason_of(n)
      local message = n.error and n.error.message or ("%s: it is %s"):format(n.address, n.state)
      local key = reason .. (n.started_by and message or without_address(message))
      if not groups[key] then
        groups[key] = { reason = reason, message = message }
        order[#order + 1] = key
      end
      table.insert(groups[key], n.address)
    end
  end
  if ready > 0 then
    report:ok("nodes", ("%d of %d can be used"):format(ready, #cluster.nodes))
  elseif #cluster.nodes > 0 then
    report:fail("nodes", ("none of %d can be used"):format(#cluster.nodes))
  end
  for _, key in ipairs(order) do
    local group = groups[key]
    local reason = group.reason
    local add = reason == "draining" and report.warn or report.fail
    local message = group.message
    if #group > 1 then
      message = ("%d nodes (%s): %s"):format(#group, text.list(group, MAX_NAMES),
        without_address(message))
    end
    add(report, "node", message,
      FIXES[reason] or "read the log of the node: journalctl -u moonfleet")
  end
end

-- A node that has answered has accepted our certificate.
local function check_certificates(report, cluster)
  local answered = 0
  for _, n in ipairs(cluster.nodes) do
    if n.status then answered = answered + 1 end
  end
  if answered > 0 then
    report:ok("tls", ("%d of %d nodes accept our certificate, and we theirs"):format(answered,
      #cluster.nodes))
  end
end

-- Certificates and lists of revoked ones have dates.
local function check_clocks(report, cluster)
  local worst
  for _, n in ipairs(cluster.nodes) do
    if n.ahead and (not worst or math.abs(n.ahead) > math.abs(worst.ahead)) then worst = n end
  end
  if not worst or cluster.private then return end
  local off = math.abs(worst.ahead)
  if off < CLOCK_WARN then
    report:ok("clocks", ("the nodes' differ from ours by at most %.1f s"):format(off))
    return
  end
  local add = off < CLOCK_FAIL and report.warn or report.fail
  add(report, "clocks", ("%s: its clock is %.0f s %s ours"):format(worst.name, off,
    worst.ahead > 0 and "ahead of" or "behind"),
    "synchronize both (chrony): certificates are valid from a time to a time")
end

local function check_work(report, driver, cluster)
  local echo = assert(source_cache.load("return function(s) return s end", "=(doctor)"))()
  local payload = ("0123456789abcdef"):rep(PAYLOAD // 16)
  local futures, bad = {}, {}
  local usable = cluster:ready()
  for i, n in ipairs(usable) do
    futures[i] = driver:send({ node = n.name }, echo, { timeout = TIMEOUT }, nil, payload)
  end
  local started = sys.now() -- all calls are sent together, once there are connections
  for i, n in ipairs(usable) do
    local value, err = futures[i]:wait()
    if value ~= payload then
      bad[#bad + 1] = ("%s: %s"):format(n.name, err and err.message or "other bytes came back")
    end
  end
  local slowest = sys.now() - started
  if #usable == 0 then return end
  if #bad > 0 then
    report:fail("work", text.list(bad, MAX_NAMES), "check the log of the node and, if small "
      .. "calls work, the MTU of the path (ICMP \"fragmentation needed\" must pass)")
  else
    report:ok("work", ("%d KiB went through a worker of each usable node and came back; slowest "
      .. "answer %.1f ms"):format(PAYLOAD // 1024, slowest * 1000))
  end
end

--- Checks the nodes of an open cluster.
---@param report fleet.Report
---@param driver fleet.Driver of the cluster
function nodes.check(report, driver)
  local cluster = driver.cluster
  for _, discovery in ipairs(cluster.discoveries) do
    if discovery:problem() then
      report:warn("discovery", discovery:describe(),
        "nodes may be missing or outdated: fix what it reports, or try again")
    else
      report:ok("discovery", discovery:describe())
    end
    if #cluster.nodes == 0 then report:fail("nodes", discovery:why_empty()) end
  end
  check_reach(report, cluster)
  if cluster.access.identity then check_certificates(report, cluster) end
  check_clocks(report, cluster)
  if cluster.access:observer_fault() then
    report:ok("work", "not tried: our certificate may observe only")
  else
    check_work(report, driver, cluster)
  end
end

return nodes
