-- SPDX-License-Identifier: MIT
-- Tasks that somebody waits for (host/bindings/lib_child.c).

local child = require("host.child")
local task = require("host.task")

describe("host.child", function()
  it("gives the results, also nil ones, at once or later", function()
    local c = child.start(function(...) return ... end, nil, 2, nil)
    assert.same({ n = 4, true, nil, 2, nil }, table.pack(c:wait()))
    assert.same({ n = 4, true, nil, 2, nil }, table.pack(c:wait()))
    local slow = child.start(function() task.sleep(0.01) return "slow" end)
    assert.same({ true, "slow" }, { slow:wait() })
    assert.same({ n = 1, true }, table.pack(child.start(function() end):wait()))
  end)

  it("gives the error and the traceback", function()
    local err = { kind = "mine" }
    local ok, got, traceback = child.start(function() error(err) end):wait()
    assert.is_false(ok)
    assert.equal(err, got)
    assert.matches("^stack traceback:.*child_spec.lua", traceback)
  end)

  it("is cancelled while it waits, its variables closed", function()
    local closed = false
    local c = child.start(function()
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      task.sleep(100)
    end)
    task.yield()
    c:cancel()
    assert.is_true(closed)
    local ok, err = c:wait()
    assert.is_false(ok)
    assert.equal("cancelled", err.kind)
    c:cancel() -- nothing happens any more
  end)

  it("is cancelled before it began, and while somebody waits for it", function()
    local ran = false
    local c = child.start(function() ran = true end)
    c:cancel()
    assert.equal("cancelled", select(2, c:wait()).kind)
    assert.is_false(ran)
    local other = child.start(task.sleep, 100)
    task.spawn(function() other:cancel() end)
    assert.equal("cancelled", select(2, other:wait()).kind)
  end)

  it("is not cancelled by what closes while it cancels", function()
    local outer, other, why, why_other
    local function closing(f)
      return child.start(function()
        local _ <close> = setmetatable({}, { __close = f })
        task.sleep(100)
      end)
    end
    outer = child.start(function()
      local inner = closing(function() why = select(2, pcall(outer.cancel, outer)) end)
      task.sleep(0)
      inner:cancel()
      return "went on"
    end)
    assert.same({ true, "went on" }, { outer:wait() })
    assert.matches("cannot cancel itself", why)
    local one = closing(function() other:cancel() end)
    other = closing(function() why_other = select(2, pcall(one.cancel, one)) end)
    task.sleep(0)
    one:cancel()
    assert.matches("cannot cancel itself", why_other)
    for _, c in ipairs({ one, other }) do
      assert.equal("cancelled", select(2, c:wait()).kind)
    end
  end)

  it("is cancelled while it computes", function()
    child.preempt()
    local c = child.start(function() while true do end end)
    local caught = child.start(function() while true do pcall(error) end end)
    task.sleep(0.02)
    c:cancel()
    caught:cancel()
    assert.equal("cancelled", select(2, c:wait()).kind)
    assert.equal("cancelled", select(2, caught:wait()).kind)
  end)

  it("gives way in what the library calls, after a long time there", function()
    child.preempt()
    -- a slice ends in the library, which then does not return but calls
    local burn = assert(load("local f = ... for _ = 1, 3e6 do end local x = f() return x",
      "@lua/fleet/burn.lua"))
    local done = false
    local c = child.start(burn, function()
      for _ = 1, 1000000000 do
        if done then return true end
      end
      return false
    end)
    task.sleep(0.1)
    done = true
    assert.same({ true, true }, { c:wait() })
  end)

  it("gives way when it computes, but not inside the library", function()
    child.preempt()
    local text = [[
      local state = ...
      state.busy = true
      for _ = 1, 3e6 do state.n = state.n + 1 end
      state.busy = false
    ]]
    -- whether another task ever runs while it is busy
    local function seen_busy(chunkname)
      local state, seen = { n = 0 }, false
      local c = child.start(assert(load(text, chunkname)), state)
      repeat
        task.yield()
        seen = seen or state.busy
      until state.busy == false
      c:wait()
      return seen
    end
    assert.is_true(seen_busy("@job.lua"))
    assert.is_false(seen_busy("@lua/fleet/scheduler/init.lua"))
  end)

  it("cannot cancel itself, and one task waits for it", function()
    local c
    c = child.start(function()
      while not c do task.yield() end -- this spec may be preempted before it has it
      c:cancel()
    end)
    assert.matches("cannot cancel itself", select(2, c:wait()))
    local sleeper = child.start(task.sleep, 100)
    task.spawn(function() sleeper:wait() end)
    task.yield()
    assert.error_matches(function() sleeper:wait() end, "another task waits")
    sleeper:cancel()
  end)

  it("may be forgotten", function()
    local done = false
    child.start(function()
      task.sleep(0.01)
      done = true
    end)
    collectgarbage()
    task.sleep(0.05)
    assert.is_true(done)
  end)
end)
