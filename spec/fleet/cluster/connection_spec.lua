-- SPDX-License-Identifier: MIT
local dial = require("host.channel").dial
local codec = require("host.codec")
local e2e = require("spec.support.e2e")
local errors = require("fleet.errors")
local jobs = require("spec.support.jobs")
local node = require("fleet.cluster.connection")
local sys = require("host.sys")
local task = require("host.task")

describe("node.url", function()
  for address, url in pairs({
    ["host"] = "tcp://host:5440",
    ["host:1"] = "tcp://host:1",
    ["127.0.0.1"] = "tcp://127.0.0.1:5440",
    ["a.b-c.example:65535"] = "tcp://a.b-c.example:65535",
    ["[::1]"] = "tcp://[::1]:5440",
    ["::1"] = "tcp://[::1]:5440",
    ["tcp://2001:db8::7"] = "tcp://[2001:db8::7]:5440",
    ["[::1]:7"] = "tcp://[::1]:7",
    ["ipc:///run/x"] = "ipc:///run/x",
    ["abstract://x"] = "abstract://x",
    ["tcp://h:2"] = "tcp://h:2",
    ["localhost"] = "tcp://127.0.0.1:5440",
    ["tcp://localhost:3"] = "tcp://127.0.0.1:3",
    ["localhost.example:4"] = "tcp://localhost.example:4",
  }) do
    it("of " .. address, function() assert.equal(url, node.url(address)) end)
  end
end)

--- A node that is dialled without keys.
local function new(address, release)
  return node.new(address, release, function(timeout)
    return dial({ url = node.url(address), timeout = timeout })
  end)
end

--- A channel whose far end is `answer`: it gets each request, decoded, and gives the reply to
--- encode, or nil and an error.
local function fake_channel(answer)
  local channel = { sent = {}, closed = 0 }
  function channel.call(_, bytes, timeout)
    local message = assert(codec.decode(bytes))
    channel.sent[#channel.sent + 1], channel.timeout = message, timeout
    local reply, err = answer(message)
    if reply == nil then return nil, err end
    return type(reply) == "string" and reply or codec.encode(reply)
  end
  function channel.close() channel.closed = channel.closed + 1 end
  return channel
end

local function status(fields)
  local s = {
    protocol = sys.protocol, release = "1", name = "n1", boot = "b", pid = 1, state = "ready",
    workers = { { 1, 1 } }, running = 0, queued = 0,
  }
  for key, value in pairs(fields or {}) do s[key] = value end
  return s
end

--- A node with such a channel.
local function fake_node(answer)
  local n = new("host", "1")
  n.channel, n.session_key = fake_channel(answer), "s"
  return n
end

--- Replies that no node gives.
local MALFORMED = {
  ["nothing"] = "",
  ["no MessagePack"] = "\xC1",
  ["no array"] = 7,
  ["an empty array"] = {},
  ["another message"] = { "hello", {} },
  ["a name alone"] = { "status" },
  ["no status"] = { "status", 1 },
  ["an error alone"] = { "error" },
  ["an error of no kind"] = { "error", 1, "text" },
}

describe("a node", function()
  it("is not connected when it is made", function()
    local n = new("host:1", "2.0")
    assert.same({ "host:1", "host:1", "connecting" }, { n.address, n.name, n.state })
    for _, ask in ipairs({ n.request_status, n.cancel, n.end_session, n.open_session }) do
      local reply, err = ask(n, 1, "key", 1)
      assert.is_nil(reply)
      assert.equal("lost", err.kind)
      assert.matches("host:1", err.message, 1, true)
    end
    n:close()
  end)

  describe("asked for its status", function()
    it("learns its name, its state and the round trip time", function()
      local n = fake_node(function() return { "status", status({ state = "draining" }) } end)
      assert.equal("n1", n:request_status(3).name)
      assert.equal(3, n.channel.timeout)
      assert.same({ { "status", "s" } }, n.channel.sent)
      assert.same({ "n1", "draining" }, { n.name, n.state })
      assert.is_true(n.rtt >= 0)
      assert.same({ { 1, 1 } }, n.status.workers)
    end)

    for what, fields in pairs({
      release = { release = "2" }, protocol = { protocol = sys.protocol + 1 },
    }) do
      it("is skewed by another " .. what, function()
        local n = fake_node(function() return { "status", status(fields) } end)
        local reply, err = n:request_status(1)
        assert.is_nil(reply)
        assert.equal("skew", err.kind)
        assert.equal(err, n.error)
        assert.same({ "n1", "skew" }, { n.name, n.state })
        assert.matches("host runs release", err.message, 1, true)
        assert.matches("--release", err.message, 1, true)
      end)
    end

    it("accepts the status of another protocol in any shape", function()
      local n = fake_node(function() return { "status", { version = 9 } } end)
      assert.is_nil((n:request_status(1)))
      assert.same({ "host", "skew" }, { n.name, n.state })
    end)
  end)

  it("reports that a connection failed", function()
    local lost = { kind = "lost", message = "gone" }
    local n = fake_node(function() return nil, lost end)
    assert.equal(lost, select(2, n:request_status(1)))
  end)

  it("returns an error that the node answered with, under its name", function()
    local n = fake_node(function() return { "error", "refused", "not you" } end)
    local _, err = n:request_status(1)
    assert.same({ "refused", "host: not you" }, { err.kind, err.message })
  end)

  for what, reply in pairs(MALFORMED) do
    it("takes for an error a reply that is " .. what, function()
      local n = fake_node(function() return reply end)
      local status_reply, err = n:request_status(1)
      assert.is_nil(status_reply)
      assert.equal("protocol", err.kind)
    end)
  end

  it("opens a session by its stream, and names it in later requests", function()
    local n = fake_node(function() return { "status", status() } end)
    local stream = {}
    function stream:open(...)
      self.asked = { ... }
      return table.unpack(self.answer, 1, 3)
    end
    stream.answer = { true }
    assert.is_true((n:open_session(stream, "key", 3)))
    assert.same({ n.channel, "key", 3, "1" }, stream.asked)
    n:request_status(1)
    assert.same({ { "status", "key" } }, n.channel.sent)
    stream.answer = { nil, errors.new({ kind = "refused", message = "full" }), true }
    local ok, err, by_node = n:open_session(stream, "key", 3)
    assert.same({ "refused", "n1: full", true }, { err.kind, err.message, by_node })
    assert.is_nil(ok)
    stream.answer = { nil, errors.new({ kind = "lost", message = "broke" }), false }
    ok, err, by_node = n:open_session(stream, "key", 3)
    assert.is_nil(ok)
    assert.same({ "lost", "broke", false }, { err.kind, err.message, by_node })
  end)

  it("is asked to cancel once a message has arrived", function()
    local n = fake_node(function() return { "cancelled" } end)
    assert.is_true(n:cancel(7, { { 1, 1, 2, 5, 1 } }, 3))
    assert.same({ { "cancel", 7, { { 1, 1, 2, 5, 1 } } } }, n.channel.sent)
    assert.equal(3, n.channel.timeout)
  end)

  it("ends a session, ours or another", function()
    local n = fake_node(function() return { "ended", { running = 2, events = 3 } } end)
    assert.same({ running = 2, events = 3 }, n:end_session(1))
    n:end_session(1, "old")
    assert.same({ { "end", "s" }, { "end", "old" } }, n.channel.sent)
  end)

  it("describes itself in plain data", function()
    local n = fake_node(function() return { "status", status({ running = 1, queued = 2 }) } end)
    n:request_status(1)
    local d = n:describe()
    assert.same({ "n1", "host", "ready", 1, 1, 2, "1" },
      { d.name, d.address, d.state, d.workers, d.running, d.queued, d.release })
    assert.is_true(d.rtt >= 0)
    assert.is_nil(getmetatable(d))
  end)

  it("closes its channel once", function()
    local n = fake_node(function() return { "status", status() } end)
    local channel = n.channel
    n:close()
    n:close()
    assert.equal(1, channel.closed)
  end)

  for kind, state in pairs({ skew = "skew", tls = "down", timeout = "down" }) do
    it("that cannot be dialled because of " .. kind .. " is " .. state, function()
      local err = errors.new({ kind = kind, message = "the reason" })
      local n = node.new("host", "1", function(timeout)
        assert.equal(7, timeout)
        return nil, err
      end)
      assert.same({ nil, err }, { n:connect(7) })
      assert.same({ state, err }, { n.state, n.error })
    end)
  end
end)

describe("a node whose connection ends before it answers", function()
  local function fails(n, message)
    local _, err = n:connect(1)
    assert.same({ "lost", message, "down" }, { err.kind, err.message, n.state })
  end
  local function ends()
    return fake_channel(function() return nil, { kind = "lost", message = "gone" } end)
  end

  it("is named", function() fails(node.new("host", "1", ends), "host: gone") end)

  it("may explain that", function()
    local n = node.new("host", "1", ends)
    function n.explain(err) return { kind = "lost", message = err.message .. ": no room" } end
    fails(n, "gone: no room")
  end)
end)

describe("a real node", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  -- A session with what arrives in it.
  local function new_messages(n)
    local arrived = {}
    local stream = n:new_messages({
      self = arrived,
      on_event = function(_, ...) arrived[#arrived + 1] = { ... } end,
    })
    return stream, arrived
  end

  local function has_result(arrived, value)
    for _, event in ipairs(arrived) do
      if event[1] > 0 and event[4] == value then return true end
    end
    return false
  end

  it("connects, works in a session of its own, and closes", function()
    local real = world:node({ workers = 1 })
    local n = new(real.address, sys.version)
    assert.is_true(n:connect())
    assert.same({ real.name, "ready" }, { n.name, n.state })
    assert.same({ { 1, 1 } }, n.status.workers)
    assert.equal(real.pid, n.status.pid)
    local stream, arrived = new_messages(n)
    assert.is_true(n:open_session(stream, ("k"):rep(16), 5))
    local blob = jobs.define(jobs.source("return item"))[1]
    assert.is_true(stream:add("blob", blob.key, blob.bytes))
    local keys = codec.encode({ blob.key })
    assert.same({ 2, 1 }, { stream:batch(1, 1, keys, 1, 1, 1, 0, { "a", "b", "c" }, 1, 2) })
    assert.same({ 1, 1 }, { stream:batch(1, 1, keys, 1, 3, 1, 0, codec.encode("d")) })
    stream:flush()
    e2e.wait_until("the results", function()
      return has_result(arrived, "a") and has_result(arrived, "b") and has_result(arrived, "d")
    end)
    assert.is_true(n:request_status(1).session)
    assert.same({ 0, 0 }, { n:end_session(1).running, n:end_session(1).events or 0 })
    stream:close()
    n:close()
    assert.equal("lost", select(2, n:request_status(1)).kind)
  end)

  it("can be closed at any moment", function()
    local real = world:node({ workers = 1 })
    local left = 0
    for i = 1, 100 do
      local n = new(real.address, sys.version)
      assert.is_true(n:connect())
      local stream = new_messages(n)
      left = left + 2
      task.spawn(function()
        n:open_session(stream, sys.random(16), 5)
        left = left - 1
      end)
      task.spawn(function()
        n:request_status(5)
        left = left - 1
      end)
      for _ = 1, i % 4 do task.yield() end
      if i % 2 == 0 then stream:close() end
      n:close()
      if i % 2 == 1 then stream:close() end
    end
    e2e.wait_until("the end of all calls", function() return left == 0 end)
  end)

  it("that does not exist is down, with the reason", function()
    local n = new("127.0.0.1:" .. e2e.free_port(), sys.version)
    local ok, err = n:connect()
    assert.is_nil(ok)
    assert.same({ "connect", "down" }, { err.kind, n.state })
    assert.equal(err, n.error)
    assert.matches(n.address, err.message, 1, true)
    -- and comes up when it is
    local real = world:node({ port = math.tointeger(tonumber(n.address:match("%d+$"))) })
    assert.is_true(n:connect())
    assert.is_nil(n.error)
    assert.equal(real.name, n.name)
    n:close()
  end)

  it("of a malformed address is down", function()
    for _, address in ipairs({ "http://x", "host:port", "" }) do
      local n = new(address, sys.version)
      assert.is_nil((n:connect()))
      assert.equal("down", n.state, address)
    end
  end)

  it("of another release is skewed, and can still be asked", function()
    local real = world:node({ workers = 1, flags = { "--release", "other" } })
    local n = new(real.address, sys.version)
    local ok, err = n:connect()
    assert.is_nil(ok)
    assert.same({ "skew", "skew", real.name }, { err.kind, n.state, n.name })
    assert.matches("runs release other", err.message, 1, true)
    assert.equal("other", n.status.release)
    n:close()
  end)
end)
