-- SPDX-License-Identifier: MIT
-- Tasks, time and signals (host/lua/task.c, host/bindings/lib_task.c); the specs themselves
-- run in a task.

local e2e = require("spec.support.e2e")
local loops = require("spec.support.loops")
local raw = require("spec.support.raw")
local sys = require("host.sys")
local task = require("host.task")

describe("host.task", function()
  it("runs tasks at the next turn, in order", function()
    local log = {}
    for i = 1, 3 do task.spawn(function(x) log[#log + 1] = x end, i) end
    assert.same({}, log)
    task.yield()
    assert.same({ 1, 2, 3 }, log)
  end)

  it("passes several arguments, also nil", function()
    local got
    task.spawn(function(...) got = table.pack(...) end, nil, 2, nil)
    task.yield()
    assert.same({ n = 3, nil, 2, nil }, got)
  end)

  it("sleeps at least as long as asked, others meanwhile", function()
    local started, order = sys.now(), {}
    task.spawn(function() task.sleep(0.02) order[#order + 1] = "long" end)
    task.spawn(function() task.sleep(0.001) order[#order + 1] = "short" end)
    task.sleep(0.05)
    assert.is_true(sys.now() - started >= 0.05)
    assert.same({ "short", "long" }, order)
  end)

  it("takes no memory for having waited or raised before", function()
    local pid = tonumber(e2e.read("/proc/self/stat"):match("%d+"))
    local before = e2e.peak_rss(pid)
    for i = 1, 5000 do
      task.yield()
      pcall(error, { i })
    end
    assert.is_true(e2e.peak_rss(pid) < before + 64)
  end)

  it("refuses a negative or missing time", function()
    assert.has_error(function() task.sleep(-1) end)
    assert.has_error(function() task.sleep() end)
    assert.has_error(function() task.sleep(0 / 0) end)
  end)

  it("wakes all who wait for a signal", function()
    local s, woken = task.event(), 0
    for _ = 1, 3 do task.spawn(function() s:wait() woken = woken + 1 end) end
    task.yield()
    s:notify()
    assert.equal(0, woken) -- never from inside notify
    task.yield()
    assert.equal(3, woken)
  end)

  it("wakes one of those who wait for a signal", function()
    local s, woken = task.event(), 0
    for _ = 1, 3 do task.spawn(function() s:wait() woken = woken + 1 end) end
    task.yield()
    for i = 1, 3 do
      s:notify_one()
      task.yield()
      assert.equal(i, woken)
    end
    s:notify_one()
    s:notify_one()
    assert.is_true(s:wait(0))
    assert.is_false(s:wait(0.001))
  end)

  it("keeps a notification for the next who waits, once", function()
    local s = task.event()
    s:notify()
    s:notify()
    assert.is_true(s:wait(0))
    assert.is_false(s:wait(0.001))
  end)

  it("ends a timed wait by whichever comes first", function()
    local s = task.event()
    assert.is_false(s:wait(0.001))
    task.spawn(function() task.sleep(0.001) s:notify() end)
    assert.is_true(s:wait(10))
  end)

  it("waits inside coroutines, iterators, pcall and metamethods", function()
    local inner = coroutine.wrap(function()
      task.sleep(0.001)
      coroutine.yield("first")
      assert(select(2, pcall(task.sleep, 0.001)) == nil)
      return "second"
    end)
    assert.equal("first", inner())
    assert.equal("second", inner())
    local slow = setmetatable({}, { __index = function(_, k) task.sleep(0.001) return k end })
    assert.equal("key", slow.key)
    local seen = {}
    for x in coroutine.wrap(function()
      for i = 1, 3 do task.sleep(0.001) coroutine.yield(i) end
    end) do seen[#seen + 1] = x end
    assert.same({ 1, 2, 3 }, seen)
  end)

  it("waits two coroutines deep and passes errors outward", function()
    local outer = coroutine.wrap(function()
      local co = coroutine.create(function() task.sleep(0.001) error("deep", 0) end)
      return coroutine.resume(co)
    end)
    local ok, message = outer()
    assert.is_false(ok)
    assert.equal("deep", message)
  end)

  it("closes variables when a task fails, yields to nobody, or fails in closing", function()
    local seen = {}
    local function variable(name, close)
      return setmetatable({}, { __close = function(_, err)
        seen[#seen + 1] = name .. " " .. tostring(err)
        if close then close() end
      end })
    end
    local function fails(body)
      task.spawn(body)
      task.yield()
      task.yield()
    end
    fails(function()
      local _ <close> = variable("outer")
      local _ <close> = variable("inner", function() error("second", 0) end)
      error("first", 0)
    end)
    assert.same({ "inner first", "outer second" }, seen)
    seen = {}
    fails(function()
      local _ <close> = variable("yielded")
      coroutine.yield()
    end)
    assert.same({ "yielded nil" }, seen)
    seen = {}
    fails(function()
      local _ <close> = variable("waits", function() task.sleep(0) end)
      error({}, 0)
    end)
    assert.matches("^waits table", seen[1])
  end)

  it("logs what a spawned task raises", function()
    local world = e2e.new()
    local path = world:write("script.lua", [[
      local task = require("host.task")
      task.spawn(error, "a text", 0)
      task.spawn(error, { kind = "raise", message = "of a table" })
      task.spawn(error, setmetatable({}, { __index = error }))
      task.yield()
    ]])
    local texts = {}
    for text in world:run({ "run", path }).err:gmatch('msg="task failed" error=(.-) trace=') do
      texts[#texts + 1] = text
    end
    assert.same({ '"a text"', '"of a table"', "table" }, texts)
    world:close()
  end)

  it("says where waiting is impossible", function()
    local ok, message = pcall(table.sort, { 2, 1 }, function(a, b) task.sleep(0) return a < b end)
    assert.is_false(ok)
    assert.matches("sleep cannot wait here", message, 1, true)
    ok, message = pcall(string.gsub, "a", "a", function() task.sleep(0) end)
    assert.is_false(ok)
    assert.matches("cannot wait here", message, 1, true)
    -- where the resumer could not pass the wait on, nothing is begun
    ok, message = pcall(table.sort, { 2, 1 }, function(a, b)
      coroutine.wrap(function() coroutine.wrap(task.sleep)(0.001) end)()
      return a < b
    end)
    assert.is_false(ok)
    assert.matches("sleep cannot wait here", message, 1, true)
    task.sleep(0.005)
  end)
end)

describe("the coroutine library", function()
  it("is as Lua's own", function()
    local co = coroutine.create(function(a, b)
      local c = coroutine.yield(a + b)
      return c * 2, "end"
    end)
    assert.same({ true, 3 }, { coroutine.resume(co, 1, 2) })
    assert.same({ true, 20, "end" }, { coroutine.resume(co, 10) })
    assert.same({ false, "cannot resume dead coroutine" }, { coroutine.resume(co) })
    assert.has_error(function() coroutine.resume(1) end)
    assert.has_error(function() coroutine.wrap(1) end)
  end)

  it("refuses to resume what runs", function()
    local co
    co = coroutine.create(function() return coroutine.resume(co) end)
    assert.same({ true, false, "cannot resume non-suspended coroutine" }, { coroutine.resume(co) })
    local main = coroutine.running()
    assert.same({ false, "cannot resume non-suspended coroutine" },
      { coroutine.wrap(function() return coroutine.resume(main) end)() })
  end)

  it("keeps tasks from each other's coroutines while those wait", function()
    local event, results = task.event(), {}
    local main
    local co = coroutine.create(function() return event:wait() end)
    local wrapped = coroutine.wrap(function() event:wait() return "wrapped" end)
    task.spawn(function()
      main = coroutine.running()
      results[1] = table.pack(coroutine.resume(co))
    end)
    task.spawn(function() results[2] = wrapped() end)
    task.yield()
    for _, waiting in ipairs({ co, main }) do
      assert.same({ false, "cannot resume non-suspended coroutine" }, { coroutine.resume(waiting) })
      local ok, message = pcall(coroutine.close, waiting)
      assert.is_false(ok)
      assert.matches("cannot close a coroutine that waits", message, 1, true)
    end
    local ok, message = pcall(wrapped)
    assert.is_false(ok)
    assert.matches("cannot resume non-suspended coroutine", message, 1, true)
    collectgarbage()
    event:notify()
    task.yield()
    assert.same({ { n = 2, true, true }, "wrapped" }, results)
    assert.same({ false, "cannot resume dead coroutine" }, { coroutine.resume(co) })
    assert.is_true(coroutine.close(co))
  end)

  it("closes as Lua's own does", function()
    local closed
    local co = coroutine.create(function()
      local _ <close> = setmetatable({}, { __close = function()
        closed = true
        error("late", 0)
      end })
      coroutine.yield()
    end)
    coroutine.resume(co)
    assert.same({ false, "late" }, { coroutine.close(co) })
    assert.is_true(closed)
    assert.equal("dead", coroutine.status(co))
    assert.same({ true }, { coroutine.close(coroutine.create(print)) })
    assert.has_error(function() coroutine.close(1) end)
  end)

  it("closes and reports errors of wrap with a position", function()
    local closed = false
    local f = coroutine.wrap(function()
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      error("inside")
    end)
    local ok, message = pcall(f)
    assert.is_false(ok)
    assert.matches("inside", message, 1, true)
    assert.is_true(closed)
    assert.has_error(f) -- dead
    local object = {}
    ok, message = pcall(coroutine.wrap(function() error(object) end))
    assert.is_false(ok)
    assert.equal(object, message)
  end)
end)

describe("a task that computes", function()
  local world, driver
  before_each(function()
    world = e2e.new()
    driver = raw.open(world:node({ workers = 1 }).address)
  end)
  after_each(function()
    driver:close()
    world:close()
  end)

  -- What a job makes of its items, side by side in one worker: {value, error} by item.
  local function run_job(source, items, timeout)
    local rows = {}
    driver:send(1, { kind = "script", source = source, chunkname = "@job.lua", concurrency = 64 },
      1, items, timeout)
    for i, item in ipairs(items) do rows[item] = table.pack(driver:result(i)) end
    return rows
  end

  it("ends by its time limit, however it loops; the others are done", function()
    local items = { "innocent" }
    for _, loop in ipairs(loops) do
      if loop.ends == "timeout" then items[#items + 1] = loop.name end
    end
    local rows = run_job(loops.job, items, 2)
    assert.equal("innocent", rows.innocent[1])
    for i = 2, #items do assert.equal("timeout", rows[items[i]][2].kind, items[i]) end
  end)

  it("gets on however deep its calls are", function()
    local rows = run_job([[
      local function f() return 1 + f() end
      return { map = function() return f() end }
    ]], { 1 }, 30)
    assert.equal("raise", rows[1][2].kind)
  end)

  it("gives way only where its resumers can", function()
    local rows = run_job([[
      local function compute() local n = 0 for i = 1, 3000000 do n = n + i % 3 end return n end
      return { map = function(x)
        local list = { 2, 1 }
        table.sort(list, function(a, b) coroutine.wrap(compute)() return a < b end)
        return list
      end }
    ]], { 1, 2 })
    for i = 1, 2 do assert.same({ 1, 2 }, rows[i][1]) end
  end)

  it("gives the same results as an undisturbed one", function()
    local rows = run_job([[
      local function count(n)
        local sum, parts = 0, {}
        for i = 1, n do
          sum = sum + i % 7
          if i % 1000 == 0 then parts[#parts + 1] = ("%d"):format(sum) end
        end
        return sum, #table.concat(parts, ",")
      end
      return { map = function(n)
        local co = coroutine.wrap(function() coroutine.yield((count(n))) return "done" end)
        local a, b = co(), co()
        local c, d = count(n)
        return { a, b, c, d, a == c }
      end }
    ]], { 2000000, 2000001, 2000002, 2000003 })
    for n = 2000000, 2000003 do
      local value = rows[n][1]
      assert.equal("done", value[2])
      assert.is_true(value[5])
      local sum = 0
      for i = 1, n do sum = sum + i % 7 end
      assert.equal(sum, value[3])
    end
  end)
end)
