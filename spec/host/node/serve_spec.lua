-- SPDX-License-Identifier: MIT
-- What a node promises its drivers (host/wire/protocol.h), and how it deals with broken and hostile
-- ones: it replies, and continues to work for the others.

local codec = require("host.codec")
local e2e = require("spec.support.e2e")
local rpc = require("host.rpc")
local session = require("spec.support.session")
local socket = require("socket")
local sys = require("host.sys")
local task = require("host.task")

local PLUS_ONE = session.job("return x + 1")
local WAITS = session.job("require('fleet').sleep(x)")
-- The loop stands still while the comparator runs.
local STUCK = session.job("table.sort({ 1, 2 }, function() while true do end end)")

describe("a node", function()
  local world, node, peer

  before_each(function()
    world = e2e.new()
    node = world:node({ workers = 1 })
    peer = assert(rpc.dial("tcp://" .. node.address, 30))
    e2e.wait_until("the worker", function()
      local reply = codec.decode(peer:call(codec.encode({ "status", sys.protocol }), 60))
      return reply[2].workers[1][2] > 0
    end)
  end)

  after_each(function()
    peer:close()
    world:close()
  end)

  local function ask(...)
    return assert(codec.decode(assert(peer:call(codec.encode({ ... }), 60))))
  end

  local function status(s)
    return ask("status", sys.protocol, s and s.key)[2]
  end

  local function refuses(reply, kind)
    assert.equal("error", reply[1])
    assert.equal(kind, reply[2])
  end

  -- The one worker works, whichever its generation.
  local function works(through)
    local s = session.open(through or peer, "works" .. math.random(1 << 30))
    local generation = e2e.wait_until("a worker", function()
      local g = ask("status", sys.protocol)[2].workers[1][2]
      return g > 0 and g
    end)
    s:post({
      blobs = { { "job", PLUS_ONE } },
      batches = { s:batch(1, { 41 }, { generation = generation }) },
    })
    s:wait(1)
    assert.same({ 42 }, s.results)
    assert.equal("ended", s:close()[1])
  end

  describe("acts on a message once", function()
    local s
    before_each(function()
      s = session.open(peer, "once")
      local counts = session.job("n = n + 1 return n", "local n = 0")
      s:post({ blobs = { { "job", counts } }, batches = { s:batch(1, { 0 }) } })
      s:wait(1)
    end)

    it("when it is repeated", function()
      local bytes = s:message({ batches = { s:batch(2, { 0 }) } }, s:next())
      for _ = 1, 4 do task.spawn(s.ask, s, bytes) end
      s:wait(2)
      s:post({ batches = { s:batch(3, { 0 }) } })
      s:wait(3)
      assert.same({ 1, 2, 3 }, s.results)
    end)

    it("when messages overtake each other", function()
      local at = s.seq
      s.seq = at + 60
      for _, ahead in ipairs({ 40, 20, 39, 40, 20, 60 }) do
        local bytes = s:message({ batches = { s:batch(ahead, { 0 }) } }, at + ahead)
        task.spawn(s.ask, s, bytes)
      end
      s:wait(5)
      for _, id in ipairs({ 20, 39, 40, 60 }) do assert.is_truthy(s.results[id]) end
    end)

    it("and refuses one that skips too many", function()
      refuses(s:ask(s:message({}, s.seq + 66)), "protocol")
      refuses(s:ask(s:message({}, math.maxinteger)), "protocol")
      assert(status()) -- what was sent before has been read
      task.spawn(s.ask, s, s:message({ batches = { s:batch(2, { 0 }) } }, s.seq + 65))
      s:wait(2)
      refuses(s:ask(s:message({}, s.seq + 67)), "protocol")
    end)
  end)

  it("replies at once to the message that opens a session, and refuses others before", function()
    local s = session.new(peer, "opens")
    s.seq = 1
    refuses(s:send({}), "lost")
    assert.is_false(status(s).session)
    s.seq = 0
    assert.same({ "events", 0, "" }, s:send({}))
    assert.is_true(status(s).session)
    assert.is_false(status().session)
    assert.same({ "ended", { running = 0, events = 0 } }, s:close())
    assert.is_false(status(s).session)
    -- the key cannot be used any more: a late first message must not run again
    refuses(s:ask(s:message({}, 1)), "lost")
    refuses(s:send({}), "lost")
    assert.same({ "ended", { running = 0, events = 0 } }, s:close())
  end)

  -- A session that fetches nothing by itself, and a job; it waits for the reply to what it sends.
  local function plain(through, name)
    local s = session.new(through, name)
    s:send({ blobs = { { "job", PLUS_ONE } } })
    return s
  end

  it("sends again on a new connection what was not acknowledged", function()
    local s = plain(peer, "again")
    s:send({ batches = { s:batch(1, { 1 }) } })
    assert.same({ 2 }, s.results)
    local got = s.ack
    local other = assert(rpc.dial("tcp://" .. node.address, 30))
    s.peer = other
    s.ack = 0
    for number = 1, got do
      local reply = s:send({}) -- where it is compared
      assert.same({ "events", number }, { reply[1], reply[2] })
      s.ack = 0
    end
    s.ack = got
    s:send({ batches = { s:batch(2, { 2 }) } })
    assert.same({ 2, 3 }, s.results)
    assert.equal(got + 1, s.ack)
    s.ack = s.ack + 1 -- of a chunk that was never sent
    refuses(s:send({}), "protocol")
    other:close()
  end)

  it("sends no events to a request whose connection has ended", function()
    local dead = assert(rpc.dial("tcp://" .. node.address, 30))
    local s = plain(dead, "gone")
    local failed
    for i = 1, 2 do
      local bytes = s:message({}, i + 1)
      task.spawn(function()
        local _, err = dead:call(bytes, 60)
        failed = err
      end)
    end
    s.seq = 3
    -- nothing shows that the polls are pending; but the node read them before this
    assert(dead:call(codec.encode({ "status", sys.protocol }), 60))
    dead:close()
    s.peer = peer
    s:send({ batches = { s:batch(1, { 1 }) } })
    assert.same({ 2 }, s.results)
    e2e.wait_until("the calls to fail", function() return failed end)
    assert.equal("lost", failed.kind)
  end)

  it("sends a lost reply again", function()
    local faulty = world:node({ workers = 1, env = { "MOONFLEET_FAULT=reply:drop@3" } })
    local through = assert(rpc.dial("tcp://" .. faulty.address, 30))
    local s = plain(through, "lost")
    s:send({ batches = { s:batch(1, { 1 }) } })
    local bytes = s:message({ batches = { s:batch(2, { 2 }) } }, s:next())
    local reply, err = s:ask(bytes, 1)
    assert.is_nil(reply)
    assert.equal("timeout", err.kind)
    assert.equal("events", s:ask(bytes)[1])
    assert.same({ 2, 3 }, s.results)
    through:close()
  end)

  -- The long test: everything that has to time out, in parallel.
  it("times out polls, leases and chunks that are not acknowledged", function()
    local slow_node = world:node({ workers = 1 })
    local through = assert(rpc.dial("tcp://" .. slow_node.address, 30))
    local function known(to, s)
      local bytes = codec.encode({ "status", sys.protocol, s.key })
      return codec.decode(assert(to:call(bytes, 60)))[2].session
    end
    -- one for which there are no events
    local held
    local holds = session.new(peer, "holds")
    holds:send({})
    task.spawn(function() held = holds:send({}) end)
    -- one whose reply was lost on a connection that stays, and that does not repeat its request
    local taken = plain(peer, "taken")
    taken:send({ batches = { taken:batch(1, { 1 }) } })
    assert.equal(1, taken.ack)
    assert(peer:call(taken:message({ batches = { taken:batch(2, { 2 }) } }, 3), 60))
    taken.seq = 3
    task.spawn(function()
      while not taken.done[2] do assert(taken:send({})) end
    end)
    -- one that sends only its key
    local heard = session.new(peer, "heard")
    heard:send({ blobs = { { "job", WAITS } }, batches = { heard:batch(1, { 3600 }) } })
    -- one that is silent; a status that names it would renew its lease
    local silent = session.new(peer, "silent")
    silent:send({ blobs = { { "job", WAITS } }, batches = { silent:batch(1, { 3600 }) } })
    -- one that sends its key and leaves events that make its node pause; and another there
    local slow, other = session.new(through, "slow"), session.new(through, "other")
    local large = session.job("return ('x'):rep(10 << 20)")
    slow:send({
      blobs = { { "job", large } }, batches = { slow:batch(1, { 1, 2, 3, 4, 5, 6, 7, 8 }) },
    })
    other:send({})
    assert.equal(2, status().queued + status().running)
    local silent_is_over, slow_is_over
    e2e.wait_until("leases to be over", function()
      task.sleep(0.2)
      assert.is_true(known(peer, heard))
      assert.is_true(known(through, other))
      silent_is_over = silent_is_over or status().queued + status().running == 1
      slow_is_over = slow_is_over or not known(through, slow)
      return silent_is_over and slow_is_over
    end)
    refuses(silent:ask(silent:message({}, 1)), "lost")
    refuses(silent:ask(silent:message({}, 2)), "lost")
    refuses(slow:send({}), "lost")
    other:send({ blobs = { { "job", PLUS_ONE } }, batches = { other:batch(1, { 41 }) } })
    assert.same({ 42 }, other.results)
    assert.same({ "events", 0, "" }, held)
    assert.same({ 2, 3 }, taken.results)
    through:close()
  end)

  describe("cancels", function()
    local s
    local function begin(definition, items)
      s = session.open(peer, "cancels")
      s:post({ blobs = { { "job", definition } }, batches = { s:batch(1, items) } })
      e2e.wait_until("a task", function() return status().running + status().queued > 0 end)
    end
    local function idle()
      e2e.wait_until("nothing to run", function()
        local now = status()
        return now.running + now.queued == 0
      end)
    end

    it("waiting tasks", function()
      begin(WAITS, { 3600, 3600, 0.5 })
      for _ = 1, 2 do
        assert.same({ "cancelled" }, ask("cancel", sys.protocol, s.key, { { 1, 1, 1, 1, 2 } }))
      end
      s:wait(3)
      assert.equal("cancelled", s.errors[1].kind)
      assert.equal("cancelled", s.errors[2].kind)
      assert.is_nil(s.errors[3])
      idle()
    end)

    it("computing tasks", function()
      begin(session.job("while true do end"), { 1 })
      ask("cancel", sys.protocol, s.key, { { 1, 1, 1, 1, 1 } })
      s:wait(1)
      assert.equal("cancelled", s.errors[1].kind)
      assert.equal(1, status().workers[1][2])
    end)

    it("a task that cannot be stopped, with its worker", function()
      begin(STUCK, { 1 })
      task.sleep(0.2) -- for it to be stuck
      ask("cancel", sys.protocol, s.key, { { 1, 1, 1, 1, 1 } })
      local down = s:await("worker")
      assert.same({ "down", 1, 9, "cancelled" },
        { down[3].state, down[3].generation, down[3].signal, down[3].why })
      works()
    end)

    it("the tasks of a closed job, and no others", function()
      begin(WAITS, { 3600, 3600 })
      s:post({ closes = { 1, 77 }, batches = { s:batch(9, { 0 }, { job = 2 }) } })
      e2e.wait_until("the other", function() return s.done[9] end)
      assert.is_nil(s.errors[9])
      idle()
    end)

    it("the tasks of an ended session", function()
      begin(WAITS, { 3600, 3600 })
      assert.equal(2, s:close()[2].running)
      idle()
      works()
    end)

    it("a task of an ended session that cannot be stopped, with its worker", function()
      begin(STUCK, { 1 })
      task.sleep(0.2)
      s:close()
      e2e.wait_until("another worker", function() return status().workers[1][2] == 2 end)
      works()
    end)

    it("nothing for unknown tasks, workers and sessions", function()
      begin(WAITS, { 1 })
      assert.same({ "cancelled" }, ask("cancel", sys.protocol, s.key, {
        { 1, 2, 1, 1, 1 }, { 9, 1, 1, 1, 1 }, { 1, 1, 5, 1, 1 },
        { 1, 1, 1, 2, math.maxinteger - 2 },
      }))
      assert.same({ "cancelled" },
        ask("cancel", sys.protocol, ("n"):rep(16), { { 1, 1, 1, 1, 1 } }))
      s:wait(1)
      assert.is_nil(s.errors[1])
      refuses(ask("cancel", sys.protocol, s.key, { { 1, 1, 1, 1 } }), "protocol")
      refuses(ask("cancel", sys.protocol, s.key, { { 1, 1, 0, 1, 1 } }), "protocol")
      refuses(ask("cancel", sys.protocol, s.key), "protocol")
    end)
  end)

  it("lets a task run for its time limit and no longer", function()
    local s = session.open(peer, "time")
    s:post({
      blobs = { { "job", WAITS } },
      batches = { s:batch(1, { 3600 }, { timeout = 0.2 }), s:batch(2, { 0.3 }) },
    })
    s:wait(2)
    assert.equal("timeout", s.errors[1].kind)
    assert.is_nil(s.errors[2])
  end)

  it("sends blobs to every worker that needs them, until they are dropped", function()
    local s = session.open(peer, "blobs")
    s:post({
      blobs = { { "job", PLUS_ONE }, { "module", "content" } },
      batches = { s:batch(1, { 1 }, { keys = { "module", "job" } }) },
    })
    s:wait(1)
    e2e.kill(node:children()[1], "KILL")
    repeat local record = s:await("worker") until record[3].state == "up"
    s:post({ batches = { s:batch(2, { 2 }, { keys = { "module", "job" }, generation = 2 }) } })
    s:wait(2)
    assert.same({ 2, 3 }, s.results)
    s:post({
      drops = { "module", "nonsense" },
      batches = { s:batch(3, { 3 }, { keys = { "module", "job" }, generation = 2 }) },
    })
    assert.same({ job = 1, first = 3, count = 1, attempt = 1, why = "unknown", generation = 2 },
      s:await("refused")[3])
    s:post({ batches = { s:batch(4, { 4 }), s:batch(5, { 4 }, { worker = 7 }) } })
    assert.equal("gone", s:await("refused")[3].why)
    assert.is_nil(s:await("refused")[3].generation)
    works()
  end)

  it("limits blobs, and ignores the rest of a message that has too many", function()
    local s = session.open(peer, "limits")
    local function refused(kind, parts) refuses(s:send(parts), kind) end
    refused("too_large", { blobs = { { "k", ("x"):rep((64 << 20) + 1) } } })
    refused("protocol", { blobs = { { ("k"):rep(256), "" } } })
    local many = {}
    for i = 1, 1025 do many[i] = { "key" .. i, "x" } end
    local batches = { s:batch(1, { 1 }, { keys = { "key1" } }) }
    refused("too_large", { blobs = many, batches = batches })
    many[1025] = nil
    s:post({ blobs = many, batches = batches })
    s:wait(1)
    assert.is_false(s.results[1])
    refused("too_large", { blobs = { { "more", "x" } } })
    local keys = {}
    for i = 1, 1025 do keys[i] = "key1" end
    refused("protocol", { batches = { s:batch(9, { 1 }, { keys = keys }) } })
    s:post({ drops = { "key1" }, batches = { s:batch(2, { 1 }, { keys = { "key1" } }) } })
    assert.equal("unknown", s:await("refused")[3].why) -- it is gone
    s:post({ blobs = { { "job", PLUS_ONE } }, batches = { s:batch(2, { 1 }, { job = 2 }) } })
    s:wait(2)
    assert.equal(2, s.results[2])
    works()
  end)

  it("refuses what is too large for any worker, and ignores the rest of that message", function()
    local s = session.open(peer, "large")
    local large = ("x"):rep((64 << 20) + 1)
    s:send({ blobs = { { "job", PLUS_ONE } } })
    local small = s:batch(1, { 1 })
    refuses(s:send({ batches = { small, s:batch(2, large, { count = 1 }) } }), "too_large")
    refuses(s:send({ batches = { small }, replies = { { 1, 1, 1, large } } }), "too_large")
    s:post({ batches = { small } })
    s:wait(1)
    assert.same({ 2 }, s.results)
    works()
  end)

  describe("receives a large message in parts", function()
    local PART = 512 * 1024
    local s, whole

    before_each(function()
      s = session.open(peer, "parts")
      whole = s:message({ blobs = { { "job", PLUS_ONE }, { "fill", ("x"):rep(2 * PART) } },
        batches = { s:batch(1, { 41 }) } }, s:next())
    end)

    local function part(id, at, total, bytes)
      return ask("part", sys.protocol, s.key, id, at, total or #whole,
        bytes or whole:sub(at + 1, at + PART))
    end
    local function finish(id) return ask("whole", sys.protocol, s.key, id) end

    it("in any order, and repeated ones", function()
      for _, at in ipairs({ 2, 0, 2, 1, 0 }) do assert.equal("part", part(7, at * PART)[1]) end
      task.spawn(function()
        s:take(codec.encode(finish(7)))
        s:post({}) -- the first reply need not have the result
      end)
      s:wait(1)
      assert.same({ 42 }, s.results)
      refuses(finish(7), "protocol") -- it is gone
      works()
    end)

    it("and refuses one that is incomplete or malformed", function()
      part(7, 0)
      refuses(finish(7), "protocol")
      refuses(finish(8), "protocol")
      for _, bytes in ipairs({ "\x91", codec.encode({ "status", sys.protocol }),
        codec.encode({ "whole", sys.protocol, s.key, 9 }), ("x"):rep(100) }) do
        assert.equal("part", part(9, 0, #bytes, bytes)[1])
        refuses(finish(9), "protocol")
      end
      works()
    end)

    it("and refuses parts that do not fit", function()
      for _, wrong in ipairs({
        { 1, 1 }, { 1, -PART }, { 1, 3 * PART }, { 1, 0, 0 }, { 1, 0, -1 }, { 1, 0, 1 << 40 },
        { 1, 0, 80 * 1024 * 1024 + 1 }, { 1, 0, nil, "short" }, { 1, 0, 5, "longer" },
        { 1, math.maxinteger // PART * PART, math.maxinteger, "x" },
      }) do
        refuses(part(table.unpack(wrong, 1, 4)), "protocol")
      end
      assert.equal("part", part(2, 0)[1])
      refuses(part(2, 0, #whole + 1), "protocol")
      for id = 3, 5 do assert.equal("part", part(id, 0)[1]) end
      refuses(part(6, 0), "refused")
      refuses(ask("part", sys.protocol, ("?"):rep(16), 1, 0, 1, "x"), "lost")
      works()
    end)

    it("and limits the memory for those of all sessions", function()
      local sessions = {}
      for i = 1, 3 do sessions[i] = session.open(peer, "large" .. i) end
      local function begin(i, total)
        return ask("part", sys.protocol, sessions[i].key, 1, 0, total, ("x"):rep(PART))
      end
      assert.equal("part", begin(1, 80 << 20)[1])
      assert.equal("part", begin(2, 80 << 20)[1])
      assert.equal("part", begin(3, 80 << 20)[1])
      refuses(ask("part", sys.protocol, s.key, 1, 0, 17 << 20, ("x"):rep(PART)), "refused")
      sessions[1]:close()
      assert.equal("part", ask("part", sys.protocol, s.key, 1, 0, 17 << 20, ("x"):rep(PART))[1])
      works()
    end)
  end)

  it("limits the lists of a message", function()
    local s = session.open(peer, "lists")
    local closes = {}
    for i = 1, 65537 do closes[i] = i end
    refuses(s:send({ closes = closes }), "protocol")
    closes[65537] = nil
    s:post({ blobs = { { "job", PLUS_ONE } }, closes = closes, batches = { s:batch(1, { 1 }) } })
    s:wait(1)
    works()
  end)

  it("limits the memory of all blobs", function()
    local s, other = session.open(peer, "full"), session.open(peer, "other")
    local big = ("x"):rep(60 << 20)
    s:send({ blobs = { { "k1", big } } })
    for i = 2, 4 do
      s:post({ blobs = { { "k" .. i, big } }, batches = { s:batch(i, "\1", { worker = 9 }) } })
      s:await("refused") -- it is there
    end
    refuses(s:send({ blobs = { { "k5", big } } }), "too_large")
    refuses(other:send({ blobs = { { "k", big } } }), "refused")
    s:close()
    local batches = { other:batch(1, "\1") }
    other:post({ blobs = { { "job", PLUS_ONE }, { "k", big } }, batches = batches })
    other:wait(1)
    works()
  end)

  it("refuses messages that are not of its protocol", function()
    for _, bytes in ipairs({
      "", "\0", "\xc1", "\x91", "\xdd\xff\xff\xff\xff", ("\x91"):rep(1e5),
    }) do
      refuses(assert(codec.decode(assert(peer:call(bytes, 60)))), "protocol")
    end
    refuses(ask("nonsense", sys.protocol), "protocol")
    refuses(ask("work", sys.protocol + 1), "skew")
    assert.equal("status", ask("status", sys.protocol + 1)[1])
    refuses(ask("status", sys.protocol, "short"), "protocol")
    refuses(ask("work", sys.protocol, "short", 1, 0, {}, {}, {}, {}, {}), "protocol")
    refuses(ask("work", sys.protocol, ("s"):rep(16), 0, 0, {}, {}, {}, {}, {}), "protocol")
    refuses(ask("work", sys.protocol, ("s"):rep(16), 1, 1, {}, {}, {}, {}, {}), "protocol")
    refuses(ask("end", sys.protocol), "protocol")
    works()
  end)

  it("replies to every truncation and every changed byte of a message", function()
    local s = session.new(peer, "bytes")
    local whole = s:message({
      blobs = { { "job", PLUS_ONE } }, drops = { "drop" }, closes = { 5 },
      batches = { s:batch(1, "\1\2", { worker = 99 }), s:batch(3, "\1", { generation = 99 }) },
      replies = { { 1, 1, 1, "told" }, { 9, 1, 1, "" } },
    }, 1)
    for n = 0, #whole - 1 do
      refuses(assert(codec.decode(assert(peer:call(whole:sub(1, n), 60)))), "protocol")
    end
    local waiting = #whole
    for at = 1, #whole do -- some are whole messages still
      task.spawn(function()
        local other = string.char(whole:byte(at) ~ (1 << at % 8))
        assert(peer:call(whole:sub(1, at - 1) .. other .. whole:sub(at + 1), 60))
        waiting = waiting - 1
      end)
    end
    e2e.wait_until("the replies", function() return waiting == 0 end)
    works()
  end)

  it("waits for a month if it is asked to", function()
    local bytes = codec.encode({ "status", sys.protocol })
    assert.equal("status", codec.decode(assert(peer:call(bytes, 3e6)))[1])
  end)

  it("refuses task ids that it cannot count", function()
    local s = session.new(peer, "ids")
    for _, b in ipairs({
      { math.maxinteger, "\1\2" }, { math.maxinteger, "\1" }, { 0, "\1" }, { -1, "\1" }, { 1, "" },
      { 1, "\1", { count = -1 } }, { 1, "\1\2", { count = 3 } }, { 1, "\1", { job = 0 } },
      { 1, "\1", { keys = {} } }, { 1, "\1", { timeout = -1 } }, { 1, "\1", { timeout = 0 / 0 } },
      { 1, "\1", { timeout = "1" } }, { 1, "\1", { keys = { 1 } } },
    }) do
      local parts = { blobs = { { "job", PLUS_ONE } }, batches = { s:batch(table.unpack(b)) } }
      refuses(s:ask(s:message(parts, 1)), "protocol")
    end
    assert.is_false(status(s).session)
    works()
  end)

  it("passes replies to upcalls on, or drops those for unknown ones", function()
    local s = session.open(peer, "replies")
    s:post({ blobs = { { "job", PLUS_ONE } }, replies = { { 1, 1, 1, "before any work" } } })
    s:post({
      batches = { s:batch(1, { 1 }) },
      replies = { { 1, 1, 12, "told" }, { 1, 2, 1, "" }, { 0, 1, 1, "" }, { 1, 1, -1, "" } },
    })
    s:wait(1)
    assert.same({ 2 }, s.results)
    assert.equal(1, status().workers[1][2])
    refuses(s:send({ replies = { { 1, 1, 1 } } }), "protocol")
    works()
  end)

  local function run(name, definition, items, count)
    local s = session.open(peer, name)
    s:post({ blobs = { { "job", definition } }, batches = { s:batch(1, items) } })
    s:wait(count)
    s:close()
    return s.results
  end

  it("fails malformed items one by one", function()
    assert.same({ 2, false, false }, run("values", PLUS_ONE, "\1\xc1\3", 3))
    works()
  end)

  it("fails a job with a malformed definition, and no other", function()
    for i, definition in ipairs({
      "", "\xc1", "\x80", codec.encode(12), session.definition("return {"),
      session.definition("return { map = print }", "x"),
    }) do
      assert.same({ false }, run("nonsense" .. i, definition, "\1", 1))
    end
    works()
  end)

  it("keeps a worker whose task's error is about as large as a message", function()
    for _, less in ipairs({ 0, 60, 80, 100, 150, 1024 * 1024 }) do
      local body = ("error(('x'):rep(%d), 0)"):format(65 * 1024 * 1024 - less)
      assert.same({ false }, run("error" .. less, session.job(body), "\1", 1))
    end
    works()
  end)

  it("keeps a bounded number of pending polls, the newest", function()
    local s = session.new(peer, "holds")
    s:send({})
    local replies = 0
    for i = 1, 40 do
      task.spawn(function()
        if peer:call(s:message({}, i + 1), 60) then replies = replies + 1 end
      end)
    end
    e2e.wait_until("the oldest to be answered", function() return replies >= 38 end)
    works()
    assert.equal(38, replies)
  end)

  it("keeps one pending poll for each message number, the newest", function()
    local s = plain(peer, "same")
    local first
    task.spawn(function() first = peer:call(s:message({}, 2), 60) end)
    assert(status())
    task.spawn(s.ask, s, s:message({}, 2))
    assert(status())
    s.seq = 2
    s:post({ batches = { s:batch(1, { 1 }) } })
    s:wait(1)
    assert.is_nil(first)
  end)

  it("limits the number of sessions", function()
    local refused, taken = 0, {}
    for i = 1, 300 do
      task.spawn(function()
        local s = session.new(peer, "number" .. i)
        local reply = s:send({})
        if reply[2] == "refused" then refused = refused + 1 else taken[#taken + 1] = s end
      end)
    end
    e2e.wait_until("the replies", function() return #taken + refused == 300 end)
    assert.equal(256, #taken)
    assert.equal("ended", taken[1]:close()[1])
    works()
  end)

  it("refuses work while it drains", function()
    local s = session.open(peer, "drains")
    s:post({ blobs = { { "job", WAITS } }, batches = { s:batch(1, { 1 }) } })
    e2e.wait_until("a task", function() return status().running + status().queued > 0 end)
    node:kill("TERM")
    assert.equal("draining", s:await("state")[3].state)
    assert.equal("draining", status().state)
    s:post({ batches = { s:batch(2, { 1 }) } })
    assert.equal("draining", s:await("refused")[3].why)
    s:wait(1)
    assert.is_nil(s.errors[1])
    assert.equal(0, node:wait().code)
  end)

  it("does not read a replacement worker while it reads none", function()
    local slow, other = session.new(peer, "slow"), plain(peer, "other")
    slow:send({
      blobs = { { "job", session.job("return ('x'):rep(10 << 20)") } },
      batches = { slow:batch(1, { 1, 2, 3, 4, 5, 6, 7 }) },
    })
    e2e.wait_until("records over 64 MiB", function()
      local now = status()
      return now.running + now.queued == 0
    end)
    e2e.kill(e2e.children(node.pid)[1], "KILL")
    e2e.wait_until("the next worker", function() return status().workers[1][2] == 2 end)
    other:post({ batches = { other:batch(1, { 1 }, { generation = 2 }) } })
    task.sleep(1)
    assert.is_nil(other.done[1])
    slow:close()
    other:wait(1)
    assert.same({ 2 }, other.results)
  end)

  it("waits no longer for a driver that does not fetch because others send requests", function()
    local slow, other = session.new(peer, "slow"), session.new(peer, "other")
    slow:send({ blobs = { { "job", PLUS_ONE } }, batches = { slow:batch(1, { 1 }) } })
    other:send({})
    e2e.wait_until("a record", function()
      local now = status()
      return now.running + now.queued == 0
    end)
    node:kill("TERM")
    local started = sys.now()
    while node:alive() and sys.now() - started < 20 do
      other.seq = other.seq + 1
      local bytes = other:message({}, other.seq)
      task.spawn(function() peer:call(bytes, 60) end)
      task.sleep(0.5)
    end
    local took = sys.now() - started
    assert.is_true(took >= 4.5 and took < 20, took)
    assert.equal(0, node:wait().code)
  end)

  it("serves others while one reads no replies, and disconnects it", function()
    local host, port = node.address:match("^(.*):(%d+)$")
    local greedy = assert(socket.connect(host, tonumber(port)))
    greedy:settimeout(10)
    assert(greedy:send("\0SP\0\0\x30\0\0")) -- the greeting of nng
    assert(greedy:receive(8))
    local body = codec.encode({ "status", sys.protocol })
    local many = (string.pack(">I8I4", 4 + #body, 0x80000001) .. body):rep(1000)
    local sent, why
    repeat sent, why = greedy:send(many) until not sent
    assert.equal("closed", why)
    greedy:close()
    works()
  end)

  it("serves others while some peers do not speak nng", function()
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
