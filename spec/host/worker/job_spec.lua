-- SPDX-License-Identifier: MIT
-- The sessions, jobs and tasks of a worker (host/worker/job_session.c, job.c, task_output.c,
-- upcall.c, outcome.c), and what tasks can learn about themselves (host/worker/lib_job.c), tested
-- by a driver that speaks the protocol itself. The jobs are chunks that return their map function
-- and can use the whole library.

local codec = require("host.codec")
local e2e = require("spec.support.e2e")
local lfs = require("lfs")
local raw = require("spec.support.raw")
local task = require("host.task")

local RUNNER = [[
  local runner = {}
  function runner.prepare(definition)
    local map = assert(load(definition.source, "=job"))()
    return map, definition.concurrency
  end
  return runner
]]

describe("host.job", function()
  local world, node, driver

  before_each(function()
    world = e2e.new()
    for _, folder in ipairs({ "lua", "lua/fleet", "lua/fleet/base", "lua/fleet/worker" }) do
      lfs.mkdir(world:path(folder))
    end
    world:write("lua/fleet/worker/runner.lua", RUNNER)
    node = world:node({
      workers = 1, name = "here", flags = { "--lua-path", world:path("lua") },
    })
    driver = raw.open(node.address)
  end)

  after_each(function()
    driver:close()
    world:close()
  end)

  -- Gives items to a job, which is the chunk `source`.
  local function send(job, source, first, items, concurrency)
    local head = "local job, task = require('host.job'), require('host.task')\n"
    driver:send(job, { source = head .. source, concurrency = concurrency or 4 }, first, items)
  end

  local function value(id)
    local result, err = driver:result(id)
    if err then error(err.message, 2) end
    return result
  end

  local function failure(id)
    local _, err = driver:result(id)
    return assert(err)
  end

  -- The output so far, in the order of the tasks.
  local function output(what)
    local list = {}
    for _, record in ipairs(driver.session.records) do
      if record[1] == "output" and record[3].what == what then list[#list + 1] = record[3] end
    end
    return list
  end

  it("tells a task who it is", function()
    send(5, "local prepared = job.self() return function() return { prepared, job.self() } end", 7,
      { 1 })
    local function who(id, attempt)
      return { worker = 1, node = "here", job = 5, id = id, attempt = attempt }
    end
    assert.same({ who(0, 0), who(7, 1) }, value(7))
  end)

  it("keeps what a task makes in its name", function()
    send(1, [[
      return function()
        local done, who = task.event(), nil
        task.spawn(function() job.output("print", "made") who = job.self() done:notify() end)
        done:wait()
        return who
      end
    ]], 3, { 1 })
    assert.equal(3, value(3).id)
    assert.equal(3, driver:event("output").id)
  end)

  describe("output", function()
    it("sends what is printed, in order, before the result", function()
      send(1, "return function(x) job.output('print', x) job.output('print', '') return x end", 1,
        { "a", "b" })
      assert.equal("b", value(2))
      local texts = {}
      for i, event in ipairs(output("print")) do
        texts[i] = { event.job, event.id, event.attempt, event.value }
      end
      assert.same({ { 1, 1, 1, "a" }, { 1, 1, 1, "" }, { 1, 2, 1, "b" }, { 1, 2, 1, "" } }, texts)
    end)

    it("cuts what one task prints at 64 KiB, and says so once", function()
      send(1, [[return function(x)
        for _ = 1, 100 do job.output("print", ("x"):rep(1000)) end
        return x
      end]], 1, { 1, 2 })
      value(1)
      value(2)
      for id = 1, 2 do
        local bytes, notes = 0, 0
        for _, event in ipairs(output("print")) do
          if event.id == id then
            if event.value:find("^x+$") then
              assert.equal(0, notes)
              bytes = bytes + #event.value
            else
              notes = notes + 1
            end
          end
        end
        assert.same({ 64 * 1024, 1 }, { bytes, notes })
      end
    end)

    it("sends the latest progress only", function()
      send(1, [[return function()
        for i = 1, 1000 do job.output("progress", { done = i }) end
        task.sleep(0)
        job.output("progress", "all")
        return 1
      end]], 1, { 1 })
      value(1)
      local values = {}
      for i, event in ipairs(output("progress")) do values[i] = event.value end
      assert.same({ { done = 1000 }, "all" }, values)
    end)

    it("sends in parts what many tasks have made while the node did not listen", function()
      local count, items = 1300, {} -- of so much each that one message cannot hold it
      for i = 1, count do items[i] = i end
      send(1, ([[
        local silent = {}
        for x = 1, %d do silent[x] = true end
        return function(x)
          task.sleep(0.5)
          job.output("progress", x .. ("x"):rep(65000))
          silent[x] = nil
          if not next(silent) then io.stderr:write("all have spoken\n") end
          task.sleep(3600)
        end
      ]]):format(count), 1, items, count + 1)
      driver:event("starved")
      node:kill("STOP")
      e2e.wait_until("all to have spoken", function() return node:err():find("all have spoken") end)
      node:kill("CONT")
      local heard = {}
      e2e.wait_until("all progress", function()
        for _, event in ipairs(output("progress")) do heard[event.id] = #event.value > 65000 end
        return #heard == count
      end)
      assert.equal(1, driver:generation())
      driver:cancel(1, 1, count)
    end)

    it("takes no progress that cannot be sent, and no other words", function()
      send(1, [[return function()
        local ok, err = job.output("progress", { f = print })
        local large, why = job.output("progress", ("x"):rep(1e5))
        return {
          ok == nil and err.message, large == nil and why.kind,
          pcall(job.output, "shout", 1), pcall(job.output, "print"),
        }
      end]], 1, { 1 })
      local got = value(1)
      assert.same({ "progress.f: function cannot be sent", "too_large", false, false },
        { got[1], got[2], got[3], got[4] })
      assert.same({}, output("progress"))
    end)
  end)

  describe("upcall", function()
    it("waits for the driver's answer, each for its own", function()
      send(1, "return function(x) return job.upcall('question ' .. x) end", 1, { 1, 2, 3 })
      local asked = {}
      for _ = 1, 3 do
        local event = driver:event("upcall")
        asked[event.bytes] = event.number
      end
      for _, x in ipairs({ 2, 3, 1 }) do
        driver.session:post({ answers = { { 1, 1, asked["question " .. x], "answer " .. x } } })
        assert.equal("answer " .. x, value(x))
      end
    end)

    it("ends with its task, and ignores answers nobody waits for", function()
      send(1, "return function() return job.upcall('?') end", 1, { 1 })
      local number = driver:event("upcall").number
      driver:cancel(1, 1, 1)
      assert.equal("cancelled", failure(1).kind)
      driver.session:post({ answers = { { 1, 1, number, "late" }, { 1, 1, 12345, "never" } } })
      send(2, "return function(x) return x end", 2, { "on" })
      assert.equal("on", value(2))
    end)

    it("says where it cannot wait", function()
      send(1, [[return function()
        return select(2, pcall(string.gsub, "x", "x", function() return job.upcall("?") end))
      end]], 1, { 1 })
      assert.matches("upcall cannot wait here", value(1), 1, true)
    end)
  end)

  it("gives the bytes of a blob until it is dropped", function()
    local definition = codec.encode({ concurrency = 1,
      source = "local job = require('host.job') return function(k) return { job.blob(k) } end" })
    local function batch(first, keys)
      return { 1, 1, keys, 1, first, 1, 1, 0, codec.encode("data") }
    end
    driver.session:post({
      blobs = { { "data", "some\0bytes" }, { "definition", definition } },
      batches = { batch(1, { "data", "definition" }) },
    })
    assert.same({ "some\0bytes" }, value(1))
    driver.session:post({ drops = { "data" }, batches = { batch(2, { "definition" }) } })
    assert.same({}, value(2))
  end)

  describe("a session", function()
    it("has one state for all its jobs, and its own", function()
      local source = "counter = (counter or 0) + 1 return function() return counter end"
      send(1, source, 1, { 0 })
      assert.equal(1, value(1))
      send(2, source, 2, { 0 })
      assert.equal(2, value(2))
      local other = raw.open(node.address, "other")
      other:send(1, { source = source, concurrency = 1 }, 1, { 0 })
      assert.equal(1, (other:result(1)))
      other:close()
    end)

    it("prepares jobs side by side", function()
      local source = [[
        both = both or task.event()
        count = (count or 0) + 1
        if count == 1 then both:wait() else both:notify() end
        return function(x) return x end
      ]]
      send(1, source, 1, { "a" })
      send(2, source, 2, { "b" })
      assert.same({ "a", "b" }, { value(1), value(2) })
    end)

    it("fails the tasks of a job that cannot be prepared, and those alone", function()
      send(1, "error({ kind = 'usage', message = 'no', applied = 'yes' })", 1, { 1, 2 })
      send(2, "return 12", 3, { 3 })
      for id = 1, 2 do
        assert.same({ kind = "usage", message = "no", applied = "no",
          inner = { applied = "yes" } }, failure(id))
      end
      assert.equal("no", failure(3).applied)
      send(4, "return function(x) return x end", 4, { 4 })
      assert.equal(4, value(4))
    end)
  end)

  it("counts the tasks of a job that is closed, and says nothing more of them", function()
    send(1, [[return function(x)
      job.output("print", "begun")
      local _ <close> = setmetatable({}, { __close = function() job.output("print", "closed") end })
      task.sleep(x)
    end]], 1, { 0, 1000, 1000, 1000 }, 2)
    value(1)
    e2e.wait_until("the begun", function() return #output("print") == 4 end)
    driver.session:post({ closes = { 1 } })
    local report = driver:event("report", function(event) return event.n == 3 end)
    assert.same({ 1, 0 }, { report.job, report.bytes })
    e2e.wait_until("an idle node", function()
      local status = driver:status()
      return status.running + status.queued == 0
    end)
    assert.is_nil(driver.session.done[2])
    assert.equal(4, #output("print"))
  end)

  it("closes the variables of coroutines that wait for a cancelled task", function()
    send(1, [[
      log, inner = {}, {}
      local function variable(name)
        return setmetatable({}, { __close = function() log[#log + 1] = name end })
      end
      return function(wait)
        local _ <close> = variable("task")
        inner[wait] = coroutine.create(function()
          local _ <close> = variable("created")
          coroutine.wrap(function()
            local _ <close> = variable("wrapped")
            job.output("print", "begun")
            if wait then task.sleep(1000) end
            while true do end
          end)()
        end)
        return coroutine.resume(inner[wait])
      end
    ]], 1, { true, false })
    e2e.wait_until("both", function() return #output("print") == 2 end)
    for id, wait in ipairs({ true, false }) do
      driver:cancel(1, id, 1)
      assert.equal("cancelled", failure(id).kind)
      send(2, [[return function(wait)
        local names = table.concat(log, " ")
        log = {}
        return names .. ": " .. coroutine.status(inner[wait])
      end]], 20 + id, { wait })
      assert.equal("wrapped created task: dead", value(20 + id))
    end
  end)

  it("cuts long messages and tracebacks of errors", function()
    send(1, [[return function(x)
      local long = ("x"):rep(1e6)
      if x == "string" then error(long, 0) end
      if x == "table" then error({ kind = "raise", message = long, traceback = long, n = 1 }) end
      if x == "returned" then return nil, { kind = "raise", message = long } end
      local function deep(n) if n == 0 then error(long) end return (deep(n - 1)) end
      deep(150)
    end]], 1, { "string", "table", "returned", "deep" })
    for id = 1, 4 do
      local err = failure(id)
      assert.matches("x %.%.%. %(%d+ bytes%)$", err.message)
      assert.is_true(#err.message < 65 * 1024)
      assert.is_true(#(err.traceback or "") < 9 * 1024)
    end
    assert.equal(1, driver.session.errors[2].n)
  end)

  it("names a raised table when it cannot show it", function()
    world:write("lua/fleet/base/pretty.lua", "error('broken')")
    send(1, "return function() error({ 1 }) end", 1, { 1 })
    assert.equal("(error object is a table value)", failure(1).message)
  end)

  describe("a worker that dies", function()
    local function blamed()
      local death = driver:death()
      return { death.signal, death.code, death.why, death.job, death.id, death.attempt }
    end

    it("is blamed on the task that ran, and on no other", function()
      send(1, [[return function(x)
        if x == "exits" then task.sleep(0.01) os.exit(3, false) end
        task.sleep(1000)
      end]], 1, { "waits", "exits", "waits" })
      assert.same({ 0, 3, nil, 1, 2, 1 }, blamed())
    end)

    it("is blamed on nobody when all tasks wait", function()
      send(1, "return function() job.output('print', 'begun') task.sleep(1000) end", 1, { 1 })
      driver:event("output")
      e2e.kill(e2e.children(node.pid)[1], "ABRT")
      assert.same({ 6, 0 }, blamed())
    end)

    it("is blamed on nobody when the node does not understand it", function()
      node:kill("TERM")
      node:wait()
      node = world:node({
        workers = 1, flags = { "--lua-path", world:path("lua") },
        env = { "MOONFLEET_FAULT=records:truncate@1" }, -- of each worker
      })
      driver = raw.open(node.address)
      for generation = 1, 2 do
        assert.equal(generation, driver:generation())
        send(generation, [[return function()
          job.output("print", "what the node cannot read")
          while true do end
        end]], generation, { 1 })
        assert.same({ 9, 0 }, blamed())
      end
    end)

    it("says that its memory was at its end", function()
      send(1, "return function() os.exit(12, false) end", 1, { 1 })
      assert.same({ 0, 12, "memory", 1, 1, 1 }, blamed())
    end)

    it("leaves others as they are", function()
      send(1, "os.exit(3, false)", 1, { 1 })
      assert.same({ 0, 3, nil, 1, 0, 0 }, blamed())
      task.yield()
      driver:send(2, { source = "return function(x) return x end", concurrency = 1 }, 2, { "on" })
      assert.equal("on", value(2))
    end)
  end)
end)
