-- SPDX-License-Identifier: MIT
local access = require("fleet.cluster.access")
local driver = require("fleet.driver")
local e2e = require("spec.support.e2e")
local launch = require("fleet.discovery.launch")
local nodes = require("fleet.doctor.nodes")
local cluster = require("fleet.cluster")
local report = require("fleet.doctor.report")
local socket = require("socket")
local sys = require("host.sys")

describe("fleet.doctor.nodes", function()
  local world
  local now = sys.now
  before_each(function() world = e2e.new() end)
  after_each(function()
    sys.now = now
    world:close()
  end)

  local function check(where)
    local p = assert(cluster.open(where, sys.version))
    local found = report.new()
    nodes.check(found, driver.new(p))
    p:close()
    return found.findings
  end

  it("has each node work, and says how it went", function()
    local list = world:nodes(2, { workers = 1 })
    local found = check(e2e.sources({ list[1].address, list[2].address }))
    assert.equal(3, #found)
    assert.same({ "ok", "2 of 2 can be used" }, { found[1].status, found[1].detail })
    assert.same({ "clocks", "ok" }, { found[2].check, found[2].status })
    assert.matches("^the nodes' differ from ours by at most 0%.%d s$", found[2].detail)
    assert.equal("ok", found[3].status)
    assert.matches("^64 KiB went through a worker of each usable node and came back; slowest "
      .. "answer ", found[3].detail)
  end)

  it("puts those together for which the same is to be done", function()
    local skewed = world:node({ workers = 1, flags = { "--release", "another" } })
    local a, b = "127.0.0.1:" .. e2e.free_port(), "127.0.0.1:" .. e2e.free_port()
    local found = check(e2e.sources({ a, skewed.address, b }))
    assert.equal(4, #found)
    assert.same({ "fail", "none of 3 can be used" }, { found[1].status, found[1].detail })
    assert.matches(("2 nodes (%s, %s): connection refused"):format(a, b), found[2].detail, 1,
      true)
    assert.matches("start moonfleet serve there", found[2].fix, 1, true)
    assert.matches("runs release another", found[3].detail, 1, true)
    assert.matches("the same --release", found[3].fix, 1, true)
  end)

  it("tells what is no address from what needs keys", function()
    local found = check(e2e.sources({ "http://127.0.0.1:80" }))
    assert.same({ "fail", "name the nodes by address, or correct the name" },
      { found[2].status, found[2].fix })
    assert.matches("'http://127.0.0.1:80' is not an address", found[2].detail, 1, true)
  end)

  it("says what may be where no node answers", function()
    local found = check(e2e.sources({ "127.0.0.1:" .. world:nginx().port }))
    assert.matches("it is not moonfleet", found[2].detail, 1, true)
    assert.matches("something else listens there", found[2].fix, 1, true)
    local silent = assert(socket.bind("127.0.0.1", 0))
    finally(function() silent:close() end)
    found = check(e2e.sources({ "127.0.0.1:" .. select(2, silent:getsockname()) }))
    assert.matches("connected, but no moonfleet node answers there", found[2].detail, 1, true)
    assert.matches("restart the node if it hangs", found[2].fix, 1, true)
  end)

  it("says of each node that was not started why", function()
    local members = assert(launch.members({ launch = { "exit 4", "exit 5" } }))
    local found = check({ members = members, discoveries = {} })
    assert.equal("none of 2 can be used", found[1].detail)
    for i = 1, 2 do
      assert.equal(("launch %d (exit %d): it ended with exit code %d"):format(i, i + 3, i + 3),
        found[i + 1].detail)
      assert.matches("run the command by hand", found[i + 1].fix, 1, true)
    end
  end)

  it("tells causes of one kind apart, each with its own fix", function()
    local function failed(address, kind, message, started_by)
      return {
        name = address, address = address, state = "down", started_by = started_by,
        error = { kind = kind, message = message },
      }
    end
    local found = report.new()
    nodes.check(found, { cluster = {
      nodes = {
        failed("a", "connect", "tcp://a:5440: the host name could not be looked up"),
        failed("b", "connect", "tcp://b:5440: Destination unreachable"),
        failed("c", "tls", "tcp://c:5440: answers without TLS"),
        failed("d", "tls", "tcp://d:5440: rejected our certificate (revoked)"),
        failed("e", "tls", "tcp://e:5440: rejected our certificate (revoked)"),
        failed("f", "connect", "f: permission denied (publickey)", "ssh f"),
      },
      discoveries = {}, access = access.new(), ready = function() return {} end,
    } })
    local expected = {
      { "tcp://a:5440: the host name could not be looked up", "name the nodes by address" },
      { "tcp://b:5440: Destination unreachable", "routes and firewalls" },
      { "tcp://c:5440: answers without TLS", "start the node with --tls" },
      { "2 nodes (d, e): rejected our certificate (revoked)", "make another pair" },
      { "f: permission denied (publickey)", "messages of --ssh" },
    }
    for i, case in ipairs(expected) do
      assert.equal(case[1], found.findings[i + 1].detail)
      assert.matches(case[2], found.findings[i + 1].fix, 1, true)
    end
    assert.equal(#expected + 1, #found.findings)
  end)

  it("says what the discovery knows, and how well", function()
    local problem
    local function check_found()
      return check({ members = {}, discoveries = { {
        open = function() return {} end, follow = function() end, close = function() end,
        describe = function() return "file x: 0 nodes" end,
        why_empty = function() return "there is nobody" end,
        problem = function() return problem end,
      } } })
    end
    local found = check_found()
    assert.same({ "ok", "file x: 0 nodes" }, { found[1].status, found[1].detail })
    assert.same({ "fail", "there is nobody" }, { found[2].status, found[2].detail })
    assert.equal(2, #found)
    problem = "stale"
    found = check_found()
    assert.same({ "warn", "file x: 0 nodes" }, { found[1].status, found[1].detail })
    assert.matches("try again", found[1].fix)
  end)

  it("compares the clocks", function()
    local function found_for(ahead, private)
      local found, list = report.new(), {}
      for i, seconds in ipairs(ahead) do
        list[i] = { name = "n" .. i, address = "a", state = "draining", ahead = seconds }
      end
      nodes.check(found, { cluster = {
        nodes = list, discoveries = {}, access = access.new(), private = private,
        ready = function() return {} end,
      } })
      for _, each in ipairs(found.findings) do
        if each.check == "clocks" then return each.status .. ": " .. each.detail end
      end
      return nil
    end
    assert.equal("ok: the nodes' differ from ours by at most 2.5 s", found_for({ 1, -2.5 }))
    assert.equal("warn: n2: its clock is 31 s behind ours", found_for({ 1, -31, 3 }))
    assert.equal("fail: n1: its clock is 3601 s ahead of ours", found_for({ 3601, -31 }))
    assert.is_nil(found_for({}))
    assert.is_nil(found_for({ 99 }, true))
  end)

  it("times the work, not the connection", function()
    local node, clock, found = { name = "n", rtt = 0.001 }, 0, report.new()
    sys.now = function() return clock end
    nodes.check(found, {
      cluster = {
        nodes = {}, discoveries = {}, access = access.new(), ready = function() return { node } end,
      },
      send = function(_, _, _, _, _, payload)
        return { wait = function()
          clock = clock + 2
          return payload
        end }
      end,
    })
    assert.matches("slowest answer 2000.0 ms", found.findings[1].detail)
  end)
end)
