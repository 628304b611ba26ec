-- SPDX-License-Identifier: MIT
-- A session with a node that is played by the spec: what it answers, when, and how it breaks.

local codec = require("host.codec")
local errors = require("fleet.errors")
local session = require("fleet.cluster.session")
local sys = require("host.sys")
local task = require("host.task")

local TIMES = { heartbeat = 0.005, suspect_after = 0.05, dead_after = 0.2, reply_after = 30 }

local function lost(message) return errors.new({ kind = "lost", message = message or "broke" }) end
local function timeout() return errors.new({ kind = "timeout", message = "no answer" }) end

-- ---- the node ----

local Node = {}
Node.__index = Node

local function new_node()
  return setmetatable({
    name = "n1", address = "n1:1", state = "ready",
    status = { boot = "b1", state = "ready", workers = { { 1, 1 } }, session = true },
    control = {}, sent = {}, waiting = {}, dials = 0, sessions = 0, cancels = {}, ended = 0,
  }, Node)
end

function Node:begin_session()
  self.sessions = self.sessions + 1
  self.session_key = "s" .. self.sessions
end

function Node:open_bulk()
  self.bulk = {}
  return true
end

function Node.encode_work(_, message)
  local copy = {} -- bytes are the codec's business, not the session's
  for key, value in pairs(message) do copy[key] = value end
  return copy
end

-- A request waits until the spec answers it, by Node:answer.
function Node:work(message, seconds)
  self.sent[#self.sent + 1] = message
  if not self.bulk then return nil, lost("not connected") end
  local request = { message = message, done = task.event(), bulk = self.bulk }
  self.waiting[#self.waiting + 1] = request
  if not request.done:wait(seconds) then
    for i, other in ipairs(self.waiting) do
      if other == request then table.remove(self.waiting, i) end
    end
    return nil, timeout()
  end
  return table.unpack(request.answer, 1, 3)
end

function Node:answer(...)
  local request = assert(table.remove(self.waiting, 1), "no request waits")
  request.answer = table.pack(...)
  request.done:notify()
end

function Node:break_all()
  while #self.waiting > 0 do self:answer(nil, lost()) end
  self.bulk = nil
end

function Node:request_status()
  if self.control_error then return nil, self.control_error() end
  return self.status
end

function Node:connect()
  self.dials = self.dials + 1
  if self.dial_error then return nil, self.dial_error() end
  return true
end

function Node:close_bulk() self.bulk = nil end
function Node:close() self.bulk = nil end

function Node:cancel(ranges)
  self.cancels[#self.cancels + 1] = ranges
  return true
end

function Node:end_session()
  self.ended = self.ended + 1
  return {}
end

-- ---- a job ----

local Job = {}
Job.__index = Job

local function new_job(number)
  local s = setmetatable(
    { number = number, log = {}, batches = {}, has = {}, results = {} }, Job)
  s.sink = { result = function(_, worker, id, attempt, ok, value)
    s.results[#s.results + 1] = { worker and worker.generation, id, attempt, ok, value }
    if worker then s.has[worker] = (s.has[worker] or 0) - 1 end
  end }
  return s
end

for _, name in ipairs({
  "worker_up", "worker_down", "worker_changed", "report", "starved",
  "refused", "not_begun", "progress", "arrived", "session_full", "session_down", "cluster_closed",
}) do
  Job[name] = function(self, ...) self.log[#self.log + 1] = { name, ... } end
end

function Job:in_flight(worker) return self.has[worker] or 0 end

function Job:gather(l, out)
  local batch = table.remove(self.batches, 1)
  if not batch then return end
  local worker = l.workers[1]
  l:need(out, self, self.blobs or {})
  l:add_batch(out, worker, self, { "key" }, batch)
  self.has[worker] = (self.has[worker] or 0) + batch.count
end

function Job:names()
  local names = {}
  for i, entry in ipairs(self.log) do names[i] = entry[1] end
  return names
end

local function records(...)
  local out = {}
  for i, record in ipairs({ ... }) do out[i] = assert(codec.encode(record)) end
  return table.concat(out)
end

local function report(job, n, generation)
  return { 0, "report", 1, {
    generation = generation or 1, job = job, n = n, cpu = 0.1, wall = 0.2, bytes = 10 * n,
  } }
end

local function batch(first, count)
  return { first = first, count = count or 1, attempt = 1, timeout = 0, items = "i" }
end

local function wait_until(what, f)
  for _ = 1, 2000 do
    if f() then return end
    task.sleep(0.001)
  end
  error("waited in vain for " .. what, 2)
end

describe("a session", function()
  local n, l, one, two, jobs, lost_with, asked, gone, printed, changes

  local function open(options)
    n = n or new_node()
    one, two = new_job(1), new_job(2)
    jobs = { one, two, by_number = { one, two } }
    lost_with, asked, gone, printed = nil, {}, {}, {}
    l = session.new(n, {
      jobs = jobs, times = setmetatable(options or {}, { __index = TIMES }),
      prepare = function(_, ready) ready() end,
      on_print = function(...) printed[#printed + 1] = { ... } end,
      on_upcall = function(_, ...) asked[#asked + 1] = table.pack(...) end,
      on_removed = function(worker) gone[#gone + 1] = worker.generation end,
      on_lost = function(_, err) lost_with = err end,
      on_change = function() changes = changes + 1 end,
    })
    changes = 0
    l:start()
    if n.stays_closed then return end
    wait_until("the first message", function() return #n.waiting == 1 end)
    assert.same({ 1, 0, 0 }, { n.sent[1].seq, n.sent[1].ack, #n.sent[1].batches })
    n:answer(0, "")
    wait_until("the session", function() return l.is_open and l.workers[1] end)
    n.sent = {}
  end

  before_each(function()
    n = nil
    open()
  end)
  after_each(function() l:close(true) end)

  -- Sends a batch of job one and waits until the node has it.
  local function send(count)
    local before = #n.sent
    one.batches[#one.batches + 1] = batch(1, count)
    l.work:notify()
    wait_until("the message", function() return #n.sent > before end)
  end

  it("introduces the workers that it finds to its jobs", function()
    assert.same({ "worker_up" }, one:names())
    assert.equal(1, one.log[1][2].generation)
    assert.same({ "worker_up" }, two:names())
  end)

  describe("opens the session", function()
    before_each(function()
      l:close(true)
      n = new_node()
      n.stays_closed = true
      open({ heartbeat = 10, dead_after = 0.6 })
      wait_until("the first message", function() return #n.waiting == 1 end)
    end)

    local function refuse()
      n:answer(nil, errors.new({ kind = "refused", message = "too many sessions" }), true)
    end

    it("with one message, and sends no other before the reply", function()
      one.batches[1] = batch(2)
      l.work:notify()
      task.sleep(0.01)
      assert.same({ 1, {} }, { #n.sent, l.workers })
      n:answer(0, "")
      wait_until("the second", function() return #n.sent == 2 end)
      assert.equal(2, n.sent[2].batches[1][5])
    end)

    it("tries again at a full node, which has no workers meanwhile", function()
      refuse()
      wait_until("the news", function() return l.full end)
      assert.same({ true, "too many sessions" }, { n.full, n.error.message })
      assert.same({ "session_full" }, one:names())
      wait_until("it to be asked again", function() return #n.waiting == 1 end)
      assert.equal(n.sent[1], n.sent[2])
      n:answer(0, "")
      wait_until("a worker", function() return one.log[2] end)
      assert.same({ "session_full", "worker_up" }, one:names())
      assert.same({}, { n.full, n.error, l.full })
    end)

    it("loses a node that stays full", function()
      while not lost_with do
        if #n.waiting > 0 then refuse() end
        task.sleep(0.01)
      end
      assert.same({ "refused", "down" }, { lost_with.kind, n.state })
      assert.same({ "session_full", "session_down" }, one:names()) -- no worker had anything
    end)
  end)

  it("polls immediately on request, and waits for the outcome", function()
    l:close(true)
    n = nil
    open({ heartbeat = 100 })
    local asked_at = l.polls
    l:poll(sys.now() + 5)
    assert.equal(asked_at + 1, l.polls)
    n.control_error = function()
      task.sleep(0.05)
      return timeout()
    end
    local before = sys.now()
    l:poll(before + 0.01)
    assert.is_true(sys.now() - before < 0.04)
    l:poll(before + 5)
    assert.is_true(l.suspect)
  end)

  it("reports a node that drained and left as drained, not as lost", function()
    n.dial_error = function() return errors.new({ kind = "connect", message = "refused" }) end
    l.draining = true
    n.control_error = lost
    wait_until("the end", function() return lost_with end)
    assert.same({ "draining", "n1 has drained and left" }, { lost_with.kind, lost_with.message })
    assert.same({ true, lost_with }, { n.left, n.error })
  end)

  it("numbers its messages, and acknowledges chunks", function()
    send()
    n:answer(1, records(report(1, 1), { 1, 1, true, "v" }))
    wait_until("the result", function() return #one.results == 1 end)
    assert.same({ { 1, 1, 1, true, "v" } }, one.results)
    send()
    assert.same({ 2, 0 }, { n.sent[1].seq, n.sent[1].ack })
    local last = n.sent[#n.sent]
    assert.is_true(last.seq > 1)
    assert.equal(1, last.ack)
  end)

  it("keeps one long poll at a node that has work, and none at another", function()
    task.sleep(0.02)
    assert.equal(0, #n.sent)
    send(2)
    n:answer(1, records(report(1, 1), { 1, 1, true, 1 }))
    wait_until("another request", function() return #n.waiting == 1 end)
    assert.same({}, n.sent[2].batches)
    n:answer(2, records(report(1, 1), { 2, 1, true, 1 }))
    wait_until("the last chunk to be acknowledged", function()
      return #n.waiting == 1 and n.waiting[1].message.ack == 2
    end)
    n:answer(0, "")
    task.sleep(0.02)
    assert.equal(0, #n.waiting)
  end)

  it("takes chunks in order, and each once", function()
    send(3)
    send(1)
    n:answer(2, records(report(1, 1), { 2, 1, true, "second" }))
    task.sleep(0.01)
    assert.equal(0, #one.results)
    n:answer(1, records(report(1, 1), { 1, 1, true, "first" }))
    wait_until("both", function() return #one.results == 2 end)
    assert.same({ "first", "second" }, { one.results[1][5], one.results[2][5] })
    wait_until("another request", function() return #n.waiting > 0 end)
    n:answer(2, records(report(1, 1), { 2, 1, true, "second again" }))
    task.sleep(0.01)
    assert.equal(2, #one.results)
  end)

  it("sends a message without a reply again, with the same number", function()
    l:close(true)
    n = nil
    open({ reply_after = 0.05 })
    send()
    wait_until("it to be sent again", function() return #n.sent >= 3 end)
    assert.equal(n.sent[1], n.sent[2])
    n:answer(1, records(report(1, 1), { 1, 1, true, "v" }))
    wait_until("the result", function() return #one.results == 1 end)
  end)

  it("gives results to the job of their report, and counts those of ended jobs", function()
    send(1)
    n:answer(1, records(report(2, 1), { 7, 1, true, "two" }, report(9, 2), { 1, 1, true, "nobody" },
      { 2, 1, true, "nobody" }, report(1, 1), { 1, 1, false, { kind = "raise", message = "m" } }))
    wait_until("the results", function() return #one.results == 1 end)
    assert.equal("two", two.results[1][5])
    assert.equal(2, l.late)
    local err = one.results[1][5]
    assert.same({ "raise", "n1", 1, "yes" }, { err.kind, err.node, err.attempt, err.applied })
    assert.equal(errors.text(err), tostring(err))
  end)

  it("takes no results from an unknown process", function()
    send(1)
    n:answer(1, records(report(1, 1, 5), { 1, 1, true, "from another life" }))
    wait_until("the result", function() return #one.results == 1 end)
    assert.is_nil(one.results[1][1])
  end)

  it("sends the blobs of a job once, and has unused ones dropped", function()
    one.blobs = { { key = "k", bytes = ("x"):rep(20 * 1024 * 1024) } }
    send()
    assert.equal("k", n.sent[1].blobs[1][1])
    n:answer(1, "")
    send()
    assert.equal(0, #n.sent[#n.sent].blobs)
    n:answer(2, "")
    l:close_job(one)
    wait_until("the news", function() return n.sent[#n.sent].closes[1] == 1 end)
    assert.same({ "k" }, n.sent[#n.sent].drops) -- too large to be kept for later
  end)

  it("puts no more into one message than a node accepts", function()
    send()
    n:answer(1, "")
    for number = 1, 1e5 do l:reply(l.workers[1], number, "") end
    wait_until("the answers", function() return #n.sent[#n.sent].replies > 0 end)
    assert.is_true(#n.sent[#n.sent].replies < 65536)
  end)

  describe("whose worker", function()
    local function down(fields)
      local how = { generation = 1, state = "down", signal = 9, code = 0 }
      for key, value in pairs(fields or {}) do how[key] = value end
      send(1)
      n:answer(1, records({ 0, "worker", 1, how }))
      wait_until("the news", function() return #gone == 1 end)
      return one.log[#one.log][3], two.log[#two.log][3]
    end

    it("dies is removed from all jobs, and returns as another", function()
      local cause = down()
      assert.same({ "crash", 9, "n1" }, { cause.kind, cause.signal, cause.node })
      assert.is_nil(cause.culprit)
      wait_until("a request", function() return #n.waiting > 0 end)
      n:answer(2, records(
        { 0, "worker", 1, { generation = 2, state = "up", signal = 0, code = 0 } }))
      wait_until("it", function() return one.log[#one.log][1] == "worker_up" end)
      assert.equal(2, one.log[#one.log][2].generation)
    end)

    it("died of a task names that task to its job, and none to the others", function()
      local cause, other = down({ why = "timeout", job = 1, id = 5, attempt = 2 })
      assert.same({ "timeout", { id = 5, attempt = 2 } }, { cause.kind, cause.culprit })
      assert.same({ "crash", { id = 0, attempt = 0 } }, { other.kind, other.culprit })
    end)

    it("gives back tasks that had not begun or had not reached the node", function()
      send(3)
      send(4)
      local seq = n.sent[1].seq
      n:answer(1, records({ 0, "worker", 1, {
        generation = 1, state = "down", signal = 9, code = 0, not_begun = { { 1, 2, 2, 1 } },
        seq = seq, missing = {},
      } }))
      wait_until("the news", function() return #gone == 1 end)
      local given = {}
      for _, entry in ipairs(one.log) do
        if entry[1] == "not_begun" or entry[1] == "refused" then
          given[#given + 1] = { entry[1], entry[3], entry[4], entry[5] }
        end
      end
      assert.same({ { "not_begun", 2, 2, 1 }, { "refused", 1, 4, 1 } }, given)
      assert.equal("worker_down", one.log[#one.log][1])
    end)

    it("was frozen has no culprit", function()
      local cause, other = down({ why = "frozen" })
      assert.same({ "crash", { id = 0, attempt = 0 } }, { cause.kind, cause.culprit })
      assert.same({ "crash", { id = 0, attempt = 0 } }, { other.kind, other.culprit })
      assert.matches("no sign of life", cause.message, 1, true)
    end)

    it("died of memory is reported so", function()
      assert.equal("memory", (down({ why = "memory" })).kind)
    end)
  end)

  it("passes on the output and the upcalls of tasks, and the replies", function()
    send(1)
    local function output(generation, what, value)
      return { 0, "output", 1, {
        generation = generation, job = 1, id = 3, attempt = 1, what = what, value = value,
      } }
    end
    n:answer(1, records(output(1, "print", "hi"), output(2, "print", "no"),
      output(1, "progress", 7),
      { 0, "upcall", 1, { generation = 1, number = 4, bytes = "question" } }))
    wait_until("the question", function() return #asked == 1 end)
    assert.same({ { "n1", "hi" } }, printed)
    local progress
    for _, entry in ipairs(one.log) do
      if entry[1] == "progress" then progress = { entry[3], entry[4] } end
    end
    assert.same({ 3, 7 }, progress)
    assert.same({ 4, "question" }, { asked[1][2], asked[1][3] })
    l:reply(asked[1][1], 4, "answer")
    wait_until("the answer", function() return n.sent[#n.sent].replies[1] end)
    assert.same({ 1, 1, 4, "answer" }, n.sent[#n.sent].replies[1])
  end)

  describe("to a node that does not answer", function()
    it("sends it nothing new until it does", function()
      send(1)
      n.control_error = timeout
      wait_until("suspicion", function() return l.suspect end)
      assert.equal("worker_changed", one.log[#one.log][1])
      one.batches[1] = batch(2)
      l.work:notify()
      task.sleep(0.01)
      assert.equal(1, #one.batches)
      n.control_error = nil
      wait_until("trust", function() return not l.suspect end)
      wait_until("the batch to be sent", function() return #one.batches == 0 end)
      assert.is_nil(lost_with)
    end)

    it("loses it in the end", function()
      send(1)
      n.control_error = timeout
      wait_until("the end", function() return lost_with end)
      assert.equal("timeout", lost_with.kind)
      local names = one:names()
      assert.same({ "worker_down", "session_down" }, { names[#names - 1], names[#names] })
      assert.equal("lost", one.log[#one.log - 1][3].kind)
      assert.same({ "down", 1 }, { n.state, #gone })
      assert.is_true(l.closed)
    end)
  end)

  describe("whose connection breaks", function()
    it("continues with the same session, and sends messages without a reply again", function()
      send(1)
      local message = n.waiting[1].message
      n:break_all()
      wait_until("it to be sent again", function() return #n.waiting == 1 end)
      assert.equal(message, n.waiting[1].message)
      assert.same({ 1, 1 }, { n.dials, n.sessions })
      n:answer(1, records(report(1, 1), { 1, 1, true, "v" }))
      wait_until("the result", function() return #one.results == 1 end)
      assert.is_nil(lost_with)
      wait_until("trust", function() return not l.suspect end)
    end)

    it("reconnects as long as the node may live", function()
      send(1)
      n.dial_error = timeout
      n:break_all()
      wait_until("a few attempts", function() return n.dials >= 2 end)
      n.dial_error = nil
      wait_until("it to be sent again", function() return #n.waiting == 1 end)
      assert.is_nil(lost_with)
    end)

    it("is down before its jobs are called, so that they can mention the reason", function()
      local seen
      function one.session_down() seen = { n.state, n.error and n.error.kind } end
      n.dial_error = function() return errors.new({ kind = "connect", message = "refused" }) end
      send()
      n:break_all()
      wait_until("the loss", function() return lost_with end)
      assert.same({ "down", "connect" }, seen)
    end)

    it("ends when the connection is refused", function()
      send(1)
      n.dial_error = function() return errors.new({ kind = "connect", message = "refused" }) end
      n:break_all()
      wait_until("the end", function() return lost_with end)
      assert.same({ "connect", 1 }, { lost_with.kind, n.dials })
    end)

    for what, status in pairs({
      ["has restarted"] = { boot = "b2", state = "ready", workers = {}, session = false },
      ["has dropped the session"] = { boot = "b1", state = "ready", workers = {}, session = false },
    }) do
      it("ends when the node " .. what, function()
        send(2)
        n:answer(1, records(report(1, 1), { 1, 1, true, 1 })) -- it knew the session
        wait_until("another request", function() return #n.waiting == 1 end)
        n.status = status
        n:break_all()
        wait_until("the end", function() return lost_with end)
        assert.equal("lost", lost_with.kind)
      end)
    end
  end)

  it("ends when the node answers with an error, or malformed", function()
    send(1)
    n:answer(nil, errors.new({ kind = "lost", message = "the session is over" }), true)
    wait_until("the end", function() return lost_with end)
    n = nil
    open()
    send(1)
    n:answer(1, "\xC1")
    wait_until("the end", function() return lost_with end)
    assert.equal("decode", lost_with.kind)
  end)

  describe("that damages messages", function()
    local function damaged() return errors.new({ kind = "protocol", message = "malformed" }) end

    it("sends them again", function()
      send(1)
      local message = n.waiting[1].message
      n:answer(nil, damaged(), true)
      wait_until("it to be sent again", function() return #n.waiting == 1 end)
      assert.equal(message, n.waiting[1].message)
      n:answer(1, records(report(1, 1), { 1, 1, true, "v" }))
      wait_until("the result", function() return #one.results == 1 end)
      assert.is_nil(lost_with)
    end)

    it("ends when one message is damaged each time", function()
      send(1)
      while not lost_with do
        if #n.waiting > 0 then n:answer(nil, damaged(), true) end
        task.sleep(0.001)
      end
      assert.equal("protocol", lost_with.kind)
      assert.is_true(#n.sent < 20)
    end)

    it("tolerates damaged statuses for as long as a node may be silent", function()
      n.control_error = damaged
      wait_until("suspicion", function() return l.suspect end)
      n.control_error = nil
      wait_until("trust", function() return not l.suspect end)
      assert.is_nil(lost_with)
      n.control_error = damaged
      wait_until("the end", function() return lost_with end)
    end)
  end)

  it("sends a draining node nothing more, and takes its results", function()
    send(1)
    n:answer(1, records({ 0, "state", 0, { state = "draining" } }))
    wait_until("the news", function() return l.draining end)
    assert.equal("worker_changed", one.log[#one.log][1])
    one.batches[1] = batch(2)
    l.work:notify()
    task.sleep(0.01)
    assert.equal(1, #one.batches)
    wait_until("a request", function() return #n.waiting == 1 end)
    n:answer(2, records(report(1, 1), { 1, 1, true, "v" }))
    wait_until("the result", function() return #one.results == 1 end)
  end)

  it("cancels tasks on the control connection", function()
    l:cancel(l.workers[1], one, 5, 2)
    wait_until("it", function() return #n.cancels == 1 end)
    assert.same({ { 1, 1, 1, 5, 2 } }, n.cancels[1])
  end)

  it("ends at the node when it is closed, if it was ever opened there", function()
    l:close()
    assert.equal(1, n.ended)
    n = nil
    open()
    send(1)
    l:close()
    l:close()
    assert.equal(1, n.ended)
    assert.is_nil(lost_with)
  end)
end)
