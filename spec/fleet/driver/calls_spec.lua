-- SPDX-License-Identifier: MIT
-- Calls over sessions that are played by the spec.

local calls = require("fleet.driver.calls")
local codec = require("host.codec")
local errors = require("fleet.errors")
local sys = require("host.sys")
local task = require("host.task")

-- A session that has room for `max` calls; `out` has those that were sent.
local function new_session(name, workers)
  local session = {
    connection = { name = name, address = name .. ":1", state = "ready" }, workers = {}, late = 0,
    messages = { flush = function() end }, cancels = {}, needs = 0, max = 1e9, out = {}, last = 0,
    released = 0, extra = {}, is_open = true, takes = true,
  }
  for i = 1, workers do
    session.workers[i] = { index = i, generation = 1, session = session, ready = true }
  end
  function session:load(worker) return (self.extra[worker] or 0) + self.calls:in_flight(worker) end
  function session:need() self.needs = self.needs + 1 end
  function session:release() self.released = self.released + 1 end
  function session.wake() end
  function session.messages.batch(_, index, _, keys, _, first, _, timeout)
    if session.max == 0 then return 0 end
    session.out[#session.out + 1] = {
      worker = session.workers[index], keys = keys, first = first, timeout = timeout,
    }
    session.max, session.last = session.max - 1, session.last + 1
    return 1, session.last
  end
  function session:cancel(worker, _, first, count)
    self.cancels[#self.cancels + 1] = { worker, first, count }
  end
  return session
end

describe("calls", function()
  local cluster, a, b, c

  before_each(function()
    a, b = new_session("a", 2), new_session("b", 1)
    cluster = {
      sessions = { [a] = true, [b] = true },
      nodes = { a.connection, b.connection, {
        name = "down", address = "down:1", state = "down",
        error = errors.new({ kind = "connect", message = "refused" }),
      } },
    }
    function cluster.add_job(_, job) job.number = 1 end
    function cluster.no_workers()
      return errors.new({ kind = "connect", message = "no node can be used" })
    end
    c = calls.new(cluster)
    a.calls, b.calls = c, c
  end)
  after_each(function()
    cluster.closed = true
    c.timer:notify()
  end)

  local function gather(session)
    c:gather(session)
    local out = session.out
    session.out = {}
    return out
  end

  local function suspect(session, yes)
    session.suspect, session.takes = yes, not yes
  end

  local function send(target, timeout)
    return c:send(target, "item", {}, timeout or 0, sys.now())
  end

  it("go to the named node, by name or address", function()
    send({ node = "b" })
    send({ node = "b:1" })
    assert.equal(0, #gather(a))
    local out = gather(b)
    assert.same({ 1, 2 }, { out[1].first, out[2].first })
    assert.equal(b.workers[1], out[1].worker)
    assert.equal(2, c:in_flight(b.workers[1]))
  end)

  it("go to the worker with the least to do", function()
    a.extra[a.workers[1]] = 5
    for _ = 1, 3 do send({ node = "a" }) end
    for _, batch in ipairs(gather(a)) do assert.equal(a.workers[2], batch.worker) end
  end)

  it("that had not begun when their worker died go elsewhere", function()
    local futures = {}
    for i = 1, 3 do futures[i] = send({ node = "a" }) end
    gather(a)
    local cause = { kind = "crash", message = "died", culprit = { id = 1, attempt = 1 } }
    local worker = a.workers[1]
    local other = c:in_flight(worker) == 2 and 3 or 2
    worker.removed = true
    c:not_begun(worker, other, 1, 1, cause)
    a.workers[1] = nil
    c:worker_down(worker, cause)
    assert.same({ true, false, false },
      { futures[1]:check(), futures[2]:check(), futures[3]:check() })
    assert.equal("yes", select(2, futures[1]:wait()).applied)
    local out = gather(a)
    assert.same({ 1, other }, { #out, out[1].first })
  end)

  it("go elsewhere only a few times after deaths without a culprit", function()
    local future = send({ node = "b" })
    local cause = { kind = "crash", message = "died" }
    for _ = 1, 6 do
      assert.is_false(future:check())
      gather(b)
      c:not_begun(b.workers[1], 1, 1, 1, cause)
    end
    local _, err = future:wait()
    assert.same({ "crash", "no" }, { err.kind, err.applied })
  end)

  it("avoid a worker that is cancelling a call, and may be killed for it", function()
    local stuck = send({ node = "a" })
    local worker = gather(a)[1].worker
    stuck:cancel()
    assert.equal(1, c:in_flight(worker)) -- until it has stopped
    for _ = 1, 5 do send({ node = "a" }) end
    for _, batch in ipairs(gather(a)) do assert.are_not.equal(worker, batch.worker) end
    c:result(worker, 1, 1, false, errors.new({ kind = "cancelled", message = "stopped" }))
    assert.equal(0, c:in_flight(worker))
    send({ node = "a" })
    assert.equal(worker, gather(a)[1].worker)
  end)

  it("to any node go to the one with the least to do", function()
    a.extra = { [a.workers[1]] = 2, [a.workers[2]] = 2 }
    send({})
    send({})
    assert.equal(2, #gather(b))
    send({})
    local n = #gather(a) + #gather(b)
    assert.equal(1, n)
  end)

  it("to a worker go there and nowhere else", function()
    local f = send({ worker = a.workers[2] })
    assert.equal(a.workers[2], gather(a)[1].worker)
    a.max = 0
    local g = send({ worker = a.workers[1] })
    a.workers[1].removed = true
    c:worker_down(a.workers[1], { kind = "crash", message = "died" })
    assert.same({ "crash", "no" }, { select(2, g:wait(0)).kind, select(2, g:wait(0)).applied })
    assert.is_false(f:check())
    assert.same({ "lost", "no" }, {
      select(2, send({ worker = a.workers[1] }):wait(0)).kind,
      select(2, send({ worker = a.workers[1] }):wait(0)).applied,
    })
  end)

  it("to a worker of a node that drains fail at once", function()
    a.max = 0
    local f = send({ worker = a.workers[1] })
    a.draining = true
    c:worker_changed(a.workers[1])
    local g = send({ worker = a.workers[1] })
    for _, call in ipairs({ f, g }) do
      local err = select(2, call:wait(0))
      assert.same({ "draining", "no" }, { err.kind, err.applied })
    end
  end)

  it("send their modules, and the definition last", function()
    c:send({ node = "a" }, "item", { { key = "m1", bytes = "1" }, { key = "m2", bytes = "2" } }, 0)
    assert.same({ "m1", "m2", c.key }, (codec.decode(gather(a)[1].keys)))
    assert.equal(2, a.needs) -- of all calls, and of this one
    c:result(c.by_id[1].worker, 1, 1, true, { n = 0 })
    assert.equal(1, a.released)
  end)

  it("wait while there is no room, and leave in their order", function()
    b.max = 2
    for _ = 1, 3 do send({ node = "b" }) end
    assert.equal(2, #b.out)
    b.max = 10
    send({ node = "b" })
    assert.equal(2, #b.out)
    local ids = {}
    for i, batch in ipairs(gather(b)) do ids[i] = batch.first end
    assert.same({ 1, 2, 3, 4 }, ids)
    assert.equal(0, #gather(b))
    send({ node = "b" })
    assert.equal(1, #b.out)
  end)

  it("end with their values, or with an error", function()
    local f, g = send({ node = "b" }), send({ node = "b" })
    gather(b)
    c:result(b.workers[1], 1, 1, true, { n = 2, nil, "x" })
    local err = errors.new({ kind = "raise", message = "m" })
    c:result(b.workers[1], 2, 1, false, err)
    assert.same({ n = 2, nil, "x" }, table.pack(f:wait(0)))
    assert.is_true(g:failed())
    assert.equal(err, select(2, g:wait(0)))
    assert.equal(0, c:in_flight(b.workers[1]))
  end)

  it("to cast end when the function has begun, and its outcome is ignored",
    function()
      local f = c:send({ node = "b" }, "item", {}, 0.02, sys.now(), true)
      assert.equal(0, gather(b)[1].timeout)
      assert.is_false(f:check())
      c:progress(b.workers[1], 1, true)
      assert.same({ n = 0 }, table.pack(f:wait(0)))
      task.sleep(0.05)
      assert.same({}, b.cancels)
      assert.equal(1, c:in_flight(b.workers[1]))
      c:result(b.workers[1], 1, 1, false, errors.new({ kind = "raise", message = "too late" }))
      assert.equal(0, c:in_flight(b.workers[1]))
      assert.is_false(f:failed())
      f = c:send({ node = "b" }, "item", {}, 0, sys.now(), true)
      gather(b)
      c:result(b.workers[1], 2, 1, false, errors.new({ kind = "encode", message = "not begun" }))
      assert.equal("encode", select(2, f:wait(0)).kind)
    end)

  it("take no result twice, nor from another worker", function()
    local f = send({ node = "a" })
    local batch = gather(a)[1]
    local other = a.workers[3 - batch.worker.index]
    c:result(other, 1, 1, true, { n = 1, "wrong" })
    assert.is_false(f:check())
    c:result(batch.worker, 1, 1, true, { n = 1, "right" })
    c:result(batch.worker, 1, 1, true, { n = 1, "again" })
    assert.equal("right", f:wait(0))
    assert.equal(2, a.late)
  end)

  it("fail with their worker, the culprit with the cause", function()
    local f, g = send({ node = "b" }), send({ node = "b" })
    gather(b)
    b.workers[1].removed = true
    c:worker_down(b.workers[1], {
      kind = "timeout", message = "killed", node = "b", culprit = { id = 2, attempt = 1 },
    })
    local err = select(2, f:wait(0))
    assert.same({ "crash", "unknown", "b" }, { err.kind, err.applied, err.node })
    err = select(2, g:wait(0))
    assert.same({ "timeout", "yes" }, { err.kind, err.applied })
  end)

  it("of a lost node fail, and those not yet sent go elsewhere or fail", function()
    local sent = send({ node = "b" })
    gather(b)
    b.max = 0
    local named = send({ node = "b" })
    a.extra = { [a.workers[1]] = 100, [a.workers[2]] = 100 }
    local any = send({})
    cluster.sessions[b], b.closed, b.connection.state = true, true, "down"
    c:worker_down(b.workers[1], { kind = "lost", message = "lost", node = "b" })
    c:session_down(b)
    assert.same({ "lost", "unknown" },
      { select(2, sent:wait(0)).kind, select(2, sent:wait(0)).applied })
    assert.same({ "connect", "no" },
      { select(2, named:wait(0)).kind, select(2, named:wait(0)).applied })
    assert.is_false(any:check())
    assert.equal(1, #gather(a))
  end)

  it("to any node leave one that does not answer, if they were not sent", function()
    a.extra = { [a.workers[1]] = 100, [a.workers[2]] = 100 }
    local sent = send({})
    gather(b)
    b.max = 0
    local any, named, worker = send({}), send({ node = "b" }), send({ worker = b.workers[1] })
    suspect(b, true)
    c:worker_changed(b.workers[1])
    assert.equal(2, gather(a)[1].first)
    c:result(a.workers[1], 2, 1, true, { n = 1, "from a" })
    assert.equal("from a", any:wait(0))
    suspect(b, false)
    b.max = 10
    c:worker_changed(b.workers[1])
    local ids = {}
    for i, batch in ipairs(gather(b)) do ids[i] = batch.first end
    assert.same({ 3, 4 }, ids)
    for _, f in ipairs({ sent, named, worker }) do assert.is_false(f:check()) end
  end)

  it("to any node wait for the first to answer, when none does", function()
    suspect(a, true)
    suspect(b, true)
    local f, g = send({}), send({})
    c:worker_changed(a.workers[1])
    c:worker_changed(b.workers[1])
    suspect(b, false)
    c:worker_changed(b.workers[1])
    local ids = {}
    for i, batch in ipairs(gather(b)) do ids[i] = batch.first end
    assert.same({ 1, 2 }, ids)
    assert.equal(0, #gather(a))
    suspect(b, true)
    local h = send({})
    local d = new_session("d", 1)
    d.calls, cluster.sessions[d] = c, true
    c:worker_up(d.workers[1])
    assert.equal(3, gather(d)[1].first)
    for _, call in ipairs({ f, g, h }) do assert.is_false(call:check()) end
  end)

  it("refused by a removed worker go to the next", function()
    local f = send({ node = "b" })
    gather(b)
    c:refused(b.workers[1], 1, 1, 1)
    assert.is_false(f:check())
    assert.equal(1, #gather(b))
  end)

  it("to a node that drains, is down or unknown fail with the reason", function()
    a.draining = true
    c:worker_changed(a.workers[1])
    for name, expected in pairs({
      a = { "draining", "node a is draining" },
      down = { "connect", "node down cannot be used: refused" },
      nobody = { "connect", "there is no node 'nobody'; there are: a, b, down" },
    }) do
      local err = select(2, send({ node = name }):wait(0))
      assert.same({ expected[1], expected[2], "no" }, { err.kind, err.message, err.applied })
    end
  end)

  it("can be cancelled before and after they are sent", function()
    b.max = 0
    local f = send({ node = "b" })
    f:cancel()
    b.max = 10
    assert.same({ "cancelled", "no" }, { select(2, f:wait(0)).kind, select(2, f:wait(0)).applied })
    assert.equal(0, #gather(b))
    f = send({ node = "b" })
    gather(b)
    f:cancel()
    assert.same({ "cancelled", "unknown" },
      { select(2, f:wait(0)).kind, select(2, f:wait(0)).applied })
    assert.same({ { b.workers[1], 2, 1 } }, b.cancels)
  end)

  it("time out, each after its own limit", function()
    local slow, fast, done, faster = send({ node = "b" }, 3600), send({ node = "b" }, 0.04),
      send({ node = "b" }, 0.04), send({ node = "b" }, 0.02)
    gather(b)
    c:result(b.workers[1], 3, 1, true, { n = 1, "in time" })
    local _, err = fast:wait(60)
    assert.same({ "timeout", "unknown", "b", "the call took longer than 0.04 s" },
      { err.kind, err.applied, err.node, err.message })
    _, err = faster:wait(60)
    assert.equal("the call took longer than 0.02 s", err.message)
    assert.is_false(slow:check())
    assert.equal("in time", done:wait(0))
    assert.equal(2, #b.cancels)
    task.yield()
    assert.same({}, { c.queues[0.02], c.queues[0.04] })
  end)

  it("end with the cluster", function()
    local sent = send({ node = "b" })
    gather(b)
    b.max = 0
    local waiting = send({ node = "b" })
    c:cluster_closed()
    for f, applied in pairs({ [sent] = "unknown", [waiting] = "no" }) do
      local _, err = f:wait(0)
      assert.same({ "cancelled", applied }, { err.kind, err.applied })
    end
  end)

  it("keep nothing of calls that have ended", function()
    for i = 1, 1000 do
      send({ node = "b" }, 60)
      gather(b)
      c:result(b.workers[1], i, 1, true, { n = 0 })
    end
    assert.is_nil(next(c.by_id))
    local n = 0
    for _ in pairs(c.queues[60] or {}) do n = n + 1 end
    assert.is_true(n <= 2, n) -- of the ring, or no queue if the timer has just found it empty
  end)

  it("keep the latest progress", function()
    local f = send({ node = "b" })
    gather(b)
    c:progress(b.workers[1], 1, 1)
    c:progress(b.workers[1], 1, { done = 2 })
    assert.same({ done = 2 }, f:progress())
  end)
end)
