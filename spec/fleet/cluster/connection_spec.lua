-- SPDX-License-Identifier: MIT
local codec = require("host.codec")
local e2e = require("spec.support.e2e")
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

--- A connection whose far end is `answer`: it gets each message, decoded, and gives the
--- reply to encode, or nil and an error.
local function fake_peer(answer)
  local peer = { sent = {}, closed = 0 }
  function peer.call(_, bytes, timeout)
    local message = assert(codec.decode(bytes))
    peer.sent[#peer.sent + 1], peer.timeout = message, timeout
    local reply, err = answer(message)
    if reply == nil then return nil, err end
    return type(reply) == "string" and reply or codec.encode(reply)
  end
  function peer.close() peer.closed = peer.closed + 1 end
  return peer
end

local function status(fields)
  local s = {
    protocol = sys.protocol, release = "1", name = "n1", boot = "b", pid = 1, state = "ready",
    workers = { { 1, 1 } }, running = 0, queued = 0,
  }
  for key, value in pairs(fields or {}) do s[key] = value end
  return s
end

--- A node whose control and bulk connections are fake, with the same answers.
local function fake_node(answer)
  local n = node.new("host", "1")
  n.control, n.bulk, n.session_key = fake_peer(answer), fake_peer(answer), "s"
  return n
end

local MESSAGE = codec.encode({ "work" })

--- Replies that no node gives.
local MALFORMED = {
  ["nothing"] = "",
  ["no MessagePack"] = "\xC1",
  ["no array"] = 7,
  ["an empty array"] = {},
  ["another message"] = { "hello", {} },
  ["a name alone"] = { "status" },
  ["no status"] = { "status", 1 },
  ["no records"] = { "events", { 1 } },
  ["records without a number"] = { "events", "1", "x" },
  ["an error alone"] = { "error" },
  ["an error of no kind"] = { "error", 1, "text" },
}

describe("a node", function()
  it("is not connected when it is made", function()
    local n = node.new("host:1", "2.0")
    assert.same({ "host:1", "tcp://host:1", "host:1", "connecting" },
      { n.address, n.url, n.name, n.state })
    for _, ask in ipairs({ n.request_status, n.work, n.cancel, n.end_session }) do
      local reply, err = ask(n, "message", 1)
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
      assert.equal(3, n.control.timeout)
      assert.same({ { "status", sys.protocol, "s" } }, n.control.sent)
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
    assert.equal(lost, select(2, n:work(MESSAGE)))
    assert.is_nil(select(3, n:work(MESSAGE)))
  end)

  it("returns an error that the node answered with, under its name", function()
    local n = fake_node(function() return { "error", "refused", "not you" } end)
    local _, err = n:request_status(1)
    assert.same({ "refused", "host: not you" }, { err.kind, err.message })
    assert.is_true(select(3, n:work(MESSAGE))) -- it was the node that said so
  end)

  for what, reply in pairs(MALFORMED) do
    it("takes for an error a reply that is " .. what, function()
      local n = fake_node(function() return reply end)
      for _, result in ipairs({ table.pack(n:request_status(1)), table.pack(n:work(MESSAGE)) }) do
        assert.is_nil(result[1])
        assert.equal("protocol", result[2].kind)
      end
    end)
  end

  describe("given work", function()
    local function work(fields)
      local w = {
        seq = 1, ack = 0, blobs = {}, drops = {}, closes = {}, batches = {}, replies = {},
      }
      for key, value in pairs(fields or {}) do w[key] = value end
      return w
    end

    it("sends it as encoded, and returns the number and the bytes of the events", function()
      local n = fake_node(function() return { "events", 3, "bytes" } end)
      local w = work({
        seq = 2, ack = 7, blobs = { { "k", "v" } }, drops = { "d" }, closes = { 4 },
        batches = { { 1, 1, 1, { "k" }, 1, 2, 1, 0.0, "\1\2" } }, replies = { { 1, 1, 9, "t" } },
      })
      assert.same({ n = 2, 3, "bytes" }, table.pack(n:work(assert(n:encode_work(w)), 10)))
      assert.same({ {
        "work", sys.protocol, "s", 2, 7, w.blobs, w.drops, w.closes, w.batches, w.replies,
      } }, n.bulk.sent)
      assert.equal(10, n.bulk.timeout)
    end)

    it("that exceeds any message fails", function()
      local n = fake_node(function() return { "events", 0, "" } end)
      local ok, err = n:encode_work(work({ blobs = { { "k", ("x"):rep(80 * 1024 * 1024) } } }))
      assert.is_nil(ok)
      assert.equal("too_large", err.kind)
    end)
  end)

  it("is asked to cancel on the control connection", function()
    local n = fake_node(function() return { "cancelled" } end)
    assert.is_true(n:cancel({ { 1, 1, 2, 5, 1 } }, 3))
    assert.same({ { "cancel", sys.protocol, "s", { { 1, 1, 2, 5, 1 } } } }, n.control.sent)
    assert.equal(3, n.control.timeout)
  end)

  it("ends a session, ours or another", function()
    local n = fake_node(function() return { "ended", { running = 2, events = 3 } } end)
    assert.same({ running = 2, events = 3 }, n:end_session(1))
    n:end_session(1, "old")
    assert.same({ { "end", sys.protocol, "s" }, { "end", sys.protocol, "old" } }, n.control.sent)
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

  it("closes its connections once, and the bulk connection alone", function()
    local n = fake_node(function() return { "status", status() } end)
    local control, bulk = n.control, n.bulk
    n:close_bulk()
    n:close_bulk()
    assert.same({ 0, 1 }, { control.closed, bulk.closed })
    assert.is_table(n:request_status(1))
    n:close()
    n:close()
    assert.same({ 1, 1 }, { control.closed, bulk.closed })
  end)
end)

describe("a real node", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("connects, works in a session of its own, and closes", function()
    local real = world:node({ workers = 1 })
    local n = node.new(real.address, sys.version)
    assert.is_true(n:connect())
    assert.same({ real.name, "ready" }, { n.name, n.state })
    assert.same({ { 1, 1 } }, n.status.workers)
    assert.equal(real.pid, n.status.pid)
    n:begin_session()
    assert.is_true(n:open_bulk())
    local blob = jobs.define(jobs.source("return item"))[1]
    local message = {
      seq = 1, ack = 0, blobs = { { blob.key, blob.bytes } }, drops = {}, closes = {}, replies = {},
      batches = { { 1, 1, 1, { blob.key }, 1, 2, 1, 0.0, codec.encode_list({ "a", "b" }, 1, 2) } },
    }
    local number, records = n:work(n:encode_work(message))
    local all = records
    message.blobs, message.batches = {}, {}
    while not all:find("b", 1, true) do
      message.seq, message.ack = message.seq + 1, number
      number, records = n:work(n:encode_work(message))
      all = all .. records
    end
    assert.is_true(n:request_status(1).session)

    -- what waits in a call learns of the end
    local waited
    message.seq, message.ack = message.seq + 1, number
    task.spawn(function() waited = table.pack(n:work(n:encode_work(message))) end)
    task.yield()
    assert.same({ 0, 0 }, { n:end_session(1).running, n:end_session(1).events or 0 })
    n:close()
    e2e.wait_until("the end of the call", function() return waited end)
    assert.equal("lost", waited[2].kind)
    assert.equal("lost", select(2, n:request_status(1)).kind)
  end)

  it("can be closed at any moment of a call", function()
    local real = world:node({ workers = 1 })
    local left = 0
    for i = 1, 200 do
      local n = node.new(real.address, sys.version)
      assert.is_true(n:connect())
      n:begin_session()
      assert.is_true(n:open_bulk())
      left = left + 4
      for seq = 1, 4 do
        task.spawn(function()
          n:work(n:encode_work({
            seq = seq, ack = 0, blobs = {}, drops = {}, closes = {}, batches = {}, replies = {},
          }))
          left = left - 1
        end)
      end
      for _ = 1, i % 4 do task.yield() end
      n:close()
    end
    e2e.wait_until("the end of all calls", function() return left == 0 end)
  end)

  it("that does not exist is down, with the reason", function()
    local n = node.new("127.0.0.1:" .. e2e.free_port(), sys.version)
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
      local n = node.new(address, sys.version)
      assert.is_nil((n:connect()))
      assert.equal("down", n.state, address)
    end
  end)

  it("of another release is skewed, and can still be asked", function()
    local real = world:node({ workers = 1, flags = { "--release", "other" } })
    local n = node.new(real.address, sys.version)
    local ok, err = n:connect()
    assert.is_nil(ok)
    assert.same({ "skew", "skew", real.name }, { err.kind, n.state, n.name })
    assert.matches("runs release other", err.message, 1, true)
    assert.equal("other", n.status.release)
    n:close()
  end)
end)
