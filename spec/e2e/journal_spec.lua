-- SPDX-License-Identifier: MIT
-- Runs that are interrupted in every way, and resumed from their journal.
-- Patient: kills a driver hundreds of times.

local e2e = require("spec.support.e2e")
local journal = require("fleet.driver.journal")

local ITEMS = 200
-- Every how many crash points one is tried.
local STEP, COUNT_STEP = e2e.sanitized and 20 or 1, 20

local function numbers(first, last)
  local list = {}
  for i = first, last do list[#list + 1] = i end
  return list
end

-- A job with items that fail, and with results that JSON represents specially. With a web server it
-- counts there, under PREFIX.ITEM, how often each item has run.
local function counting(web, prefix, before)
  return ([[
local fleet, http = require("fleet"), require("fleet.http")
local url = %q
return {
  map = function(item)
    local page, err = url == "" or http.get(url .. item)
    if not page then return nil, err end
    local n = tonumber(item)
    %s
    if n %% 10 == 0 then return nil, { kind = "tenth", message = "no " .. item } end
    return { n = n, half = n / 2, bytes = ("\xff"):rep(n %% 4), list = { 1, nil, n } }
  end,
  options = { concurrency = 4 },
}
]]):format(web and web.url .. "/count/" .. prefix .. "." or "", before or "")
end

describe("a run with a journal", function()
  local world, web
  before_each(function()
    world = e2e.new()
    web = world:fault_server()
  end)
  after_each(function() world:close() end)

  local function path() return world:path("journal") end

  --- Runs a job over items with the journal, after the words of `command`, if given.
  local function run(job, items, flags, options)
    local words = { e2e.program, "run", job, items, "--journal", path(), table.unpack(flags or {}) }
    options = options or {}
    if options.command then
      words = { "bash", "-c", options.command .. '; exec "$@"', "-", table.unpack(words) }
    end
    return world:start(words, options):wait()
  end

  --- Returns how often each item has run, by prefix.
  local function counts(prefix)
    local list = {}
    for key, n in pairs(web.counts()) do
      local item = key:match("^" .. prefix:gsub("%p", "%%%0") .. "%.(.*)$")
      if item then list[item] = n end
    end
    return list
  end

  local function copy(from, to) assert(os.execute(("cp %s %s"):format(from, to))) end

  --- Returns the items that are in the journal.
  local function journaled(source, items)
    local j = assert(journal.open({ path = path(), job = source, name = "job", retries = 2,
      resume = true }))
    local list = {}
    for _, item in ipairs(items) do
      if j:lookup(tostring(item)) ~= nil then list[#list + 1] = tostring(item) end
    end
    j:close()
    return list
  end

  -- Checks for a usage error of one line; nothing ran and nothing changed.
  local function check_refused(done, pattern, before)
    assert.equal(2, done.code, done.err)
    assert.equal("", done.out)
    assert.matches("^moonfleet: journal '[^\n]*" .. pattern .. "[^\n]*\n$", done.err)
    assert.equal(before, e2e.read(path()))
  end

  it("is resumed after the driver was killed behind each record", function()
    local node = world:node({ workers = 2 })
    local items = world:items(numbers(1, ITEMS))
    local clean = world:run({
      "run", world:write("clean.lua", counting()), items, "--peers", node.address,
    })
    assert.equal(1, clean.code, clean.err)
    local function point(n)
      local source = counting(n % COUNT_STEP == 0 and web or nil, tostring(n))
      local job = world:write("job.lua", source)
      os.remove(path())
      local killed = run(job, items, { "--peers", node.address },
        { env = { "MOONFLEET_FAULT=journal:die@" .. n } })
      assert.equal(9, killed.signal, killed.err)
      local kept = journaled(source, numbers(1, ITEMS))
      assert.equal(n, #kept)
      -- every row in the output is in the journal
      assert.is_true(#e2e.lines(killed.out) <= n)
      local resumed = run(job, items, { "--resume", "--peers", node.address })
      assert.equal(1, resumed.code, resumed.err)
      assert.equal(clean.out, resumed.out)
      assert.matches(("%d items in .*; %d from the journal\n"):format(ITEMS, n), resumed.err)
      assert.equal(ITEMS, #journaled(source, numbers(1, ITEMS)))
      return kept
    end
    local kept = {}
    for n = STEP, ITEMS, STEP do kept[n] = point(n) end
    for n = COUNT_STEP, ITEMS, COUNT_STEP do
      local ran = counts(tostring(n))
      for _, item in ipairs(kept[n]) do assert.equal(1, ran[item], n .. ": " .. item) end
      for i = 1, ITEMS do
        local times = ran[tostring(i)] or 0
        assert.is_true(times == 1 or times == 2, n .. ": " .. i)
      end
    end
  end)

  it("is resumed again and again", function()
    local source = counting(web, "chain")
    local job, items = world:write("job.lua", source), world:items(numbers(1, 30))
    for n = 1, 30 do
      local killed = run(job, items, { "--resume" }, { env = { "MOONFLEET_FAULT=journal:die@1" } })
      assert.equal(9, killed.signal, killed.err)
      assert.equal(n, #journaled(source, numbers(1, 30)))
    end
    local before = counts("chain")
    local done = run(job, items, { "--resume" })
    assert.equal(30, #e2e.results(done.out))
    assert.same(before, counts("chain"))
  end)

  describe("whose driver cannot write a record to its end", function()
    -- The rows are few, so the journal reaches the limit of 8 KiB first.
    local source, job, items
    before_each(function()
      source = [[
return {
  map = function(item) return ("x"):rep(100) end,
  init = 0, reduce = function(acc, value) return acc + #value end,
}
]]
      job, items = world:write("job.lua", source), world:items(numbers(1, ITEMS))
    end)

    it("since it is killed in the middle: leaves that one torn", function()
      local killed = run(job, items, {}, { env = { "MOONFLEET_FAULT=journal:die@40" } })
      assert.equal(9, killed.signal, killed.err)
      local records = #journaled(source, numbers(1, ITEMS))
      assert(os.execute(("truncate -s -1 %s"):format(path())))
      copy(path(), world:path("torn"))
      local kept = #journaled(source, numbers(1, ITEMS)) -- cuts it
      assert.is_true(0 < kept and kept < records)
      copy(world:path("torn"), path())
      local done = run(job, items, { "--resume" })
      assert.matches("the last record of the journal was torn", done.err)
      assert.equal('{"value":20000}\n', done.out)
    end)

    it("since the disk is full: ends, says so, and leaves whole records only", function()
      local full = run(job, items, {}, { command = "ulimit -f 8" })
      assert.equal(1, full.code, full.err)
      assert.matches("moonfleet: journal '[^\n]*': cannot write to it: File too large\n", full.err)
      assert.matches("with --resume it goes on", full.err, 1, true)
      local kept = #journaled(source, numbers(1, ITEMS))
      assert.is_true(kept > 20 and kept < 60)
      local done = run(job, items, { "--resume" })
      assert.equal(0, done.code, done.err)
      assert.equal('{"value":20000}\n', done.out)
      assert.matches(("^%d items in [^\n]*; %d from the journal\n$"):format(ITEMS, kept), done.err)
    end)

    it("nor that an item goes out which may do so once only: does not send it", function()
      source = counting(web, "full")
      world:write("job.lua", source)
      local full = run(job, items, { "--retries", "0" },
        { command = "ulimit -f 4" })
      assert.equal(1, full.code, full.err)
      assert.matches("cannot write to it: File too large\n", full.err)
      local known = {}
      for _, item in ipairs(journaled(source, numbers(1, ITEMS))) do known[item] = true end
      local ran = counts("full")
      assert.is_not_nil(next(ran))
      for item in pairs(ran) do assert.is_true(known[item], item) end
    end)
  end)

  it("on a full disk does not begin", function()
    local job = world:write("job.lua", counting(web, "full"))
    local done = world:run({ "run", job, "--items", "1", "--journal", "/dev/full" })
    assert.equal(1, done.code)
    assert.equal("moonfleet: journal '/dev/full': cannot write to it: No space left on device\n",
      done.err)
    assert.same({}, counts("full"))
  end)

  it("takes its input in another order, with items more and less", function()
    local job = world:write("job.lua", counting(web, "edited"))
    assert.equal(1, run(job, world:items(numbers(1, 100))).code)
    local edited = {}
    for i = 150, 51, -1 do edited[#edited + 1] = i end
    local items = world:items(edited)
    local done = run(job, items, { "--resume" })
    assert.matches("; 50 from the journal", done.err)
    for i, row in ipairs(e2e.results(done.out)) do
      assert.equal(tostring(151 - i), row.item)
      assert.equal(row.error == nil and 151 - i or nil, row.value and row.value.n)
    end
    local ran = counts("edited")
    for i = 1, 150 do assert.equal(1, ran[tostring(i)]) end
    -- the output of an uninterrupted run
    local fresh = world:run({ "run", world:write("job.lua", counting(web, "fresh")), items })
    assert.equal(fresh.out, done.out)
  end)

  it("runs equal items as often as they stand there", function()
    local job = world:write("job.lua", counting(web, "twins"))
    run(job, world:items({ 1, 2, 1 }))
    local done = run(job, world:items({ 1, 1, 1, 2, 2 }), { "--resume" })
    assert.equal(5, #e2e.results(done.out))
    assert.matches("; 3 from the journal", done.err)
    assert.same({ ["1"] = 3, ["2"] = 2 }, counts("twins"))
  end)

  describe("is refused when", function()
    local job, before
    before_each(function()
      job = world:write("job.lua", counting(web, "first"))
      run(job, world:items({ 1, 2, 3 }))
      before = e2e.read(path())
    end)

    it("it has results and --resume is not given", function()
      check_refused(run(job, world:items({ 1 })), "results of an earlier run.*%-%-resume", before)
    end)

    it("the script has changed", function()
      world:write("job.lua", counting(web, "second"))
      check_refused(run(job, world:items({ 1 }), { "--resume" }),
        "another job %(.*job.lua as it was before it was changed%); give another file", before)
      assert.same({}, counts("second"))
    end)

    it("a module of the script has changed", function()
      world:write("mine.lua", "return { one = 1 }")
      local user = world:write("user.lua",
        "local mine = require('mine')\nreturn { map = function() return mine.one end }")
      local options = { env = { "LUA_PATH=" .. world.dir .. "/?.lua;;" } }
      os.remove(path())
      assert.equal(0, run(user, world:items({ 1 }), {}, options).code)
      before = e2e.read(path())
      assert.equal(0, run(user, world:items({ 1 }), { "--resume" }, options).code)
      world:write("mine.lua", "return { one = 2 }")
      check_refused(run(user, world:items({ 1 }), { "--resume" }, options), "another job", before)
    end)

    it("it is damaged in the middle", function()
      before = before:sub(1, -150) .. "!" .. before:sub(-148)
      world:write("journal", before)
      check_refused(run(job, world:items({ 1 }), { "--resume" }), "is damaged, and more follows",
        before)
    end)

    it("another driver uses it", function()
      local program = world:program({ "run", job, "--journal", path(), "--resume" },
        { pipe = true })
      program.stdin:write("1\n")
      e2e.wait_until("a result", function() return program:lines() == 1 end)
      check_refused(run(job, world:items({ 1 }), { "--resume" }), "another run is using it", before)
      program.stdin:close()
      assert.equal(0, program:wait().code)
    end)

    it("flags do not go together", function()
      for _, flags in ipairs({ { "--resume" }, { "--retry-failed" },
        { "--journal", path(), "--retry-failed" } }) do
        local done = world:run({ "run", job, "--items", "1", table.unpack(flags) })
        assert.equal(2, done.code)
        assert.matches("^moonfleet: %-%-re[^\n]+\n$", done.err)
      end
      assert.equal(before, e2e.read(path()))
    end)
  end)

  it("starts with a note when there is no journal to resume from", function()
    local job = world:write("job.lua", counting(web, "new"))
    local done = run(job, world:items({ 1 }), { "--resume" })
    assert.equal(0, done.code)
    assert.matches("^moonfleet: the journal is empty; every item will run\n",
      done.err)
  end)

  it("has failures stay as they are, until they are to be tried again", function()
    local source = counting(web, "again",
      'if n % 2 == 0 and page.body == "1" then error("the first time") end')
    local job, items = world:write("job.lua", source), world:items({ 1, 2, 3, 4 })
    local first = run(job, items)
    assert.equal(1, first.code)
    local second = run(job, items, { "--resume" })
    assert.equal(1, second.code)
    assert.equal(first.out, second.out)
    assert.same({ ["1"] = 1, ["2"] = 1, ["3"] = 1, ["4"] = 1 }, counts("again"))
    local third = run(job, items, { "--resume", "--retry-failed" })
    assert.equal(0, third.code, third.err)
    assert.matches("4 ok, 0 failed; 2 from the journal", third.err)
    assert.same({ ["1"] = 1, ["2"] = 2, ["3"] = 1, ["4"] = 2 }, counts("again"))
    assert.equal(third.out, run(job, items, { "--resume" }).out)
  end)

  it("runs no item again for what its error says of itself", function()
    for retries, name in pairs({ ["2"] = "said", ["0"] = "saidonce" }) do
      local job = world:write("job.lua", counting(web, name, [[
        if n == 1 then return nil, select(2, fleet.call("nosuch", print)) end
        if n == 2 then return nil, { kind = "cancelled", message = "by me" } end
        if n == 3 then error({ kind = "draining", message = "m", applied = "unknown" }) end
        if n == 4 then error({ kind = "crash", message = "m", applied = "no", node = 5 }) end
      ]]))
      local items, flags = world:items(numbers(1, 5)), { "--retries", retries }
      local first = run(job, items, flags)
      assert.equal(1, first.code)
      local errs = {}
      for i, row in ipairs(e2e.results(first.out)) do errs[i] = row.error and row.error.message end
      assert.matches("there is no node 'nosuch'", errs[1], 1, true)
      assert.same({ "by me", "m", "m" }, { table.unpack(errs, 2) })
      for _ = 1, 2 do
        assert.equal(first.out, run(job, items, { "--resume", table.unpack(flags) }).out)
      end
      assert.same({ ["1"] = 1, ["2"] = 1, ["3"] = 1, ["4"] = 1, ["5"] = 1 }, counts(name))
      os.remove(path())
    end
  end)

  describe("that must not run items twice", function()
    it("leaves those alone that were under way when its driver was killed", function()
      local job = world:write("job.lua", counting(web, "once"))
      local items = world:items(numbers(1, ITEMS))
      local killed = run(job, items, { "--retries", "0" },
        { env = { "MOONFLEET_FAULT=journal:die@50" } })
      assert.equal(9, killed.signal, killed.err)
      local done = run(job, items, { "--resume", "--retries", "0" })
      assert.equal(1, done.code, done.err)
      local ran, lost = counts("once"), {}
      local rows = e2e.results(done.out)
      assert.equal(ITEMS, #rows)
      for i, row in ipairs(rows) do
        assert.equal(tostring(i), row.item)
        local times = ran[row.item] or 0
        if row.error and row.error.kind == "lost" then
          assert.equal("unknown", row.error.applied)
          lost[#lost + 1] = row.item
          assert.is_true(times <= 1)
        else
          assert.equal(1, times)
        end
      end
      assert.is_true(#lost > 0)
      assert.equal(done.out, run(job, items, { "--resume" }).out)
      assert.same(ran, counts("once"))
      local again = run(job, items, { "--resume", "--retry-failed", "--retries", "0" })
      for _, row in ipairs(e2e.results(again.out)) do
        assert.is_true(row.value ~= nil or row.error.kind == "tenth")
      end
    end)

    it("has the results of those that were refused at first", function()
      local nodes, peers = world:nodes(2, { workers = 1 })
      local job = world:write("job.lua", counting(nil, "", "for _ = 1, 2000 do n = n + 0 end"))
      local items = world:items(numbers(1, 20000))
      local flags = { "--retries", "0", "--peers", peers }
      local program = world:program({
        "run", job, items, "--journal", path(), table.unpack(flags),
      })
      e2e.wait_until("results", function() return program:lines() >= 2000 end)
      nodes[1]:kill("TERM")
      local first = program:wait()
      for _, row in ipairs(e2e.results(first.out)) do
        assert.is_true(row.error == nil or row.error.kind == "tenth")
      end
      local done = run(job, items, { "--resume", "--retries", "0", "--peers", nodes[2].address })
      assert.equal(first.out, done.out)
      assert.matches("; 20000 from the journal", done.err)
    end)

    it("leaves those alone whose worker died", function()
      local node = world:node({ workers = 2 })
      local job = world:write("job.lua", counting(web, "died", "fleet.sleep(0.02)"))
      local items = world:items(numbers(1, ITEMS))
      local flags = { "--retries", "0", "--peers", node.address }
      local program = world:program({
        "run", job, items, "--journal", path(), table.unpack(flags),
      })
      e2e.wait_until("results", function() return program:lines() >= 20 end)
      e2e.kill(node:children()[1], "KILL")
      local first = program:wait()
      local crashed = 0
      for _, row in ipairs(e2e.results(first.out)) do
        if row.error and row.error.kind == "crash" then crashed = crashed + 1 end
      end
      assert.is_true(crashed > 0)
      local before = counts("died")
      assert.equal(first.out, run(job, items, { "--resume", table.unpack(flags) }).out)
      assert.same(before, counts("died"))
    end)
  end)

  it("goes on after Ctrl-C", function()
    local source = counting(web, "stopped", "fleet.sleep(0.05)")
    local job, items = world:write("job.lua", source), world:items(numbers(1, ITEMS))
    local program = world:program({ "run", job, items, "--journal", path() })
    e2e.wait_until("results", function() return program:lines() > 10 end)
    program:kill("INT")
    local run_cut = program:wait()
    assert.equal(130, run_cut.code)
    assert.matches("with --resume it goes on from its journal\n", run_cut.err, 1, true)
    local done = run(job, items, { "--resume", "--output", world:path("out") })
    assert.equal(1, done.code)
    local rows = e2e.results(e2e.read(world:path("out")))
    for i = 1, ITEMS do assert.equal(tostring(i), rows[i].item) end
    local ran = counts("stopped")
    for i = 1, ITEMS do assert.equal(1, ran[tostring(i)]) end
  end)

  it("takes a part of the items, and the same part again", function()
    local job, items = world:write("job.lua", counting(web, "part")), world:items(numbers(1, ITEMS))
    run(job, items, { "--limit", "5" })
    assert.matches("12 items in .*; 5 from", run(job, items, { "--resume", "--limit", "12" }).err)
    assert.matches("3 items in .*; 3 from", run(job, items, { "--resume", "--limit", "3" }).err)
    local first = run(job, items, { "--resume", "--sample", "30%" })
    assert.is_true(#e2e.results(first.out) > 20)
    local before = counts("part")
    assert.equal(first.out, run(job, items, { "--resume", "--sample", "30%" }).out)
    assert.same(before, counts("part"))
  end)
end)
