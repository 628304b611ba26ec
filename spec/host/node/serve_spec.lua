-- SPDX-License-Identifier: MIT
-- What a node promises its drivers (host/wire/protocol.h), and how it deals with broken and hostile
-- ones: it replies, and continues to work for the others.

local codec = require("host.codec")
local e2e = require("spec.support.e2e")
local frames = require("spec.support.frames")
local session = require("spec.support.session")
local sys = require("host.sys")
local task = require("host.task")

local PLUS_ONE = session.job("return x + 1")
local WAITS = session.job("require('fleet').sleep(x)")
-- The loop stands still while the comparator runs.
local STUCK = session.job("table.sort({ 1, 2 }, function() while true do end end)")
local MIB = 1 << 20

describe("a node", function()
  local world, node, peers, peer

  local function dial(to)
    peers[#peers + 1] = session.dial("tcp://" .. (to or node).address)
    return peers[#peers]
  end

  -- A session on a channel of its own.
  local function open(name, to)
    return session.open(dial(to), name)
  end

  local function ask(...)
    return session.ask(peer, ...)
  end

  local function status(s)
    return ask("status", s and s.key)[2]
  end

  before_each(function()
    world, peers = e2e.new(), {}
    node = world:node({ workers = 1 })
    peer = dial()
    e2e.wait_until("the worker", function() return status().workers[1][2] > 0 end)
  end)

  after_each(function()
    for _, p in ipairs(peers) do p:close() end
    world:close()
  end)

  local function refuses(reply, kind)
    assert.equal("error", reply[1])
    assert.equal(kind, reply[2])
  end

  -- The one worker works, whichever its generation.
  local function works()
    local s = open("works" .. math.random(1 << 30))
    local generation = e2e.wait_until("a worker", function()
      local g = status().workers[1][2]
      return g > 0 and g
    end)
    s:post({
      blobs = { { "job", PLUS_ONE } },
      batches = { s:batch(1, { 41 }, { generation = generation }) },
    })
    s:wait(1)
    assert.same({ 42 }, s.results)
    assert.equal("ended", s:close()[1])
    s.peer:close()
  end

  local function idle(to)
    e2e.wait_until("nothing to run", function()
      local now = to and session.ask(to, "status")[2] or status()
      return now.running + now.queued == 0
    end)
  end

  -- The node ends the session for what was sent, and is there for others.
  local function ends(s)
    local failure = s:failed()
    refuses(ask("open", s.key, 0, 16 * MIB), "lost")
    assert.is_false(status(s).session)
    return failure
  end

  it("opens a session once, and not again when it has ended", function()
    local s = session.new("opens")
    assert.is_false(status(s).session)
    refuses(ask("open", s.key, 1, 16 * MIB), "lost") -- it would have received something
    assert.is_true(s:start(dial()))
    assert.is_true(status(s).session)
    assert.is_false(status().session)
    refuses(session.ask(s.peer, "open", s.key, 0, 16 * MIB), "protocol") -- it has one
    refuses(session.ask(s.peer, "open", ("o"):rep(16), 0, 16 * MIB), "protocol")
    refuses(ask("open", s.key, 7, 16 * MIB), "protocol") -- more than were sent
    assert.same({ "ended", { running = 0, events = 0 } }, s:close())
    assert.is_false(status(s).session)
    -- the key cannot be used any more: a late message must not run again
    refuses(ask("open", s.key, 0, 16 * MIB), "lost")
    assert.same({ "ended", { running = 0, events = 0 } }, s:close())
    assert.equal("opened", session.ask(s.peer, "open", ("o"):rep(16), 0, 16 * MIB)[1])
  end)

  it("tells the limits that it grants", function()
    local raw = frames.connect(node.port)
    assert.same({ "opened", 0, 16 * MIB, MIB }, raw:open("limits"))
    raw:send(frames.last({ "blob", "job", PLUS_ONE },
      { "batch", 1, 1, { "job" }, 1, 1, 2, 1, 0, codec.encode_list({ 1, 2 }, 1, 2) }))
    while (raw.ack[3] or 0) < MIB + 2 do raw:read() end -- the tasks have ended
    assert.equal(1, raw.ack[1])
    raw:close()
  end)

  it("goes on with a session on another channel, and acts on each message once", function()
    local s = session.new("moves")
    s:start(dial())
    s:post({
      blobs = { { "job", session.job("n = n + 1 return n", "local n = 0") } },
      batches = { s:batch(1, { 0 }) },
    })
    s:wait(1)
    local count = 1
    for i = 1, 20 do
      s:post({ batches = { s:batch(i + 1, { 0 }) } })
      count = count + 1
      if i % 3 == 0 then task.sleep(0.01) end
      if i % 2 == 0 then s.peer:close() end -- with what may be under way
      local before = s.peer
      assert.is_true(s:start(dial()))
      before:close()
    end
    s:wait(count)
    for id = 1, count do assert.equal(id, s.results[id]) end -- none twice: they count
    assert.is_false(s.native:acked() > s.native:number())
  end)

  it("sends again what a channel has lost, and what was acknowledged no more", function()
    local raw = frames.connect(node.port)
    raw:open("again")
    local function batch(id)
      return { "batch", 1, 1, { "job" }, 1, id, 1, 1, 0, codec.encode(id) }
    end
    raw:send(frames.last({ "blob", "job", PLUS_ONE }, batch(1)))
    while not raw.events:find(codec.encode({ 1, 1, true, 2 }), 1, true) do raw:read() end
    raw:close() -- the events were not acknowledged
    local first = raw.events
    local again = frames.connect(node.port)
    local opened = again:open("again")
    assert.same({ "opened", 1, MIB + 1 }, { opened[1], opened[2], opened[4] })
    while #again.events < #first do again:read() end
    assert.equal(first, again.events:sub(1, #first))
    assert.is_true(again:send(frames.acknowledge(again.messages, 32 * MIB)))
    assert.equal("status", again:ask("status")[1]) -- it has read that
    again:close()
    local third = frames.connect(node.port)
    third.messages = again.messages
    third.key = again.key
    assert.equal("opened", third:open("again", 32 * MIB)[1])
    third:send(frames.last(batch(2)))
    while not third.events:find(codec.encode({ 2, 1, true, 3 }), 1, true) do third:read() end
    assert.is_nil(third.events:find(codec.encode({ 1, 1, true, 2 }), 1, true))
    third:close()
  end)

  it("closes the other channel of a session that goes on", function()
    local s = open("two")
    local first = s.peer
    assert.is_true(s:start(dial()))
    e2e.wait_until("the first to be closed", function() return not first:up() end)
    s:post({ blobs = { { "job", PLUS_ONE } }, batches = { s:batch(1, { 1 }) } })
    s:wait(1)
    assert.same({ 2 }, s.results)
  end)

  describe("ends a session that", function()
    local raw
    before_each(function()
      raw = frames.connect(node.port)
      raw:open("bad")
    end)
    after_each(function()
      assert.is_true(raw:closed())
      raw:close()
      e2e.wait_until("its end", function() return not ask("status", raw.key)[2].session end)
      refuses(ask("open", raw.key, 0, 16 * MIB), "lost")
      works()
    end)

    local function batch(other)
      local b = { "batch", 1, 1, { "job" }, 1, 1, 1, 1, 0, "\1" }
      for i, value in pairs(other) do b[i] = value end
      return b
    end

    for what, element in pairs({
      ["sends bytes that are no element"] = "\1",
      ["sends half an element"] = codec.encode({ "close", 1 }):sub(1, -2),
      ["sends an empty array"] = "\x90",
      ["sends an unknown element"] = { "nonsense", 1 },
      ["sends an element with too much"] = { "close", 1, 2 },
      ["sends a long key"] = { "blob", ("k"):rep(256), "" },
      ["closes no job"] = { "close", 0 },
      ["needs no blob"] = batch({ [4] = {} }),
      ["needs a number"] = batch({ [4] = { 1 } }),
      ["has a job 0"] = batch({ [5] = 0 }),
      ["has a task 0"] = batch({ [6] = 0 }),
      ["has a task -1"] = batch({ [6] = -1 }),
      ["has task ids that cannot be counted"] = batch({ [6] = math.maxinteger }),
      ["has no tasks"] = batch({ [7] = 0, [10] = "" }),
      ["has -1 tasks"] = batch({ [7] = -1 }),
      ["has more tasks than items"] = batch({ [7] = 3, [10] = "\1\2" }),
      ["has a negative time limit"] = batch({ [9] = -1 }),
      ["has no number as time limit"] = batch({ [9] = "1" }),
      ["has NaN as time limit"] = batch({ [9] = 0 / 0 }),
      ["answers without bytes"] = { "answer", 1, 1, 1 },
    }) do
      it(what, function()
        raw:send(frames.last({ "blob", "job", PLUS_ONE }, element))
      end)
    end

    it("acknowledges what was never sent", function()
      raw:send(frames.acknowledge(5, 16 * MIB))
    end)

    it("sends more bytes than were granted", function()
      -- four batches for a worker that does not read fill its queue; then no more is granted
      e2e.kill(e2e.children(node.pid)[1], "STOP")
      local fill = ("x"):rep(250 * 1024)
      raw:send(frames.last({ "blob", "job", PLUS_ONE }))
      local element = { "batch", 1, 1, { "job" }, 1, 1, 1, 1, 0, fill }
      for id = 1, 4 * 256 + 200 do
        element[6] = id
        if not raw:send(frames.last(element)) then break end
      end
      assert.is_true(raw:closed())
      e2e.kill(e2e.children(node.pid)[1], "CONT")
    end)
  end)

  it("ends a session with more tasks than were granted, and no sooner", function()
    local most = e2e.sanitized and 1 << 20 or 1 << 20
    local s = open("many")
    local waits = session.job("require('fleet').sleep(3600)")
    s:post({ blobs = { { "job", waits } } })
    local items = ("\1"):rep(1 << 18)
    for i = 0, 3 do s:post({ batches = { s:batch(1 + (i << 18), items) } }) end
    e2e.wait_until("the tasks", function()
      local now = status()
      return now.running + now.queued == most
    end)
    assert.is_nil(s.failure)
    s:post({ batches = { s:batch(most + 1, "\1") } })
    ends(s)
    works()
  end)

  it("ends a session with too many blobs, and keeps 1,024", function()
    local s = open("blobs")
    local many = {}
    for i = 1, 1024 do many[i] = { "key" .. i, "x" } end
    s:post({ blobs = many })
    s:post({ drops = { "key7" }, blobs = {} })
    s:post({ blobs = { { "job", PLUS_ONE } }, batches = { s:batch(1, { 1 }) } })
    s:wait(1)
    assert.is_nil(s.failure)
    s:post({ blobs = { { "more", "x" } } })
    ends(s)
    works()
  end)

  it("ends a session that sends what no worker may get", function()
    local large = ("x"):rep(64 * MIB + 1)
    for i, parts in ipairs({
      { blobs = { { "k", large } } }, { answers = { { 1, 1, 1, large } } },
      { batches = { { 1, 1, { "job" }, 1, 1, 1, 1, 0, large } } },
    }) do
      local s = open("large" .. i)
      s:post({ blobs = { { "job", PLUS_ONE } } })
      s:post(parts)
      ends(s)
    end
    works()
  end)

  -- The long test: everything that has to time out, in parallel.
  it("times out leases, silent channels, and drivers that do not take their events", function()
    local slow_node = world:node({ workers = 1 })
    local through = dial(slow_node)
    local function known(to, s)
      return session.ask(to, "status", s.key)[2].session
    end
    -- one that sends only its key
    local heard = session.new("heard")
    heard:start(dial())
    heard:post({ blobs = { { "job", WAITS } }, batches = { heard:batch(1, { 3600 }) } })
    -- one that is silent; a status that names it would renew its lease
    local silent = session.new("silent")
    silent:start(dial())
    silent:post({ blobs = { { "job", WAITS } }, batches = { silent:batch(1, { 3600 }) } })
    -- one that opens no session
    local stranger = frames.connect(node.port)
    assert.equal("status", stranger:ask("status")[1])
    -- one that sends its key and leaves events that make its node pause; and another there
    local slow, other = session.new("slow"), session.open(through, "other")
    slow:start(dial(slow_node))
    slow.native:hold(true)
    local items = {}
    for i = 1, 12 do items[i] = i end
    slow:post({
      blobs = { { "job", session.job("return ('x'):rep(10 << 20)") } },
      batches = { slow:batch(1, items) },
    })
    e2e.wait_until("two tasks", function()
      local now = status()
      return now.queued + now.running == 2
    end)
    local silent_is_over, slow_is_over
    e2e.wait_until("leases to be over", function()
      task.sleep(0.2)
      assert.is_true(known(peer, heard))
      assert.is_true(known(through, other))
      silent_is_over = silent_is_over or status().queued + status().running == 1
      slow_is_over = slow_is_over or not known(through, slow)
      return silent_is_over and slow_is_over
    end)
    e2e.wait_until("the channels to be closed", function()
      return not silent.peer:up() and not slow.peer:up()
    end)
    assert.is_true(stranger:closed())
    refuses(ask("open", silent.key, 0, 16 * MIB), "lost")
    refuses(session.ask(through, "open", slow.key, 0, 16 * MIB), "protocol") -- it has `other`
    refuses(session.ask(dial(slow_node), "open", slow.key, 0, 16 * MIB), "lost")
    other:post({ blobs = { { "job", PLUS_ONE } }, batches = { other:batch(1, { 41 }) } })
    other:wait(1)
    assert.same({ 42 }, other.results)
  end)

  describe("cancels", function()
    local s
    local function begin(definition, items)
      s = open("cancels")
      s:post({ blobs = { { "job", definition } }, batches = { s:batch(1, items) } })
      e2e.wait_until("a task", function() return status().running + status().queued > 0 end)
    end
    local function cancel(after, ...)
      return session.ask(s.peer, "cancel", after, { ... })
    end

    it("waiting tasks", function()
      begin(WAITS, { 3600, 3600, 0.5 })
      for _ = 1, 2 do assert.same({ "cancelled" }, cancel(0, { 1, 1, 1, 1, 2 })) end
      s:wait(3)
      assert.equal("cancelled", s.errors[1].kind)
      assert.equal("cancelled", s.errors[2].kind)
      assert.is_nil(s.errors[3])
      idle()
    end)

    it("computing tasks", function()
      begin(session.job("while true do end"), { 1 })
      cancel(0, { 1, 1, 1, 1, 1 })
      s:wait(1)
      assert.equal("cancelled", s.errors[1].kind)
      assert.equal(1, status().workers[1][2])
    end)

    it("a task that cannot be stopped, with its worker", function()
      begin(STUCK, { 1 })
      task.sleep(0.2) -- for it to be stuck
      cancel(0, { 1, 1, 1, 1, 1 })
      local down = s:await("worker")
      assert.same({ "down", 1, 9, "cancelled", 1 }, { down[3].state, down[3].generation,
        down[3].signal, down[3].why, down[3].received })
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
      assert.equal(2, s:close(peer)[2].running)
      e2e.wait_until("its channel to be closed", function() return not s.peer:up() end)
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
      assert.same({ "cancelled" }, cancel(0, { 1, 2, 1, 1, 1 }, { 9, 1, 1, 1, 1 },
        { 1, 1, 5, 1, 1 }, { 1, 1, 1, 2, math.maxinteger - 2 }))
      refuses(ask("cancel", 0, { { 1, 1, 1, 1, 1 } }), "lost")
      s:wait(1)
      assert.is_nil(s.errors[1])
      refuses(cancel(0, { 1, 1, 1, 1 }), "protocol")
      refuses(cancel(0, { 1, 1, 1, 1, 1 }, { 1, 1, 0, 1, 1 }), "protocol")
      refuses(cancel(-1), "protocol")
      refuses(session.ask(s.peer, "cancel", 0), "protocol")
    end)

    it("tasks of a message that comes later", function()
      begin(WAITS, { 3600 })
      local reply
      task.spawn(function() reply = cancel(2, { 1, 1, 1, 2, 1 }) end)
      assert(session.ask(s.peer, "status")) -- the node has read it
      assert.is_nil(reply)
      s:post({ batches = { s:batch(2, { 3600 }) } })
      e2e.wait_until("the reply", function() return reply end)
      assert.same({ "cancelled" }, reply)
      s:wait(1)
      assert.equal("cancelled", s.errors[2].kind)
      assert.is_nil(s.done[1])
    end)

    it("no more than a few in advance", function()
      begin(WAITS, { 3600 })
      local refused, replies = 0, 0
      for _ = 1, 100 do
        task.spawn(function()
          local reply = cancel(2, { 1, 1, 1, 1, 1 })
          replies = replies + 1
          if reply[1] == "error" then
            refuses(reply, "refused")
            refused = refused + 1
          end
        end)
      end
      e2e.wait_until("refusals", function() return refused == 100 - 64 end)
      assert.equal(36, replies)
      s:post({ batches = { s:batch(2, { 0 }) } })
      e2e.wait_until("the replies", function() return replies == 100 end)
      assert.equal(36, refused)
    end)
  end)

  it("lets a task run for its time limit and no longer", function()
    local s = open("time")
    s:post({
      blobs = { { "job", WAITS } },
      batches = { s:batch(1, { 3600 }, { timeout = 0.2 }), s:batch(2, { 0.3 }) },
    })
    s:wait(2)
    assert.equal("timeout", s.errors[1].kind)
    assert.is_nil(s.errors[2])
  end)

  it("sends blobs to every worker that needs them, until they are dropped", function()
    local s = open("blobs")
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
    s:post({ drops = { "module", "nonsense" } })
    s:post({ batches = { s:batch(3, { 3 }, { keys = { "module", "job" }, generation = 2 }) } })
    assert.same({ job = 1, first = 3, count = 1, attempt = 1, why = "room", generation = 2 },
      s:await("refused")[3])
    s:post({ batches = { s:batch(4, { 4 }), s:batch(5, { 4 }, { worker = 7 }) } })
    assert.equal("gone", s:await("refused")[3].why)
    assert.is_nil(s:await("refused")[3].generation)
    works()
  end)

  it("limits the memory of all blobs, and refuses the batches that need more", function()
    local s, other = open("full"), open("other")
    local big = ("x"):rep(60 * MIB)
    local refused = { job = 1, first = 1, count = 1, attempt = 1, generation = 1 }
    for i = 1, 5 do s:post({ blobs = { { "k" .. i, big } } }) end
    s:post({ batches = { s:batch(1, "\1", { keys = { "k5" } }) } })
    refused.why = "too_large"
    assert.same(refused, s:await("refused")[3])
    other:post({ blobs = { { "k", big }, { "job", PLUS_ONE } } })
    other:post({ batches = { other:batch(1, "\1", { keys = { "k", "job" } }) } })
    refused.why = "room"
    assert.same(refused, other:await("refused")[3])
    assert.is_nil(s.failure or other.failure)
    s:close()
    other:post({ blobs = { { "k", big } } })
    other:post({ batches = { other:batch(1, "\1", { keys = { "k", "job" } }) } })
    other:wait(1)
    assert.same({ 2 }, other.results)
    works()
  end)

  it("takes a message of many frames between those of others", function()
    local s = open("large")
    s:post({ blobs = { { "job", session.job("return #x") } } })
    s:post({ batches = { s:batch(1, { ("x"):rep(63 * MIB) }) } })
    works()
    s:wait(1)
    assert.same({ 63 * MIB }, s.results)
  end)

  it("refuses requests that are not of its protocol", function()
    for _, bytes in ipairs({
      "", "\0", "\xc1", "\x91", "\xdd\xff\xff\xff\xff", ("\x91"):rep(1e5),
    }) do
      refuses(assert(codec.decode(assert(peer:call(bytes, 60)))), "protocol")
    end
    for _, request in ipairs({
      { "nonsense" }, { "status", "short" }, { "status", ("s"):rep(16), 1 }, { "end" },
      { "end", "short" }, { "open", "short", 0, 1 }, { "open", ("s"):rep(16), 0 },
      { "open", ("s"):rep(16), -1, 1 }, { "open", ("s"):rep(16), 0, -1 },
      { "open", ("s"):rep(16), 0, 1, 2 }, { "cancel", 0 }, { "cancel", "0", {} },
    }) do
      refuses(ask(table.unpack(request)), "protocol")
    end
    works()
  end)

  it("replies to every truncation and every changed byte of a request", function()
    for _, request in ipairs({
      { "status", ("s"):rep(16) }, { "end", ("s"):rep(16) },
      { "cancel", 1, { { 1, 1, 1, 1, 1 }, { 1, 1, 1, 1, 1 } } },
    }) do
      local whole = codec.encode(request)
      for n = 0, #whole - 1 do
        refuses(assert(codec.decode(assert(peer:call(whole:sub(1, n), 60)))), "protocol")
      end
      for at = 1, #whole do -- some are whole requests still
        local other = string.char(whole:byte(at) ~ (1 << at % 8))
        assert(peer:call(whole:sub(1, at - 1) .. other .. whole:sub(at + 1), 60))
      end
    end
    works()
  end)

  it("survives every truncation and every changed byte of a message", function()
    local whole = frames.last({ "drop", "k" }, { "close", 5 }, { "blob", "job", "x" },
      { "batch", 99, 1, { "job" }, 1, 1, 2, 1, 0, "\1\2" },
      { "answer", 9, 1, 1, "told" }):sub(5)
    for n = 1, #whole do
      for _, bytes in ipairs({ whole:sub(1, n), whole:sub(1, n - 1)
        .. string.char(whole:byte(n) ~ (1 << n % 8)) .. whole:sub(n + 1) }) do
        local raw = frames.connect(node.port)
        raw:open("bytes" .. n .. #bytes)
        raw:send(frames.last(bytes))
        local reply = raw:ask("end", raw.key) -- or it is ended already
        assert.is_true(reply == nil or reply[1] == "ended")
        raw:close()
      end
    end
    works()
  end)

  it("waits for a month if it is asked to", function()
    assert.equal("status", codec.decode(assert(peer:call(codec.encode({ "status" }), 3e6)))[1])
  end)

  it("tells its clock", function()
    local before = os.time()
    local time = status().time
    assert.is_true(time >= before and time <= os.time() + 1)
  end)

  it("passes answers to upcalls on, or drops those for unknown ones", function()
    local s = open("answers")
    s:post({ blobs = { { "job", PLUS_ONE } }, answers = { { 1, 1, 1, "before any work" } } })
    s:post({
      batches = { s:batch(1, { 1 }) },
      answers = { { 1, 1, 12, "told" }, { 1, 2, 1, "" }, { 0, 1, 1, "" }, { 1, 1, -1, "" } },
    })
    s:wait(1)
    assert.same({ 2 }, s.results)
    assert.equal(1, status().workers[1][2])
    works()
  end)

  local function run(name, definition, items, count)
    local s = open(name)
    s:post({
      blobs = { { "job", definition } }, batches = { s:batch(1, items, { count = count }) },
    })
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
    for _, less in ipairs({ 0, 60, 80, 100, 150, MIB }) do
      local body = ("error(('x'):rep(%d), 0)"):format(65 * MIB - less)
      assert.same({ false }, run("error" .. less, session.job(body), "\1", 1))
    end
    works()
  end)

  it("limits the number of sessions", function()
    local taken = {}
    for i = 1, 256 do
      taken[i] = frames.connect(node.port)
      assert.equal("opened", taken[i]:open("number" .. i)[1])
    end
    local more = frames.connect(node.port)
    refuses(more:open("more"), "refused")
    assert.equal("ended", taken[1]:ask("end", taken[1].key)[1])
    works()
    assert.equal("opened", more:open("more2")[1])
    for _, raw in ipairs(taken) do raw:close() end
    more:close()
  end)

  it("closes the quietest connection without a session when there are too many", function()
    local list = {}
    for i = 1, 300 do
      list[i] = frames.connect(node.port)
      assert.equal("status", list[i]:ask("status")[1])
    end
    assert.is_true(list[1]:closed())
    assert.equal("status", list[300]:ask("status")[1])
    assert.matches("too many connections without a session", node:err(), 1, true)
    peer = dial() -- the other one was quiet
    works()
    for _, raw in ipairs(list) do raw:close() end
  end)

  it("refuses work while it drains", function()
    local s = open("drains")
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
    local slow, other = frames.connect(node.port), open("other")
    slow:open("slow", 0) -- grants no byte
    slow:send(frames.last({ "blob", "job", session.job("return ('x'):rep(10 << 20)") },
      { "batch", 1, 1, { "job" }, 1, 1, 7, 1, 0, ("\1"):rep(7) }))
    assert.equal("status", slow:ask("status")[1]) -- the node has read that
    idle() -- events over 64 MiB
    e2e.kill(e2e.children(node.pid)[1], "KILL")
    e2e.wait_until("the next worker", function() return status().workers[1][2] == 2 end)
    other:post({ blobs = { { "job", PLUS_ONE } } })
    other:post({ batches = { other:batch(1, { 1 }, { generation = 2 }) } })
    task.sleep(1)
    assert.is_nil(other.done[1])
    assert.equal("ended", slow:ask("end", slow.key)[1])
    slow:close()
    other:wait(1)
    assert.same({ 2 }, other.results)
  end)

  it("waits no longer for a driver that does not take events because others ask", function()
    local slow = frames.connect(node.port)
    slow:open("slow", 0) -- grants no byte
    slow:send(frames.last({ "blob", "job", PLUS_ONE },
      { "batch", 1, 1, { "job" }, 1, 1, 1, 1, 0, "\1" }))
    assert.equal("status", slow:ask("status")[1]) -- the node has read that
    idle()
    node:kill("TERM")
    local started = sys.now()
    while node:alive() and sys.now() - started < 20 do
      peer:call(codec.encode({ "status" }), 60)
      task.sleep(0.5)
    end
    local took = sys.now() - started
    assert.is_true(took >= 4.5 and took < 20, took)
    assert.equal(0, node:wait().code)
    slow:close()
  end)

  it("serves others while one reads no replies", function()
    local greedy = frames.connect(node.port)
    greedy.connection:settimeout(1)
    local many = {}
    for i = 1, 500 do many[i] = frames.request(i, codec.encode({ "status" })) end
    many = table.concat(many)
    local sent = 0
    while sent < 200 and greedy:send(many) do sent = sent + 1 end
    works()
    greedy:close()
    works()
  end)

  it("serves others while some peers do not speak its protocol", function()
    local hello, open_ones = frames.PREFACE, {}
    for _, bytes in ipairs({
      "", "m", hello:sub(1, -2), "moonfleet/4\n", "moonfleet/6\n", "\0SP\0\0\x30\0\0",
      "GET / HTTP/1.1\r\n\r\n", ("\xff"):rep(1e5), hello .. "\0\0\0\0", hello .. "\2\0\0\7hi",
      hello .. ("\xff"):rep(8), hello .. "\16\0\0\1half", hello .. "\2\0\0\1hi",
      hello .. "\0\0\4\5", hello .. frames.frame(2, "\1\0\0\0\xc0"), hello .. frames.frame(3, "x"),
      hello .. frames.part("lost"), hello .. frames.last("lost"),
      hello .. frames.acknowledge(3, 3),
    }) do
      for stay = 0, 1 do
        local raw = frames.connect(node.port, true)
        raw.connection:settimeout(1)
        raw:send(bytes)
        if stay == 1 then open_ones[#open_ones + 1] = raw else raw:close() end
      end
    end
    works()
    for _, raw in ipairs(open_ones) do raw:close() end
    works()
  end)
end)
