-- SPDX-License-Identifier: MIT
-- Handles of tasks: task.start, join and cancel (host/bindings/lib_task.c).

local task = require("host.task")

describe("task.start", function()
  it("gives the results, also nil ones, at once or later", function()
    local c = task.start(function(...) return ... end, nil, 2, nil)
    assert.same({ n = 4, true, nil, 2, nil }, table.pack(c:join()))
    assert.same({ n = 4, true, nil, 2, nil }, table.pack(c:join()))
    local slow = task.start(function() task.sleep(0.01) return "slow" end)
    assert.same({ true, "slow" }, { slow:join() })
    assert.same({ n = 1, true }, table.pack(task.start(function() end):join()))
  end)

  it("gives the error and the traceback", function()
    local err = { kind = "mine" }
    local ok, got, traceback = task.start(function() error(err) end):join()
    assert.is_false(ok)
    assert.equal(err, got)
    assert.matches("^stack traceback:.*task_handle_spec.lua", traceback)
  end)

  it("is cancelled while it waits, its variables closed", function()
    local closed = false
    local c = task.start(function()
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      task.sleep(100)
    end)
    task.yield()
    c:cancel()
    assert.is_true(closed)
    local ok, err = c:join()
    assert.is_false(ok)
    assert.equal("cancelled", err.kind)
    c:cancel() -- nothing happens any more
  end)

  it("is cancelled before it began, and while somebody waits for it", function()
    local ran = false
    local c = task.start(function() ran = true end)
    c:cancel()
    assert.equal("cancelled", select(2, c:join()).kind)
    assert.is_false(ran)
    local other = task.start(task.sleep, 100)
    task.spawn(function() other:cancel() end)
    assert.equal("cancelled", select(2, other:join()).kind)
  end)

  it("is not cancelled by what closes while it cancels", function()
    local outer, other, why, why_other
    local function closing(f)
      return task.start(function()
        local _ <close> = setmetatable({}, { __close = f })
        task.sleep(100)
      end)
    end
    outer = task.start(function()
      local inner = closing(function() why = select(2, pcall(outer.cancel, outer)) end)
      task.sleep(0)
      inner:cancel()
      return "went on"
    end)
    assert.same({ true, "went on" }, { outer:join() })
    assert.matches("cannot cancel itself", why)
    local one = closing(function() other:cancel() end)
    other = closing(function() why_other = select(2, pcall(one.cancel, one)) end)
    task.sleep(0)
    one:cancel()
    assert.matches("cannot cancel itself", why_other)
    for _, c in ipairs({ one, other }) do
      assert.equal("cancelled", select(2, c:join()).kind)
    end
  end)

  it("is cancelled while it computes", function()
    task.preempt()
    local c = task.start(function() while true do end end)
    local caught = task.start(function() while true do pcall(error) end end)
    task.sleep(0.02)
    c:cancel()
    caught:cancel()
    assert.equal("cancelled", select(2, c:join()).kind)
    assert.equal("cancelled", select(2, caught:join()).kind)
  end)

  it("gives way in what the library calls, after a long time there", function()
    task.preempt()
    -- a slice ends in the library, which then does not return but calls
    local burn = assert(load("local f = ... for _ = 1, 3e6 do end local x = f() return x",
      "@lua/fleet/burn.lua"))
    local done = false
    local c = task.start(burn, function()
      for _ = 1, 1000000000 do
        if done then return true end
      end
      return false
    end)
    task.sleep(0.1)
    done = true
    assert.same({ true, true }, { c:join() })
  end)

  it("gives way when it computes, but not inside the library", function()
    task.preempt()
    local text = [[
      local state = ...
      state.busy = true
      for _ = 1, 3e6 do state.n = state.n + 1 end
      state.busy = false
    ]]
    -- whether another task ever runs while it is busy
    local function seen_busy(chunkname)
      local state, seen = { n = 0 }, false
      local c = task.start(assert(load(text, chunkname)), state)
      repeat
        task.yield()
        seen = seen or state.busy
      until state.busy == false
      c:join()
      return seen
    end
    assert.is_true(seen_busy("@job.lua"))
    assert.is_false(seen_busy("@lua/fleet/scheduler/init.lua"))
  end)

  it("cannot cancel itself, and one task waits for it", function()
    local c
    c = task.start(function()
      while not c do task.yield() end -- this spec may be preempted before it has it
      c:cancel()
    end)
    assert.matches("cannot cancel itself", select(2, c:join()))
    local sleeper = task.start(task.sleep, 100)
    task.spawn(function() sleeper:join() end)
    task.yield()
    assert.error_matches(function() sleeper:join() end, "another task waits")
    sleeper:cancel()
  end)

  it("leaves the task that cancels preempted, even if a closer resumes a coroutine", function()
    local handle = task.start(function()
      local _ <close> = setmetatable({}, { __close = function()
        coroutine.resume(coroutine.create(function() end))
      end })
      task.sleep(60)
    end)
    task.yield()
    handle:cancel()
    handle = nil -- luacheck: ignore 311
    collectgarbage()
    local has_run, start = false, os.clock()
    task.spawn(function() has_run = true end)
    while not has_run and os.clock() - start < 5 do end -- luacheck: ignore 542
    assert.is_true(has_run)
  end)

  it("may be forgotten", function()
    local done = false
    task.start(function()
      task.sleep(0.01)
      done = true
    end)
    collectgarbage()
    task.sleep(0.05)
    assert.is_true(done)
  end)
end)
