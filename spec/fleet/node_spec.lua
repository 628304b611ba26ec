-- SPDX-License-Identifier: MIT
local codec = require("host.codec")
local e2e = require("spec.support.e2e")
local jobs = require("spec.support.jobs")
local node = require("fleet.node")
local sys = require("host.sys")
local task = require("host.task")

describe("node.url", function()
  for address, url in pairs({
    ["host"] = "tcp://host:5440",
    ["host:1"] = "tcp://host:1",
    ["127.0.0.1"] = "tcp://127.0.0.1:5440",
    ["a.b-c.example:65535"] = "tcp://a.b-c.example:65535",
    ["[::1]"] = "tcp://[::1]:5440",
    ["[::1]:7"] = "tcp://[::1]:7",
    ["ipc:///run/x"] = "ipc:///run/x",
    ["abstract://x"] = "abstract://x",
    ["tcp://h:2"] = "tcp://h:2",
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
  n.control, n.bulk, n.session, n.jobs_sent = fake_peer(answer), fake_peer(answer), "s", {}
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
  ["no records"] = { "records", { 1 } },
  ["an error alone"] = { "error" },
  ["an error of no kind"] = { "error", 1, "text" },
}

describe("a node", function()
  it("is not connected when it is made", function()
    local n = node.new("host:1", "2.0")
    assert.same({ "host:1", "tcp://host:1", "host:1", "connecting" },
      { n.address, n.url, n.name, n.state })
    for _, ask in ipairs({ n.ask_status, n.work }) do
      local reply, err = ask(n, { key = "k", definition = "d" }, {})
      assert.is_nil(reply)
      assert.equal("lost", err.kind)
      assert.matches("host:1", err.message, 1, true)
    end
    n:close()
  end)

  describe("asked for its status", function()
    it("learns name, state and how long it took", function()
      local n = fake_node(function() return { "status", status({ state = "draining" }) } end)
      assert.equal("n1", n:ask_status(3).name)
      assert.equal(3, n.control.timeout)
      assert.same({ { "status", sys.protocol } }, n.control.sent)
      assert.same({ "n1", "draining" }, { n.name, n.state })
      assert.is_true(n.rtt >= 0)
      assert.same({ { 1, 1 } }, n.status.workers)
    end)

    for what, fields in pairs({
      release = { release = "2" }, protocol = { protocol = sys.protocol + 1 },
    }) do
      it("is skewed by another " .. what, function()
        local n = fake_node(function() return { "status", status(fields) } end)
        local reply, err = n:ask_status(1)
        assert.is_nil(reply)
        assert.equal("skew", err.kind)
        assert.equal(err, n.error)
        assert.same({ "n1", "skew" }, { n.name, n.state })
        assert.matches("host runs release", err.message, 1, true)
        assert.matches("--release", err.message, 1, true)
      end)
    end

    it("takes the status of another protocol as it comes", function()
      local n = fake_node(function() return { "status", { version = 9 } } end)
      assert.is_nil((n:ask_status(1)))
      assert.same({ "host", "skew" }, { n.name, n.state })
    end)
  end)

  it("passes on that a connection failed", function()
    local lost = { kind = "lost", message = "gone" }
    local n = fake_node(function() return nil, lost end)
    assert.equal(lost, select(2, n:ask_status(1)))
    assert.equal(lost, select(2, n:work({ key = "k", definition = "d" }, {})))
  end)

  it("passes on an error that the node answers with, under its name", function()
    local n = fake_node(function() return { "error", "refused", "not you" } end)
    local _, err = n:ask_status(1)
    assert.same({ "refused", "host: not you" }, { err.kind, err.message })
  end)

  for what, reply in pairs(MALFORMED) do
    it("takes for an error a reply that is " .. what, function()
      local n = fake_node(function() return reply end)
      for _, result in ipairs({
        table.pack(n:ask_status(1)), table.pack(n:work({ key = "k", definition = "d" }, {})),
      }) do
        assert.is_nil(result[1])
        assert.equal("protocol", result[2].kind)
      end
    end)
  end

  describe("given work", function()
    local JOB = { key = "key", definition = "text" }
    local BATCH = { 1, 1, "key", 1, 2, 1, "\1\2" }

    it("gets the job along the first time only, and gives the records", function()
      local n = fake_node(function() return { "records", "bytes" } end)
      assert.equal("bytes", n:work(JOB, {})) -- no batch needs the job
      assert.equal("bytes", n:work(JOB, { BATCH }))
      assert.equal("bytes", n:work(JOB, { BATCH }))
      n:work({ key = "other", definition = "more" }, { BATCH })
      local jobs_sent = {}
      for i, message in ipairs(n.bulk.sent) do
        assert.same({ "work", sys.protocol, "s" }, { message[1], message[2], message[3] })
        jobs_sent[i] = message[4]
      end
      assert.same({ {}, { { "key", "text" } }, {}, { { "other", "more" } } }, jobs_sent)
      assert.same({ BATCH }, n.bulk.sent[2][5])
      assert.is_nil(n.bulk.timeout) -- a request may be held for as long as it takes
    end)

    it("that no message can carry says so and sends nothing", function()
      local n = fake_node(function() return { "records", "" } end)
      local ok, err = n:work(JOB, { { 1, 1, "key", 1, 1, 1, ("x"):rep(80 * 1024 * 1024) } })
      assert.is_nil(ok)
      assert.equal("too_large", err.kind)
      assert.same({}, n.bulk.sent)
    end)
  end)

  it("closes its connections once, and the bulk one by itself", function()
    local n = fake_node(function() return { "status", status() } end)
    local control, bulk = n.control, n.bulk
    n:close_bulk()
    n:close_bulk()
    assert.same({ 0, 1 }, { control.closed, bulk.closed })
    assert.is_table(n:ask_status(1))
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
    assert.is_true(n:open_bulk())
    local job = jobs.define(jobs.source("return item"))
    local items = codec.encode_list({ "a", "b" }, 1, 2)
    local records = n:work(job, { { 1, 1, job.key, 1, 2, 1, items } })
    while not records:find("b", 1, true) do records = records .. n:work(job, {}) end

    -- a session belongs to the connection that began it
    local thief = node.new(real.address, sys.version)
    assert.is_true(thief:connect())
    assert.is_true(thief:open_bulk())
    thief.session = n.session
    local _, err = thief:work(job, {})
    assert.same({ "refused", real.name .. ": the session belongs to another connection" },
      { err.kind, err.message })
    thief:close()

    -- what waits in a call learns of the end
    local waited
    task.spawn(function() waited = table.pack(n:work(job, {})) end)
    task.yield()
    n:close()
    e2e.wait_until("the end of the call", function() return waited end)
    assert.same({ "lost", 2 }, { waited[2].kind, waited.n })
    assert.equal("lost", select(2, n:ask_status(1)).kind)
  end)

  it("may be closed at any moment of a call", function()
    local real = world:node({ workers = 1 })
    local left = 0
    for i = 1, 200 do
      local n = node.new(real.address, sys.version)
      assert.is_true(n:connect() and n:open_bulk())
      left = left + 4
      for _ = 1, 4 do
        task.spawn(function()
          n:work({ key = "key", definition = "text" }, {})
          left = left - 1
        end)
      end
      for _ = 1, i % 4 do task.yield() end
      n:close()
    end
    e2e.wait_until("the end of all calls", function() return left == 0 end)
  end)

  it("refuses work for a worker that is not there", function()
    local real = world:node({ workers = 1 })
    local n = node.new(real.address, sys.version)
    assert.is_true(n:connect() and n:open_bulk())
    local job = jobs.define(jobs.source("return item"))
    local items = codec.encode(1)
    local refusals = {}
    local function take(_, id, what, worker, fields)
      assert.same({ 0, "refused", "gone" }, { id, what, fields.why })
      refusals[worker] = fields.generation or "none"
    end
    codec.each_result(n:work(job, {
      { 1, 2, job.key, 1, 1, 1, items }, { 2, 1, job.key, 2, 1, 1, items },
      { 0, 1, job.key, 3, 1, 1, items },
    }), take)
    assert.same({ [1] = 1, [2] = "none", [0] = "none" }, refusals)
    n:close()
  end)

  it("that is not there is down and says why", function()
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
