-- SPDX-License-Identifier: MIT
-- What a node takes from drivers that are broken or hostile (host/serve.c,
-- host/session.c): it answers, and goes on working for the others.

local codec = require("host.codec")
local e2e = require("spec.support.e2e")
local rpc = require("host.rpc")
local socket = require("socket")
local sys = require("host.sys")
local task = require("host.task")

local DEFINITION = codec.encode({
  source = "return { map = function(x) return x + 1 end }", chunkname = "=job", concurrency = 4,
})

describe("a node", function()
  local world, node, peer

  before_each(function()
    world = e2e.new()
    node = world:node({ workers = 1 })
    peer = assert(rpc.dial("tcp://" .. node.address, 30))
  end)

  after_each(function()
    peer:close()
    world:close()
  end)

  local function ask(...)
    return assert(codec.decode(assert(peer:call(codec.encode({ ... }), 60))))
  end

  local function refuses(reply, kind)
    assert.equal("error", reply[1])
    assert.equal(kind, reply[2])
  end

  -- A batch for worker 1, for as long as that is its first process.
  local function batch(first, count, items)
    return { 1, 1, "job", first, count, 1, items }
  end

  -- What came of tasks 1 to `count`: their values, or false where they failed.
  local function run(key, definition, count, items)
    local jobs, batches = { { "job", definition } }, { batch(1, count, items) }
    local results, left = {}, count
    while left > 0 do
      local reply = ask("work", sys.protocol, key, jobs, batches)
      assert.equal("records", reply[1])
      codec.each_result(reply[2], function(_, id, _, ok, value)
        if id == 0 then return end
        results[id], left = ok and value, left - 1
      end)
      jobs, batches = {}, {}
    end
    return results
  end

  local function works()
    assert.equal("ready", ask("status", sys.protocol)[2].state)
    local key = ("w"):rep(16)
    assert.same({ 42 }, run(key, DEFINITION, 1, codec.encode(41)))
    assert.equal("ended", ask("end", sys.protocol, key)[1])
  end

  it("answers what is no message of its protocol", function()
    for _, bytes in ipairs({
      "", "\0", "\xc1", "\x91", "\xdd\xff\xff\xff\xff", ("\x91"):rep(1e5),
    }) do
      refuses(assert(codec.decode(assert(peer:call(bytes, 60)))), "protocol")
    end
    refuses(ask("nonsense", sys.protocol), "protocol")
    refuses(ask("work", sys.protocol + 1), "skew")
    refuses(ask("work", sys.protocol, "short", {}, {}), "protocol")
    refuses(ask("end", sys.protocol), "protocol")
    works()
  end)

  it("answers every cut and every changed byte of a message", function()
    local whole = codec.encode({ "work", sys.protocol, ("s"):rep(16), { { "job", DEFINITION } }, {
      { 99, 1, "job", 1, 2, 1, "\1\2" }, { 1, 99, "job", 3, 1, 1, "\1" },
    } })
    for n = 0, #whole - 1 do
      local reply = assert(codec.decode(assert(peer:call(whole:sub(1, n), 60))))
      refuses(reply, "protocol")
    end
    local waiting = #whole
    for at = 1, #whole do -- some are whole messages still, whose reply waits for records
      task.spawn(function()
        local other = string.char(whole:byte(at) ~ (1 << at % 8))
        peer:call(whole:sub(1, at - 1) .. other .. whole:sub(at + 1), 2)
        waiting = waiting - 1
      end)
    end
    e2e.wait_until("the replies", function() return waiting == 0 end)
    works()
  end)

  it("refuses task ids that it cannot count", function()
    for _, b in ipairs({
      batch(math.maxinteger, 2, "\1\2"), batch(math.maxinteger, 1, "\1"), batch(0, 1, "\1"),
      batch(-1, 1, "\1"), batch(1, 0, ""), batch(1, -1, "\1"), batch(1, 3, "\1\2"),
    }) do
      local jobs = { { "job", DEFINITION } }
      refuses(ask("work", sys.protocol, ("k"):rep(16), jobs, { b }), "protocol")
    end
    works()
  end)

  it("fails items that are no values, one by one", function()
    local results = run(("k"):rep(16), DEFINITION, 3, "\1\xc1\3")
    assert.same({ 2, false, false }, results)
    works()
  end)

  it("breaks a job whose definition is nonsense, and that alone", function()
    for i, definition in ipairs({
      "", "\xc1", "\x80", codec.encode(12),
      codec.encode({ source = "return {", chunkname = "=job", concurrency = 1 }),
      codec.encode({ source = "return { map = print }", chunkname = "=job", concurrency = "x" }),
    }) do
      assert.same({ false }, run(("%016d"):format(i), definition, 1, "\1"))
    end
    works()
  end)

  it("keeps a worker whose task's error is about as large as a message", function()
    for _, less in ipairs({ 0, 60, 80, 100, 150, 1024 * 1024 }) do
      local source = ("return { map = function() error(('x'):rep(%d), 0) end }"):format(
        65 * 1024 * 1024 - less)
      local definition = codec.encode({ source = source, chunkname = "=job", concurrency = 1 })
      assert.same({ false }, run(("%016d"):format(less), definition, 1, "\1"))
    end
    works()
  end)

  it("holds a bounded number of requests, the newest", function()
    local replies = 0
    for _ = 1, 40 do
      task.spawn(function()
        if peer:call(codec.encode({ "work", sys.protocol, ("h"):rep(16), {}, {} })) then
          replies = replies + 1
        end
      end)
    end
    e2e.wait_until("the oldest to be answered", function() return replies >= 24 end)
    works()
    assert.equal(24, replies)
  end)

  it("takes a bounded number of sessions", function()
    local refused, done = 0, 0
    for i = 1, 300 do
      task.spawn(function()
        local message = { "work", sys.protocol, ("%016d"):format(i), {}, {} }
        local reply = peer:call(codec.encode(message))
        if reply and codec.decode(reply)[2] == "refused" then refused = refused + 1 end
        done = done + 1
      end)
    end
    e2e.wait_until("the refusals", function() return refused >= 300 - 256 end)
    assert.equal("ready", ask("status", sys.protocol)[2].state)
    peer:close()
    e2e.wait_until("the others to fail", function() return done == 300 end)
    assert.equal(300 - 256, refused)
    peer = assert(rpc.dial("tcp://" .. node.address, 30))
    e2e.wait_until("room for a session", function()
      return ask("work", sys.protocol, ("z"):rep(16), {}, { 1 })[2] == "protocol"
    end)
    works()
  end)

  it("hears others while some speak no word of nng", function()
    local hello, open = "\0SP\0\0\x30\0\0", {}
    for _, bytes in ipairs({
      "", "\0", hello, "\0SP\0\0\x31\0\0", "GET / HTTP/1.1\r\n\r\n", ("\xff"):rep(1e5),
      hello .. ("\xff"):rep(8), hello .. "\0\0\0\0\0\0\0\2hi", hello .. "\0\0\0\0\0\0\0\x10half",
    }) do
      for stay = 0, 1 do
        local connection = assert(socket.connect("127.0.0.1", node.port))
        connection:settimeout(1)
        connection:send(bytes)
        if stay == 1 then open[#open + 1] = connection else connection:close() end
      end
    end
    works()
    for _, connection in ipairs(open) do connection:close() end
    works()
  end)
end)
