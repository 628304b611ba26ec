-- SPDX-License-Identifier: MIT
-- What a node tells its service manager (host/node/service.c), received by a real socket.
-- Patient: waits for reports, which come every few seconds.

local e2e = require("spec.support.e2e")
local json = require("fleet.json")
local session = require("spec.support.session")
local socket = require("socket")
local sys = require("host.sys")
local task = require("host.task")

local WAITS = [[
  local fleet = require("fleet")
  return { map = function(seconds) fleet.sleep(seconds) return seconds end }
]]

describe("a node with a service manager", function()
  local world, manager, address

  -- Starts the service manager's socket.
  local function listen(to)
    address = to
    manager = world:start({ "python3", "spec/support/service_manager.py", address })
    e2e.wait_until("the socket", function() return manager:lines() > 0 end)
  end

  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function messages()
    local list = e2e.lines(manager:out())
    table.remove(list, 1)
    return list
  end

  -- Waits for a message that has this text; returns it and the one behind it, if there is one.
  local function told(text)
    local found, next_one
    e2e.wait_until("a message with " .. text, function()
      for i, message in ipairs(messages()) do
        if message:find(text, 1, true) then
          found, next_one = message, messages()[i + 1]
          return true
        end
      end
    end)
    return found, next_one
  end

  local function count(text)
    local n = 0
    for _, message in ipairs(messages()) do
      if message:find(text, 1, true) then n = n + 1 end
    end
    return n
  end

  local function node(options)
    options.env = { "NOTIFY_SOCKET=" .. address, table.unpack(options.env or {}) }
    return world:node(options)
  end

  for kind, name in pairs({ path = "manager", abstract = "@moonfleet-" }) do
    it("says that it is ready, what it does, and that it stops: " .. kind .. " socket", function()
      listen(kind == "path" and world:path(name) or name .. sys.random(8):gsub(".", function(c)
        return ("%02x"):format(c:byte())
      end))
      local n = node({ workers = 2 })
      told("READY=1")
      assert.equal("READY=1", messages()[1])
      assert.equal("STATUS=2 of 2 workers, 0 tasks running, 0 queued, 0 sessions",
        told("STATUS="))
      assert.equal(0, count("WATCHDOG"))
      n:kill("TERM")
      assert.equal(0, n:wait().code)
      local list = messages()
      assert.equal("STOPPING=1 | STATUS=stopped", list[#list])
      assert.equal(1, count("READY=1"))
    end)
  end

  it("asks for more time while it drains, with a status that counts what runs", function()
    listen(world:path("manager"))
    local n = node({ workers = 1 })
    local run = world:program({ "run", "--peers", n.address, "--items", "--concurrency", "1",
      world:write("waits.lua", WAITS), "3", "1", "1" })
    e2e.wait_until("a running task", function()
      local peer = session.dial("tcp://" .. n.address)
      local status = session.ask(peer, "status")[2]
      peer:close()
      return status.running > 0
    end)
    n:kill("TERM")
    local message = told("STOPPING=1")
    assert.matches("^STOPPING=1 | EXTEND_TIMEOUT_USEC=30000000 | STATUS=draining: 1 of 1 workers, "
      .. "1 tasks running, %d queued, 1 sessions$", message)
    assert.equal(0, n:wait().code)
    run:kill("INT")
    run:wait()
  end)

  it("feeds the watchdog from its loop, and not when that stands still", function()
    listen(world:path("manager"))
    local n = node({ workers = 1, env = { "WATCHDOG_USEC=400000" } })
    e2e.wait_until("signs of life", function() return count("WATCHDOG=1") >= 3 end)
    n:kill("STOP")
    task.sleep(0.5) -- what was under way
    local before = count("WATCHDOG=1")
    task.sleep(1.5)
    assert.equal(before, count("WATCHDOG=1"))
    n:kill("CONT")
    e2e.wait_until("more of them", function() return count("WATCHDOG=1") > before end)
  end)

  it("leaves the watchdog of another process alone", function()
    listen(world:path("manager"))
    node({ workers = 1, env = { "WATCHDOG_USEC=400000", "WATCHDOG_PID=1" } })
    told("STATUS=")
    task.sleep(1)
    assert.equal(0, count("WATCHDOG=1"))
  end)

  it("says that it reloads, and is ready again", function()
    listen(world:path("manager"))
    local n = node({ workers = 1, flags = { "--audit", world:path("audit") } })
    told("STATUS=")
    n:kill("HUP")
    local message = told("RELOADING=1")
    local us = tonumber(message:match("^RELOADING=1 | MONOTONIC_USEC=(%d+)$"))
    assert.is_true(math.abs(us / 1e6 - sys.now()) < 60, message)
    e2e.wait_until("the end", function() return count("READY=1") == 2 end)
    assert.equal("READY=1", select(2, told("RELOADING=1")))
  end)

  it("never says that it is ready when it cannot start, but why it cannot", function()
    listen(world:path("manager"))
    local busy = assert(socket.bind("127.0.0.1", 0))
    finally(function() busy:close() end)
    local _, port = busy:getsockname()
    for flags, reason in pairs({
      [{ "--listen", "127.0.0.1:" .. port }] = "127.0.0.1:" .. port,
      [{ "--listen", "tcp://0.0.0.0:" .. e2e.free_port() }] = "without %-%-tls DIR",
      [{ "--listen", "tcp://0.0.0.0:" .. e2e.free_port(), "--tls", world:path("no-keys") }] =
        "no%-keys",
    }) do
      local result = world:run({ "serve", table.unpack(flags) },
        { env = { "NOTIFY_SOCKET=" .. address } })
      assert.is_true(result.code == 1 or result.code == 2, result.code)
      assert.matches(reason, result.err)
    end
    assert.same({}, messages())
  end)

  it("keeps the service manager from its workers, and from private nodes", function()
    listen(world:path("manager"))
    local variables = { "NOTIFY_SOCKET=" .. address, "WATCHDOG_USEC=400000" }
    local n = world:node({ workers = 1, env = variables })
    told("READY=1")
    local environ = e2e.read(("/proc/%d/environ"):format(e2e.children(n.pid)[1]))
    assert.is_nil(environ:find("NOTIFY_SOCKET", 1, true))
    assert.is_nil(environ:find("WATCHDOG", 1, true))
    n:kill("TERM")
    n:wait()
    local before = #messages()
    local run = world:run({ "eval", "--json", "1" }, { env = variables })
    assert.equal(1, json.decode(run.out))
    assert.equal(before, #messages())
  end)

  it("works without one that has gone, and says so once", function()
    address = world:path("nobody")
    local n = node({ workers = 1, env = { "WATCHDOG_USEC=100000" } })
    e2e.wait_until("the warning", function() return n:err():find("cannot notify", 1, true) end)
    task.sleep(0.5)
    assert.equal(1, select(2, n:err():gsub("cannot notify the service manager", "")))
    n:kill("TERM")
    assert.equal(0, n:wait().code)
  end)
end)

describe("a web page with a service manager", function()
  it("says when it can be opened, and that it stops", function()
    local world = e2e.new()
    finally(function() world:close() end)
    local address = world:path("manager")
    local manager = world:start({ "python3", "spec/support/service_manager.py", address })
    e2e.wait_until("the socket", function() return manager:lines() > 0 end)
    local port = e2e.free_port()
    local web = world:program({ "web", "--listen", "127.0.0.1:" .. port, "--state",
      world:path("state") }, { env = { "NOTIFY_SOCKET=" .. address } })
    e2e.wait_until("the page", function() return manager:lines() > 1 end)
    assert(socket.connect("127.0.0.1", port)):close()
    web:kill("TERM")
    web:wait()
    local url = ("http://127.0.0.1:%d/"):format(port)
    assert.same({ "listening", "READY=1 | STATUS=" .. url, "STOPPING=1" }, e2e.lines(manager:out()))
  end)
end)

describe("serve --drain-timeout", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("leaves although a task runs, which then runs elsewhere", function()
    local first = world:node({ name = "first", workers = 1, flags = { "--drain-timeout", "0.3" } })
    local second_port = e2e.free_port()
    local run = world:program({ "run", "--items", "--peers",
      first.address .. ",127.0.0.1:" .. second_port,
      world:write("job.lua", [[
        local fleet = require("fleet")
        return { map = function(x)
          if fleet.self().node == "first" then fleet.sleep(1000) end
          return x
        end }
      ]]), "a" })
    e2e.wait_until("a running task", function()
      local peer = session.dial("tcp://" .. first.address)
      local status = session.ask(peer, "status")[2]
      peer:close()
      return status.running > 0
    end)
    first:kill("TERM")
    local ended = first:wait()
    assert.equal(0, ended.code)
    assert.matches("tasks still run, and there is no more time to drain", ended.err, 1, true)
    world:node({ workers = 1, port = second_port })
    local result = run:wait()
    assert.equal(0, result.code)
    assert.same({ { item = "a", value = "a" } }, e2e.results(result.out))
  end)
end)
