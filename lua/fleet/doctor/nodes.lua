-- SPDX-License-Identifier: MIT
-- Checks of the nodes that were found: whether they are reached, of our release, and do work.

local chunks = require("fleet.ship.chunks")
local sys = require("host.sys")
local text = require("fleet.base.text")

local nodes = {}

-- Sent to each node and back: more than fits into the packets of any network, so that a path
-- that loses large packets shows (its MTU).
local PAYLOAD = 64 * 1024
local TIMEOUT = 10
-- Nodes named in one line.
local MOST_NAMES = 3

local function names_of(list)
  local names = {}
  for i = 1, math.min(#list, MOST_NAMES) do names[i] = text.escape(list[i]) end
  local more = #list - #names
  return table.concat(names, ", ") .. (more > 0 and (" and %d more"):format(more) or "")
end

local FIXES = {
  refused = "start moonfleet serve there; until TLS is there it listens on loopback only, so on "
    .. "another machine it takes a tunnel or a relay, too (docs/discovery.md)",
  timeout = "let the security group of the nodes take TCP connections to that port from here, "
    .. "and look at routes and network ACLs",
  dns = "name the nodes by address, or correct the name",
  skew = "give both sides the same --release, and start both from the same build",
  silent = "restart the node if it hangs (journalctl -u moonfleet), or correct the port",
  protocol = "something else listens there: look at --port",
  draining = "it is leaving; a replacement should come",
}

-- By what is to be done about them.
local function reason_of(n)
  local err = n.error
  if not err then return n.state end
  if err.kind == "connect" and err.message:find("refused", 1, true) then return "refused" end
  if err.kind == "connect" and err.message:find("connected, but", 1, true) then return "silent" end
  return err.kind
end

local function check_reach(report, pool)
  local ready, groups, order = 0, {}, {}
  for _, n in ipairs(pool.nodes) do
    if n.state == "ready" then
      ready = ready + 1
    else
      local reason = reason_of(n)
      if not groups[reason] then
        groups[reason] = { message = n.error and n.error.message or "it is " .. n.state }
        order[#order + 1] = reason
      end
      table.insert(groups[reason], n.address)
    end
  end
  if ready > 0 then
    report:ok("nodes", ("%d of %d can be used"):format(ready, #pool.nodes))
  elseif #pool.nodes > 0 then
    report:fail("nodes", ("none of %d can be used"):format(#pool.nodes))
  end
  for _, reason in ipairs(order) do
    local group = groups[reason]
    local say = reason == "draining" and report.warn or report.fail
    say(report, "node", ("%d (%s): %s"):format(#group, names_of(group), group.message),
      FIXES[reason] or "read the log of the node: journalctl -u moonfleet")
  end
end

local function check_work(report, driver, pool)
  local echo = assert(chunks.load("return function(s) return s end", "=(doctor)"))()
  local payload = ("0123456789abcdef"):rep(PAYLOAD // 16)
  local futures, bad = {}, {}
  local usable = pool:ready()
  for i, n in ipairs(usable) do
    futures[i] = driver:send({ node = n.name }, echo, { payload, n = 1 }, { timeout = TIMEOUT })
  end
  local started = sys.now() -- the first waits for connections, then they leave together
  for i, n in ipairs(usable) do
    local value, err = futures[i]:wait()
    if value ~= payload then
      bad[#bad + 1] = ("%s: %s"):format(n.name, err and err.message or "other bytes came back")
    end
  end
  local slowest = sys.now() - started
  if #usable == 0 then return end
  if #bad > 0 then
    report:fail("work", names_of(bad), "look at the log of the node; if small calls work, at the "
      .. "MTU of the path (ICMP \"fragmentation needed\" must pass)")
  else
    report:ok("work", ("%d KiB went through a worker of each node and came back; slowest "
      .. "answer %.1f ms"):format(PAYLOAD // 1024, slowest * 1000))
  end
end

--- Looks at the nodes of an open pool.
---@param report fleet.Report
---@param driver fleet.Driver of the pool
function nodes.check(report, driver)
  local pool = driver.pool
  if pool.found then
    local found = pool.found
    if found:trouble() then
      report:warn("discovery", found:describe(), "nodes may be missing or gone: put right what it "
        .. "says, or look again")
    else
      report:ok("discovery", found:describe())
    end
    if #pool.nodes == 0 then report:fail("nodes", found:nobody()) end
  end
  check_reach(report, pool)
  check_work(report, driver, pool)
end

return nodes
