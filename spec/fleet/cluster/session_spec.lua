-- SPDX-License-Identifier: MIT
-- A session with a node that is played by the spec: what it answers, when, and how it breaks.

local errors = require("fleet.errors")
local session = require("fleet.cluster.session")
local sys = require("host.sys")
local task = require("host.task")

local TIMES = { heartbeat = 0.005, suspect_after = 0.05, dead_after = 0.2 }

local function lost(message) return errors.new({ kind = "lost", message = message or "broke" }) end
local function timeout() return errors.new({ kind = "timeout", message = "no answer" }) end

-- ---- the messages ----

local Stream = {}
Stream.__index = Stream

-- `sent` has what was added, each with the number of its message.
local function new_messages(_, handlers)
  return setmetatable({ on = handlers, sent = {}, last = 1, max = 1e9, confirmed = 0 }, Stream)
end

local function append(self, ...)
  assert(not self.closed, "they are closed")
  self.sent[#self.sent + 1] = { message = self.last, ... }
  self.is_filled = true
end

function Stream:add(...)
  append(self, ...)
  return true
end

function Stream:batch(worker, generation, keys, job, first, attempt, seconds, items, from, to)
  local n = math.min(self:room(), type(items) == "string" and 1 or to - from + 1)
  if n == 0 then return 0 end
  append(self, "batch", worker, generation, keys, job, first, n, attempt, seconds)
  return n, self.last
end

function Stream:flush()
  if self.is_filled then self.last = self.last + 1 end
  self.is_filled = false
end

function Stream:room() return self.max end
function Stream:number() return self.is_filled and self.last or self.last - 1 end
function Stream:close() self.closed = true end

-- The elements of that name that were sent.
function Stream:of(name)
  local list = {}
  for _, element in ipairs(self.sent) do
    if element[1] == name then list[#list + 1] = element end
  end
  return list
end

function Stream:arrive(...)
  for _, event in ipairs({ ... }) do
    self.on.on_event(self.on.self, table.unpack(event))
  end
  self.on.on_arrived(self.on.self, self.confirmed)
end

-- ---- the node ----

local Node = {}
Node.__index = Node

local function new_node()
  return setmetatable({
    name = "n1", address = "n1:1", state = "ready", release = "1", new_messages = new_messages,
    status = { boot = "b1", state = "ready", workers = { { 1, 1 } }, session = true },
    opens = 0, dials = 0, cancels = {}, ended = {},
  }, Node)
end

function Node:open_session(messages, key)
  self.opens, self.messages, self.key = self.opens + 1, messages, key
  if self.open_error then return nil, self.open_error() end
  return true
end

function Node:request_status()
  if self.status_error then return nil, self.status_error() end
  return self.status
end

function Node:connect()
  self.dials = self.dials + 1
  if self.dial_error then return nil, self.dial_error() end
  self.status_error = nil
  return true
end

function Node.close() end

function Node:cancel(after, ranges)
  self.cancels[#self.cancels + 1] = { after, ranges }
  return true
end

function Node:end_session(_, key)
  self.ended[#self.ended + 1] = key
  return {}
end

-- The channel ends; what comes after the error is whether that is final.
function Node:break_channel(...)
  self.status_error = lost
  self.messages.on.on_end(self.messages.on.self, lost(), ...)
end

-- ---- a job ----

local Job = {}
Job.__index = Job

local function new_job(number)
  local s = setmetatable({
    number = number, keys = "keys", log = {}, batches = {}, has = {}, results = {},
  }, Job)
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

function Job:gather(l)
  local batch = table.remove(self.batches, 1)
  if not batch then return false end
  local worker = l.workers[1]
  if self.blobs then l:need(self, self.blobs) end
  local n, message = l.messages:batch(worker.index, worker.generation, self.keys, self.number,
    batch.first, 1, 0, {}, 1, batch.count)
  if n > 0 then
    l:remember({ message = message, worker = worker, job = self, first = batch.first, count = n,
      attempt = 1 })
  end
  self.has[worker] = (self.has[worker] or 0) + n
  return #self.batches > 0
end

function Job:names()
  local names = {}
  for i, entry in ipairs(self.log) do names[i] = entry[1] end
  return names
end

local function report(job, n, generation)
  return { 0, "report", 1, generation or 1, job, n, 0.1, 0.2, 10 * n }
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

  local function start(times)
    n = n or new_node()
    one, two = new_job(1), new_job(2)
    jobs = { one, two, by_number = { one, two } }
    lost_with, asked, gone, printed, changes = nil, {}, {}, {}, 0
    l = session.new(n, {
      jobs = jobs, times = setmetatable(times or {}, { __index = TIMES }),
      prepare = function(_, ready) ready() end,
      on_print = function(...) printed[#printed + 1] = { ... } end,
      on_upcall = function(_, ...) asked[#asked + 1] = table.pack(...) end,
      on_removed = function(worker) gone[#gone + 1] = worker.generation end,
      on_lost = function(_, err) lost_with = err end,
      on_change = function() changes = changes + 1 end,
    })
    l:start()
  end

  local function open(times)
    n = nil
    start(times)
    wait_until("the session", function() return l.is_open and l.workers[1] end)
  end

  before_each(function() open() end)
  after_each(function() l:close(true) end)

  -- Sends a batch of job one and waits until it has left.
  local function send(count, first)
    one.batches[#one.batches + 1] = { first = first or 1, count = count or 1 }
    l:wake()
    wait_until("the message", function() return #one.batches == 0 end)
  end

  it("introduces the workers that it finds to its jobs", function()
    assert.same({ "worker_up" }, one:names())
    assert.equal(1, one.log[1][2].generation)
    assert.same({ "worker_up" }, two:names())
  end)

  describe("opens at a node", function()
    before_each(function()
      l:close(true)
      n = new_node()
    end)

    local function full()
      return errors.new({ kind = "refused", message = "too many sessions" }), true
    end

    it("before it sends anything", function()
      local may_open = task.event()
      function n.open_error()
        may_open:wait()
        return full()
      end
      start()
      one.batches[1] = { first = 2, count = 1 }
      l:wake()
      wait_until("the attempt", function() return n.opens == 1 end)
      task.sleep(0.01)
      assert.same({ {}, {} }, { l.messages.sent, l.workers })
      n.open_error = nil
      may_open:notify()
      wait_until("the batch", function() return l.messages:of("batch")[1] end)
      assert.equal(2, l.messages:of("batch")[1][6])
    end)

    it("that is full again and again; it has no workers meanwhile", function()
      n.open_error = full
      start({ dead_after = 30 })
      wait_until("the news", function() return l.full end)
      assert.same({ true, "too many sessions" }, { n.full, n.error.message })
      assert.same({ "session_full" }, one:names())
      wait_until("it to be asked again", function() return n.opens >= 2 end)
      n.open_error = nil
      wait_until("a worker", function() return one.log[2] end)
      assert.same({ "session_full", "worker_up" }, one:names())
      assert.same({}, { n.full, n.error, l.full })
    end)

    it("that stays full until it counts as lost", function()
      n.open_error = full
      start({ dead_after = 0.3 })
      wait_until("the end", function() return lost_with end)
      assert.same({ "refused", "down" }, { lost_with.kind, n.state })
      assert.same({ "session_full", "session_down" }, one:names()) -- no worker had anything
    end)

    it("that refuses it", function()
      function n.open_error()
        return errors.new({ kind = "protocol", message = "malformed" }), true
      end
      start()
      wait_until("the end", function() return lost_with end)
      assert.same({ "protocol", 1, 0 }, { lost_with.kind, n.opens, n.dials })
    end)
  end)

  it("polls immediately on request, and waits for the outcome", function()
    l:close(true)
    open({ heartbeat = 100 })
    local asked_at = l.polls
    l:poll(sys.now() + 5)
    assert.equal(asked_at + 1, l.polls)
    n.status_error = function()
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
    n:break_channel()
    wait_until("the end", function() return lost_with end)
    assert.same({ "draining", "n1 has drained and left" }, { lost_with.kind, lost_with.message })
    assert.same({ true, lost_with }, { n.left, n.error })
  end)

  it("has all jobs send in turn, as long as there is room", function()
    for first = 1, 3 do
      one.batches[first] = { first = first, count = 1 }
      two.batches[first] = { first = 10 * first, count = 1 }
    end
    l:wake()
    wait_until("all", function() return #l.messages:of("batch") == 6 end)
    local sent = l.messages:of("batch")
    for i = 1, 5, 2 do assert.is_true(sent[i][5] ~= sent[i + 1][5]) end -- of different jobs
    l.messages.max = 0
    one.batches[1] = { first = 9, count = 1 }
    l:wake()
    task.sleep(0.01)
    assert.equal(1, #one.batches)
    l.messages.max = 5
    l.messages.on.on_room(l)
    wait_until("the rest", function() return #l.messages:of("batch") == 7 end)
  end)

  it("gives results to the job of their report, and counts those of ended jobs", function()
    send(1)
    l.messages:arrive(report(2, 1), { 7, 1, true, "two" }, report(9, 2), { 1, 1, true, "nobody" },
      { 2, 1, true, "nobody" }, report(1, 1), { 1, 1, false, { kind = "raise", message = "m" } })
    assert.equal("two", two.results[1][5])
    assert.equal(2, l.late)
    local err = one.results[1][5]
    assert.same({ "raise", "n1", 1, "yes" }, { err.kind, err.node, err.attempt, err.applied })
    assert.equal(errors.text(err), tostring(err))
    local names = one:names()
    assert.equal("arrived", names[#names])
  end)

  it("takes no results from an unknown process", function()
    send(1)
    l.messages:arrive(report(1, 1, 5), { 1, 1, true, "from another life" })
    assert.is_nil(one.results[1][1])
  end)

  it("sends the blobs of a job once, and has unused ones dropped", function()
    local bytes = ("x"):rep(20 * 1024 * 1024)
    one.blobs = { { key = "k", bytes = bytes } }
    send()
    send()
    assert.same({ { message = 1, "blob", "k", bytes } }, l.messages:of("blob"))
    l:close_job(one)
    assert.equal(1, l.messages:of("close")[1][2])
    assert.equal("k", l.messages:of("drop")[1][2]) -- too large to be kept for later
  end)

  it("sends blobs again for which the node had no room, a little later", function()
    one.blobs = { { key = "k", bytes = "b" } }
    send()
    l.messages:arrive({ 0, "refused", 1,
      { job = 1, first = 1, count = 1, attempt = 1, why = "room" } })
    assert.equal("refused", one.log[#one.log][1])
    one.batches[1] = { first = 1, count = 1 }
    l:wake()
    task.sleep(0.05)
    assert.equal(1, #l.messages:of("batch"))
    wait_until("the second attempt", function() return #l.messages:of("batch") == 2 end)
    assert.equal(2, #l.messages:of("blob"))
    send()
    assert.equal(2, #l.messages:of("blob"))
  end)

  it("fails tasks whose blobs the node never has room for", function()
    send(2)
    l.messages:arrive({ 0, "refused", 1,
      { job = 1, first = 1, count = 2, attempt = 1, why = "too_large" } })
    assert.equal(2, #one.results)
    local err = one.results[2][5]
    assert.same({ 2, false, "too_large", "no" },
      { one.results[2][2], one.results[2][4], err.kind, err.applied })
  end)

  describe("whose worker", function()
    local function down(fields)
      local how = { generation = 1, state = "down", signal = 9, code = 0 }
      for key, value in pairs(fields or {}) do how[key] = value end
      send(1)
      l.messages:arrive({ 0, "worker", 1, how })
      assert.equal(1, #gone)
    end

    it("dies is removed from all jobs, and returns as another", function()
      send(1)
      l.messages:arrive({ 0, "worker", 1,
        { generation = 1, state = "down", signal = 9, code = 0 } })
      local cause = one.log[#one.log][3]
      assert.same({ "crash", 9, "n1" }, { cause.kind, cause.signal, cause.node })
      assert.is_nil(cause.culprit)
      l.messages:arrive({ 0, "worker", 1, { generation = 2, state = "up", signal = 0, code = 0 } })
      assert.equal("worker_up", one.log[#one.log][1])
      assert.equal(2, one.log[#one.log][2].generation)
    end)

    local function cause_of(job)
      for i = #job.log, 1, -1 do
        if job.log[i][1] == "worker_down" then return job.log[i][3] end
      end
    end

    it("died of a task names that task to its job, and none to the others", function()
      down({ why = "timeout", job = 1, id = 5, attempt = 2 })
      local cause, other = cause_of(one), cause_of(two)
      assert.same({ "timeout", { id = 5, attempt = 2 } }, { cause.kind, cause.culprit })
      assert.same({ "crash", { id = 0, attempt = 0 } }, { other.kind, other.culprit })
    end)

    it("gives back tasks that had not begun or had not reached the node", function()
      send(3)
      send(4, 10)
      l.messages:arrive({ 0, "worker", 1, {
        generation = 1, state = "down", signal = 9, code = 0, not_begun = { { 1, 2, 2, 1 } },
        received = 1,
      } })
      local given = {}
      for _, entry in ipairs(one.log) do
        if entry[1] == "not_begun" or entry[1] == "refused" then
          given[#given + 1] = { entry[1], entry[3], entry[4], entry[5] }
        end
      end
      assert.same({ { "not_begun", 2, 2, 1 }, { "refused", 10, 4, 1 } }, given)
      assert.equal("worker_down", one.log[#one.log][1])
    end)

    it("was frozen has no culprit", function()
      down({ why = "frozen" })
      local cause, other = cause_of(one), cause_of(two)
      assert.same({ "crash", { id = 0, attempt = 0 } }, { cause.kind, cause.culprit })
      assert.same({ "crash", { id = 0, attempt = 0 } }, { other.kind, other.culprit })
      assert.matches("no sign of life", cause.message, 1, true)
    end)

    it("died of memory is reported so", function()
      down({ why = "memory" })
      assert.equal("memory", cause_of(one).kind)
    end)
  end)

  it("forgets what has arrived, and gives back only what has not", function()
    for first = 1, 100 do
      send(1, first)
      l.messages.confirmed = first
      l.messages:arrive()
    end
    assert.is_nil(next(l.unconfirmed))
    send(1, 101)
    l:give_back(l.workers[1], 100)
    assert.same({ "refused", 101 }, { one.log[#one.log][1], one.log[#one.log][3] })
  end)

  it("passes on the output and the upcalls of tasks, and the replies", function()
    send(1)
    local function output(generation, what, value)
      return { 0, "output", 1, {
        generation = generation, job = 1, id = 3, attempt = 1, what = what, value = value,
      } }
    end
    l.messages:arrive(output(1, "print", "hi"), output(2, "print", "no"), output(1, "progress", 7),
      { 0, "upcall", 1, { generation = 1, number = 4, bytes = "question" } })
    assert.same({ { "n1", "hi" } }, printed)
    local progress
    for _, entry in ipairs(one.log) do
      if entry[1] == "progress" then progress = { entry[3], entry[4] } end
    end
    assert.same({ 3, 7 }, progress)
    assert.same({ 4, "question" }, { asked[1][2], asked[1][3] })
    l:reply(asked[1][1], 4, "answer")
    assert.same({ { message = 2, "answer", 1, 1, 4, "answer" } }, l.messages:of("answer"))
  end)

  describe("to a node that does not answer", function()
    it("sends it nothing new until it does", function()
      send(1)
      n.status_error = timeout
      wait_until("suspicion", function() return l.suspect end)
      assert.equal("worker_changed", one.log[#one.log][1])
      one.batches[1] = { first = 2, count = 1 }
      l:wake()
      task.sleep(0.01)
      assert.equal(1, #one.batches)
      n.status_error = nil
      wait_until("trust", function() return not l.suspect end)
      wait_until("the batch to be sent", function() return #one.batches == 0 end)
      assert.is_nil(lost_with)
    end)

    it("loses it in the end", function()
      send(1)
      n.status_error = timeout
      wait_until("the end", function() return lost_with end)
      assert.equal("timeout", lost_with.kind)
      local names = one:names()
      assert.same({ "worker_down", "session_down" }, { names[#names - 1], names[#names] })
      assert.equal("lost", one.log[#one.log - 1][3].kind)
      assert.same({ "down", 1 }, { n.state, #gone })
      assert.is_true(l.closed)
    end)

    it("waits no longer for it than until it counts as dead, whatever the heartbeat", function()
      l:close(true)
      open({ heartbeat = 60, suspect_after = 0.05, dead_after = 0.3 })
      function n.request_status(_, seconds)
        task.sleep(seconds)
        return nil, timeout()
      end
      l:check_now()
      wait_until("the end", function() return lost_with end)
      assert.equal("timeout", lost_with.kind)
    end)
  end)

  describe("whose channel breaks", function()
    it("dials no longer than until the node counts as dead", function()
      l:close(true)
      open({ dead_after = 0.6 })
      local asked_for, began = {}, sys.now()
      function n.connect(_, seconds) -- for the connection, and for the answer
        asked_for[#asked_for + 1] = 2 * seconds
        task.sleep(2 * seconds)
        return nil, timeout()
      end
      n:break_channel()
      wait_until("the end", function() return lost_with end)
      assert.is_true(asked_for[1] > 0.3 and asked_for[1] <= 0.6, asked_for[1])
      assert.is_true(sys.now() - began >= 0.5)
    end)

    it("goes on over another one at once", function()
      l:close(true)
      open({ heartbeat = 100, suspect_after = 1000, dead_after = 2000 })
      send(1)
      local messages = l.messages
      n:break_channel()
      wait_until("the next", function() return n.opens == 2 end)
      wait_until("trust", function() return not l.suspect end)
      assert.same({ 1, messages, l.key }, { n.dials, n.messages, n.key })
      l.messages:arrive(report(1, 1), { 1, 1, true, "v" })
      assert.equal(1, #one.results)
      assert.is_nil(lost_with)
      send(1)
    end)

    it("reconnects as long as the node may live", function()
      n.dial_error = timeout
      n:break_channel()
      wait_until("a few attempts", function() return n.dials >= 2 end)
      n.dial_error = nil
      wait_until("the session", function() return n.opens == 2 end)
      assert.is_nil(lost_with)
    end)

    it("reconnects when it breaks again while the session is opened", function()
      n.open_error = lost
      n:break_channel()
      wait_until("a few attempts", function() return n.opens >= 3 end)
      n.open_error = nil
      wait_until("trust", function() return not l.suspect end)
      assert.is_nil(lost_with)
    end)

    it("is down before its jobs are called, so that they can mention the reason", function()
      local seen
      function one.session_down() seen = { n.state, n.error and n.error.kind } end
      n.dial_error = function() return errors.new({ kind = "connect", message = "refused" }) end
      n:break_channel()
      wait_until("the loss", function() return lost_with end)
      assert.same({ "down", "connect" }, seen)
    end)

    it("ends when the connection is refused", function()
      n.dial_error = function() return errors.new({ kind = "connect", message = "refused" }) end
      n:break_channel()
      wait_until("the end", function() return lost_with end)
      assert.same({ "connect", 1 }, { lost_with.kind, n.dials })
    end)

    for what, status in pairs({
      ["has restarted"] = { boot = "b2", state = "ready", workers = {}, session = false },
      ["has dropped the session"] = { boot = "b1", state = "ready", workers = {}, session = false },
    }) do
      it("ends when the node " .. what, function()
        send(2)
        n.status = status
        n:break_channel()
        wait_until("the end", function() return lost_with end)
        assert.equal("lost", lost_with.kind)
      end)
    end

    it("ends when the node has closed the session meanwhile", function()
      function n.open_error() return lost("the session is closed"), true end
      n:break_channel()
      wait_until("the end", function() return lost_with end)
      assert.same({ "lost", 1 }, { lost_with.kind, n.dials })
    end)

    it("ends when that is final", function()
      n:break_channel(true)
      assert.equal("lost", lost_with.kind)
      assert.is_true(l.messages.closed)
    end)
  end)

  it("tolerates damaged statuses for as long as a node may be silent", function()
    local function damaged() return errors.new({ kind = "protocol", message = "malformed" }) end
    n.status_error = damaged
    wait_until("suspicion", function() return l.suspect end)
    n.status_error = nil
    wait_until("trust", function() return not l.suspect end)
    assert.is_nil(lost_with)
    n.status_error = damaged
    wait_until("the end", function() return lost_with end)
  end)

  it("sends a draining node nothing more, and takes its results", function()
    send(1)
    l.messages:arrive({ 0, "state", 0, { state = "draining" } })
    assert.is_true(l.draining)
    assert.equal("worker_changed", one.log[#one.log][1])
    one.batches[1] = { first = 2, count = 1 }
    l:wake()
    task.sleep(0.01)
    assert.equal(1, #one.batches)
    l.messages:arrive(report(1, 1), { 1, 1, true, "v" })
    assert.equal(1, #one.results)
  end)

  it("cancels tasks once the node has the message that brings them", function()
    send(1)
    send(1)
    l:cancel(l.workers[1], one, 5, 2)
    wait_until("it", function() return #n.cancels == 1 end)
    assert.same({ 2, { { 1, 1, 1, 5, 2 } } }, n.cancels[1])
  end)

  it("ends at the node when it is closed, if it was ever opened there", function()
    l:close()
    l:close()
    assert.same({ l.key }, n.ended)
    assert.is_nil(lost_with)
    n = new_node()
    n.open_error = function()
      task.sleep(0.1)
      return lost()
    end
    start()
    l:close()
    assert.same({}, n.ended)
  end)
end)
