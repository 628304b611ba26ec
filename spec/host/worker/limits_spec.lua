-- SPDX-License-Identifier: MIT
-- What a task may take of time, memory and words (host/wire/task_page.c, pool.c, vm.c, job.c),
-- seen by a driver that speaks the protocol itself.
-- Patient: waits for what only ends by its time limit.

local e2e = require("spec.support.e2e")
local loops = require("spec.support.loops")
local raw = require("spec.support.raw")
local task = require("host.task")

local function script(source, concurrency)
  return { kind = "script", source = source, chunkname = "=job", concurrency = concurrency or 4 }
end

local IDENTITY = script("return { map = function(x) return x end }")

describe("limits:", function()
  local world, node, driver

  before_each(function()
    world = e2e.new()
    node = world:node({ workers = 1, flags = { "--worker-memory", "256M" } })
    driver = raw.open(node.address)
  end)

  after_each(function()
    driver:close()
    world:close()
  end)

  local function works()
    driver:send(999, IDENTITY, 999, { "here" })
    assert.equal("here", driver:result(999))
    assert.is_true(node:alive())
  end

  -- Waits until the worker has had the processor for a while: it runs what it was given.
  local function computes()
    local pid = e2e.children(node.pid)[1]
    local function used()
      local user, system = e2e.read(("/proc/%d/stat"):format(pid)):match(
        "^.*%) " .. ("%S+ "):rep(11) .. "(%d+) (%d+)")
      return user + system
    end
    local before = used()
    e2e.wait_until("the worker", function() return used() >= before + 20 end)
  end

  local function fails(id, kind, applied)
    local _, err = driver:result(id)
    assert.same({ kind, applied or "yes" }, { err.kind, err.applied }, err.message)
  end

  local function dies(why, job, id)
    local death = driver:death()
    assert.same({ why = why, job = job, id = id, attempt = id and (id > 0 and 1 or 0) },
      { why = death.why, job = death.job, id = death.id, attempt = death.attempt })
    return death
  end

  describe("an item that loops in", function()
    for i, loop in ipairs(loops) do
      it(loop.name .. " ends: " .. loop.ends, function()
        -- enough for what needs no time but memory; else as little as will do
        local limit = (loop.ends == "memory" or loop.ends == "raise") and 60 or 0.5
        driver:send(i, script(loops.job), 1, { loop.name }, limit)
        if loop.ends == "killed" then
          dies("timeout", i, 1)
          assert.is_nil(driver.session.done[1])
        else
          fails(1, loop.ends)
        end
        works()
      end)
    end
  end)

  it("a task that holds all memory does not take it from the others", function()
    local job = script([[
      return { map = function(x)
        if x == "hog" then
          local t = {}
          while true do t = { t } end
        end
        local n = 0
        for i = 1, 3000 do
          local words = {}
          for k = 1, 100 do words[k] = i .. " " .. k end
          n = n + #words
        end
        return n
      end }
    ]], 8)
    driver:send(1, job, 1, { "hog", 1, 2, 3, 4, 5, 6, 7 })
    fails(1, "memory")
    for id = 2, 8 do assert.equal(300000, driver:result(id)) end
    driver:send(1, job, 9, { "hog", 1 })
    fails(9, "memory")
    assert.equal(300000, driver:result(10))
  end)

  if not e2e.sanitized then -- a sanitizer's worker has no limit
    it("a worker that cannot even take its items says that memory is out", function()
      local small = world:node({ workers = 1, flags = { "--worker-memory", "64M" } })
      driver:close()
      driver = raw.open(small.address)
      driver:send(1, IDENTITY, 1, { ("x"):rep(48 << 20) })
      local death = dies("memory")
      assert.same({ 0, 12 }, { death.signal, death.code })
      works()
    end)

    it("a job that cannot be prepared says so of no more tasks than there is room for", function()
      local small = world:node({ workers = 1, flags = { "--worker-memory", "64M" } })
      driver:close()
      driver = raw.open(small.address)
      local items = {}
      for i = 1, 1500 do items[i] = i end
      driver:send(1, script("error(('x'):rep(65536), 0)"), 1, items)
      driver.session:wait(#items)
      fails(#items, "raise", "no")
      assert.equal(1, driver:generation())
    end)
  end

  describe("a worker whose tasks wait", function()
    local sleeps = script([[
      local fleet = require("fleet")
      return { map = function(x) fleet.sleep(x) return x end }
    ]])

    before_each(function()
      driver:close()
      node = world:node({ workers = 1, flags = { "--frozen-after", 4 } })
      driver = raw.open(node.address)
    end)

    it("is killed when it is frozen, and none of them is blamed", function()
      driver:send(1, sleeps, 1, { 0, 600 })
      assert.equal(0, driver:result(1)) -- they have begun
      e2e.kill(e2e.children(node.pid)[1], "STOP")
      local death = dies("frozen")
      assert.equal(9, death.signal)
      works()
    end)

    it("may wait for as long as it likes", function()
      driver:send(1, sleeps, 1, { 6 })
      assert.equal(6, driver:result(1))
      assert.equal(1, driver:generation())
    end)

    it("is not to blame for a node that was frozen", function()
      driver:send(1, sleeps, 1, { 0, 7 })
      assert.equal(0, driver:result(1))
      node:kill("STOP")
      task.sleep(6)
      node:kill("CONT")
      assert.equal(7, driver:result(2))
      assert.equal(1, driver:generation())
    end)
  end)

  describe("cancelling", function()
    it("ends tasks that wait or compute, and those that have not begun", function()
      local job = script([[
        return { map = function(x)
          if x == "computes" then while true do end end
          return x
        end }
      ]], 2)
      driver:send(1, job, 1, { "computes", "computes", 3, 4, 5, 6 })
      computes()
      driver:cancel(1, 4, 2)
      fails(4, "cancelled", "no")
      fails(5, "cancelled", "no")
      driver:cancel(1, 1, 2)
      fails(1, "cancelled")
      fails(2, "cancelled")
      assert.equal(3, driver:result(3))
      assert.equal(6, driver:result(6))
      driver:cancel(1, 1, 100) -- nothing is left of them
      works()
    end)

    it("kills the worker of a task that cannot be stopped, and blames it", function()
      driver:send(1, script(loops.job, 1), 1, { "a comparator of table.sort", "queued" })
      computes()
      driver:cancel(1, 2, 1)
      driver:cancel(1, 1, 1)
      assert.equal(9, dies("cancelled", 1, 1).signal)
      works()
    end)

    it("leaves a worker alone that runs another task", function()
      driver:send(1, script(loops.job, 1), 1, { "a comparator of table.sort" }, 5)
      computes()
      driver:send(2, IDENTITY, 2, { "queued" })
      task.yield()
      driver:cancel(2, 2, 1)
      dies("timeout", 1, 1)
      works()
    end)

    it("kills a worker for the end of its session", function()
      driver:send(1, script(loops.job), 1, { "a comparator of table.sort" })
      computes()
      driver:close()
      driver = raw.open(node.address, "other")
      dies("cancelled") -- of a task of another session
      works()
    end)

    it("kills a worker for a finalizer at the end of a session that has no tasks", function()
      local job = script([[
        return { map = function(x)
          kept = setmetatable({}, { __gc = function() while true do end end })
          return x
        end }
      ]])
      driver:send(1, job, 1, { "over" })
      assert.equal("over", driver:result(1))
      driver:close()
      driver = raw.open(node.address, "other")
      dies("cancelled") -- by nothing that this session has there
      works()
    end)

    it("kills a worker for a preparation that cannot be stopped", function()
      local job = script([[
        table.sort({ 3, 2, 1 }, function() while true do end end)
        return { map = print }
      ]])
      driver:send(7, job, 1, { 1, 2 })
      computes()
      driver.session:post({ closes = { 7 } })
      dies("cancelled", 7, 0)
      works()
    end)
  end)
end)
