-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local errors = require("fleet.errors")
local input = require("fleet.run.input")
local jobs = require("spec.support.jobs")
local task = require("host.task")

--- A cluster without nodes.
local NO_NODES = {
  sessions = {}, wake = function() end, remove_job = function() end,
  add_job = function(_, job) job.number = 1 end,
}

local ECHO = jobs.source("return item")

--- The items 1 .. n
local function numbers(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

describe("a map", function()
  local one, two -- fleets of one and of two workers

  setup(function() one, two = jobs.open(1), jobs.open(2) end)
  teardown(function()
    one:close()
    two:close()
  end)

  it("gives every item to on_row with its value, in input order", function()
    local rows = two:rows(jobs.source("return item * 2"), numbers(20000))
    assert.equal(20000, #rows)
    for i, row in ipairs(rows) do
      if row.item ~= i or row.ok ~= true or row.value ~= 2 * i then
        error(("row %d is %s, %s, %s"):format(i, row.item, row.ok, row.value))
      end
    end
  end)

  it("ends at once when there are no items", function()
    assert.same({}, one:rows(ECHO, {}))
  end)

  it("carries items and values of any shape", function()
    local items = {
      false, 0, -0.5, math.mininteger, math.huge, "", "\0\xFF", ("x"):rep(100000), {},
      { 1, { 2, { 3 } }, key = "value", [2.5] = true },
    }
    for i, row in ipairs(one:rows(ECHO, items)) do assert.same(items[i], row.value) end
  end)

  it("ends as cancelled when its cluster is closed", function()
    local p = one:connect()
    local m = one:map(jobs.source("fleet.sleep(1000)"), { 1 }, { cluster = p })
    task.spawn(function()
      e2e.wait_until("the item to run", function()
        return p.nodes[1]:request_status(5).running == 1
      end)
      p:close()
    end)
    local ok, err = m:run()
    assert.is_nil(ok)
    assert.equal("cancelled", err.kind)
  end)

  it("accepts an infinite time limit", function()
    assert.same({ 1 }, one:values("return item", { 1 }, { timeout = math.huge }))
  end)

  it("keeps a value of nil apart from a failure", function()
    local rows = one:rows(jobs.source("if item == 1 then return nil end"), { 1, 2 })
    assert.same({ { item = 1, ok = true }, { item = 2, ok = true } }, rows)
  end)

  it("reports where and at which attempt an item failed, and continues", function()
    local rows = one:rows(jobs.source("if item == 2 then error('two', 0) end return item"),
      { 1, 2, 3 })
    assert.same({ true, false, true }, { rows[1].ok, rows[2].ok, rows[3].ok })
    local err = rows[2].value
    assert.same({ "raise", "two", "yes", 1, "local" },
      { err.kind, err.message, err.applied, err.attempt, err.node })
    assert.equal(errors.text(err), tostring(err))
    assert.matches("job.lua:3", err.traceback, 1, true)
  end)

  it("takes nil and an error from the map function as a failure", function()
    local values = one:values([[
      local errors = require("fleet.errors")
      if item == 1 then return nil, errors.new({ kind = "dns", message = "no" }) end
      if item == 2 then return nil, "just text" end
      if item == 3 then return nil, nil end
      return false, "a value and more"
    ]], { 1, 2, 3, 4 })
    assert.equal("dns", values[1].kind)
    assert.same({ "raise", "just text" }, { values[2].kind, values[2].message })
    assert.is_nil(values[3])
    assert.is_false(values[4])
  end)

  it("fails an item that cannot be encoded alone, and runs its batch mates", function()
    local cycle = { a = {} }
    cycle.a.b = cycle
    local items = { 1, print, 2, { deep = { cb = print } }, cycle, 3 }
    local rows = one:rows(ECHO, items, { scheduler = { batch = 6 } })
    for i, fails in ipairs({ false, true, false, true, true, false }) do
      assert.equal(items[i], rows[i].item)
      assert.equal(not fails, rows[i].ok)
      if fails then
        assert.same({ "encode", "no" }, { rows[i].value.kind, rows[i].value.applied })
      end
    end
    assert.matches("item.deep.cb", rows[4].value.message, 1, true)
  end)

  it("goes on after any number of items that cannot be encoded", function()
    local items = {}
    for i = 1, 3000 do items[i] = i % 1000 == 0 and i or print end
    local good = 0
    for i, row in ipairs(two:rows(ECHO, items)) do
      assert.equal(i % 1000 == 0, row.ok)
      good = good + (row.ok and 1 or 0)
    end
    assert.equal(3, good)
  end)

  it("splits items that are too much for one message", function()
    local large = ("x"):rep(700 * 1024)
    local items = {}
    for i = 1, 150 do items[i] = { i, large } end -- more than 64 MiB
    local values = one:values("return { item[1], #item[2] }", items,
      { scheduler = { batch = 150 } })
    for i = 1, 150 do assert.same({ i, #large }, values[i]) end
  end)

  it("sends an item as large as can be, beside others", function()
    local most = 64 * 1024 * 1024 - 5 -- less the head of the string
    local huge = ("x"):rep(most + 1)
    local rows = one:rows(jobs.source("return #item"),
      { ("a"):rep(900 * 1024), huge:sub(1, most), huge, "b" }, { scheduler = { batch = 4 } })
    assert.same({ 900 * 1024, most, 1 }, { rows[1].value, rows[2].value, rows[4].value })
    assert.same({ "too_large", "no" }, { rows[3].value.kind, rows[3].value.applied })
  end)

  describe("whose results are in another order", function()
    local SLOW_FIRST = jobs.source("if item == 1 then fleet.sleep(0.05) end return item")

    it("keeps them in input order", function()
      local rows = one:rows(SLOW_FIRST, { 1, 2, 3 }, { scheduler = { batch = 3 } })
      assert.same({ 1, 2, 3 }, { rows[1].value, rows[2].value, rows[3].value })
    end)

    it("gives them out as they come when unordered", function()
      local rows = one:rows(SLOW_FIRST, { 1, 2, 3 },
        { scheduler = { batch = 3, ordered = false } })
      assert.equal(3, #rows)
      assert.equal(1, rows[3].item)
    end)
  end)

  describe("with a concurrency", function()
    local COUNT = jobs.source([[
      running = running + 1
      if running > most then most = running end
      fleet.sleep(0.005)
      running = running - 1
      return most
    ]], "running, most = 0, 0")

    for _, concurrency in ipairs({ 1, 7 }) do
      it(("of %d runs so many tasks in a worker at a time"):format(concurrency), function()
        local rows = one:rows(COUNT, numbers(60), { concurrency = concurrency })
        assert.equal(60, #rows)
        assert.equal(concurrency, rows[60].value)
      end)
    end

    it("of its own in every worker", function()
      local most = 0
      for _, row in ipairs(two:rows(COUNT, numbers(60), { concurrency = 5 })) do
        most = math.max(most, row.value)
      end
      assert.equal(5, most)
    end)
  end)

  describe("with a timeout", function()
    it("ends the items that take longer, and only them", function()
      e2e.with_limit(0.2, function(seconds)
        local values = one:values([[
          if item % 2 == 0 then fleet.sleep(3600) end
          fleet.sleep(0.001)
          return item
        ]], { 1, 2, 3, 4, 5 }, { timeout = seconds })
        assert.same({ 1, 3, 5 }, { values[1], values[3], values[5] })
        for _, i in ipairs({ 2, 4 }) do
          local err = values[i]
          assert.same({ "timeout", "yes", 1 }, { err.kind, err.applied, err.attempt })
          assert.matches(seconds .. " s", err.message, 1, true)
        end
      end)
    end)

    it("counts for each item from its own start", function()
      e2e.with_limit(0.2, function(seconds)
        local each = ("fleet.sleep(%g) return item"):format(0.3 * seconds)
        assert.same(numbers(5), one:values(each, numbers(5),
          { timeout = seconds, concurrency = 1 })) -- 1.5 times the limit in all
      end)
    end)

    it("lets a task that it ends close what it has open", function()
      e2e.with_limit(0.05, function(seconds)
        local values = one:values([[
          if item == 2 then return closed end
          local guard <close> = setmetatable({}, { __close = function() closed = "closed" end })
          fleet.sleep(3600)
        ]], { 1, 2 }, { timeout = seconds, concurrency = 1 })
        assert.same({ "timeout", "closed" }, { values[1].kind, values[2] })
      end)
    end)
  end)

  describe("whose worker dies", function()
    -- Kills the worker that runs item 1, once item 2 is done there.
    local function run_and_kill(retries)
      local m = one:map(jobs.source([[
          if item == 1 and fleet.self().attempt == 1 then fleet.sleep(3600) end
          return item
        ]]),
        { 1, 2 }, { scheduler = { retries = retries, batch = 2, ordered = false } })
      local workers = e2e.children(one.node.pid)
      assert.equal(1, #workers)
      task.spawn(function()
        while #m.rows == 0 do task.sleep(0.001) end
        e2e.kill(workers[1], "KILL")
      end)
      assert.is_true(m:run())
      return m
    end

    it("runs its items again on another", function()
      local m = run_and_kill(2)
      assert.same({ 2, 1 }, { m.rows[1].value, m.rows[2].value })
    end)

    it("fails them when that was their last attempt", function()
      local m = run_and_kill(0)
      local err = m.rows[2].value
      assert.same({ "crash", 9, "unknown", 1, "local" },
        { err.kind, err.signal, err.applied, err.attempt, err.node })
      assert.equal(2, #m.rows)
    end)
  end)

  describe("whose source", function()
    it("waits gives out earlier results meanwhile", function()
      local more = task.event()
      local seen, at = {}, 0
      local function source()
        at = at + 1
        if at > 3 then return nil end
        if at > 1 then more:wait() end -- for the result of the item before
        return at
      end
      local ok = one:map(ECHO, source, {
        on_row = function(item)
          seen[#seen + 1] = item
          more:notify()
          return true
        end,
      }):run()
      assert.is_true(ok)
      assert.same({ 1, 2, 3 }, seen)
    end)

    it("ends with an error has its items run, and says so", function()
      local err = errors.new({ kind = "input", message = "torn" })
      local at = 0
      local m = one:map(ECHO, function()
        at = at + 1
        if at <= 2 then return at end
        return nil, err
      end)
      assert.is_true(m:run())
      assert.equal(2, #m.rows)
      assert.equal(err, m.input_error)
    end)

    it("gives unusable items has them fail in their places without a run", function()
      local err = errors.new({ kind = "input", message = "no item" })
      local at = 0
      local m = one:map(ECHO, function()
        at = at + 1
        if at > 4 then return nil end
        return at, at % 2 == 0 and err or nil
      end)
      assert.is_true(m:run())
      assert.is_nil(m.input_error)
      assert.same({ 1, err, 3, err },
        { m.rows[1].value, m.rows[2].value, m.rows[3].value, m.rows[4].value })
      assert.is_false(m.rows[2].ok)
    end)

    it("gives nothing but unusable items needs no worker", function()
      local at = 0
      local m = one:map(ECHO, function()
        at = at + 1
        if at <= 3 then return at, errors.new({ kind = "input", message = "no item" }) end
      end, { cluster = NO_NODES })
      assert.is_true(m:run())
      assert.equal(3, #m.rows)
    end)

    it("raises ends the map, which raises it", function()
      local at = 0
      local m = one:map(ECHO, function()
        at = at + 1
        return at < 3 and at or error("source broke", 0)
      end)
      assert.same({ false, "source broke" }, { pcall(m.run, m) })
    end)

    it("has more items than are kept in flight", function()
      local count = 0
      local ok = two:map(ECHO, input.limit(function() return "x" end, 30000), {
        scheduler = { window = 64 },
        on_row = function() count = count + 1 return true end,
      }):run()
      assert.is_true(ok)
      assert.equal(30000, count)
    end)
  end)

  describe("whose on_progress", function()
    local TELLS = jobs.source('require("fleet").progress(item) return item')

    it("raises ends with it, and the cluster goes on", function()
      local m = one:map(TELLS, { 1, 2 }, { on_progress = function() error("not so", 0) end })
      assert.same({ false, "not so" }, { pcall(m.run, m) })
      assert.is_true(one:map(ECHO, { 1 }):run())
    end)

    it("waits is told that it may not", function()
      local m = one:map(TELLS, { 1 }, { on_progress = function() task.sleep(0) end })
      local ok, raised = pcall(m.run, m)
      assert.is_false(ok)
      assert.matches("wait", raised, 1, true)
    end)
  end)

  describe("whose on_row", function()
    it("returns an error ends with it", function()
      local err = errors.new({ kind = "output", message = "disk full" })
      local count = 0
      local ok, why = one:map(ECHO, function() return "for ever" end, {
        on_row = function()
          count = count + 1
          if count == 3 then return nil, err end
          return true
        end,
      }):run()
      assert.is_nil(ok)
      assert.equal(err, why)
      assert.equal(3, count)
    end)

    it("raises ends with that, and does not call the source again", function()
      local taken = 0
      local m = one:map(ECHO, function()
        taken = taken + 1
        return taken
      end, {
        scheduler = { window = 64 },
        on_row = function() error("no more", 0) end,
      })
      assert.same({ false, "no more" }, { pcall(m.run, m) })
      local now = taken
      for _ = 1, 10 do task.yield() end
      assert.same({ now, true }, { taken, m.scheduler.closed })
    end)

    it("waits delays the source", function()
      local pushed, most, popped = 0, 0, 0
      local m = one:map(ECHO, function()
        pushed = pushed + 1
        if pushed > 500 then return nil end
        return pushed
      end, {
        scheduler = { window = 16 },
        on_row = function()
          popped = popped + 1
          if popped % 50 == 0 then task.sleep(0.002) end
          most = math.max(most, pushed - popped)
          return true
        end,
      })
      assert.is_true(m:run())
      assert.equal(500, popped)
      assert.is_true(most <= 16)
    end)
  end)

  it("continues after buffered results are written", function()
    local m = one:map(jobs.source("return (\"x\"):rep(item)"),
      input.limit(function() return 300000 end, 60), { scheduler = { buffer_bytes = 500000 } })
    assert.is_true(m:run())
    assert.equal(60, #m.rows)
    for _, row in ipairs(m.rows) do assert.equal(300000, #row.value) end
  end)

  describe("that is stopped", function()
    local WAIT = jobs.source("fleet.sleep(item) return item")

    it("finishes what runs and drops the rest", function()
      local m = one:map(WAIT, input.limit(function() return 0.05 end, 1000),
        { concurrency = 4, scheduler = { batch = 1 } })
      task.spawn(function()
        while #m.rows == 0 do task.sleep(0.001) end
        m:stop()
      end)
      assert.is_true(m:run())
      local counts = m.scheduler:counts()
      assert.is_true(#m.rows < 1000)
      assert.equal(#m.rows, counts.done)
      assert.equal(counts.admitted, counts.done + counts.dropped)
      for _, row in ipairs(m.rows) do assert.is_true(row.ok) end
    end)

    it("before it runs does nothing", function()
      local m = one:map(WAIT, { 1, 2 })
      m:stop()
      assert.is_true(m:run())
      assert.same({}, m.rows)
    end)

    it("while its source waits ends all the same", function()
      local never = task.event()
      local at = 0
      local m = one:map(ECHO, function()
        at = at + 1
        if at > 1 then never:wait() end
        return at
      end, {
        on_row = function(_, _, _, m) m:stop() return true end,
      })
      assert.is_true(m:run())
      never:notify()
    end)

    it("by abort fails what runs with the error given", function()
      local err = errors.new({ kind = "cancelled", message = "enough" })
      local m = one:map(WAIT, { 0.001, 3600, 3600 }, {
        scheduler = { batch = 3, ordered = false },
        on_row = function(item, ok, value, m)
          m.rows[#m.rows + 1] = { item = item, ok = ok, value = value }
          if ok then m:abort(err) end
          return true
        end,
      })
      assert.is_true(m:run())
      assert.same({ true, false, false }, { m.rows[1].ok, m.rows[2].ok, m.rows[3].ok })
      assert.same({ "cancelled", "enough", "unknown" },
        { m.rows[2].value.kind, m.rows[2].value.message, m.rows[2].value.applied })
      -- the worker is rid of them
      assert.same({ 1 }, one:values("return item", { 1 }, { concurrency = 1 }))
    end)
  end)

  it("after many others on one cluster finds their memory free", function()
    local p = one:connect()
    finally(function() p:close() end)
    local function memory()
      local body = "collectgarbage() collectgarbage() return collectgarbage('count')"
      return one:values(body, { 1 }, { cluster = p })[1]
    end
    local before = memory()
    for n = 2, 31 do -- 30 MB in all
      local source = jobs.source("return #text + item",
        ("local text = ('%s'):rep(1000000)"):format(string.char(96 + n // 2)))
      assert.equal(1000001, one:rows(source, { 1 }, { cluster = p })[1].value)
    end
    assert.is_true(memory() < before + 4000)
  end)
end)
