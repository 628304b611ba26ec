-- SPDX-License-Identifier: MIT
-- Ctrl-C in a terminal, signals, and drivers that vanish.

local carriers = require("spec.support.carriers")
local e2e = require("spec.support.e2e")
local json = require("fleet.json")

local CTRL_C = "\3"

local function numbers(count)
  local list = {}
  for i = 1, count do list[i] = i end
  return list
end

-- A job that reports its item to the web server, then waits.
local function waiting(web, seconds)
  return ([[
local fleet, http = require("fleet"), require("fleet.http")
return {
  map = function(item)
    http.get(%q .. "/count/" .. item)
    fleet.sleep(%g)
    return tonumber(item)
  end,
}
]]):format(web.url, seconds)
end

describe("a run", function()
  local world, faults
  before_each(function()
    world = e2e.new()
    faults = world:fault_server()
  end)
  after_each(function() world:close() end)

  -- Starts a command in a terminal of its own; results go to world:path("out").
  local function terminal(...)
    local words = { e2e.program, ... }
    for i, word in ipairs(words) do words[i] = "'" .. word .. "'" end
    local command = ("exec %s >%s"):format(table.concat(words, " "), world:path("out"))
    return world:start({ "script", "-qefc", command, world:path("screen") }, { pipe = true })
  end

  local function wait_for_counts(n)
    return e2e.wait_until(n .. " items", function()
      local counts = faults.counts()
      local seen = 0
      for _ in pairs(counts) do seen = seen + 1 end
      return seen >= n and counts
    end)
  end

  local function processes_of(driver)
    local node = e2e.wait_until("the private node", function()
      return e2e.children(driver)[1]
    end)
    return { driver, node, table.unpack(e2e.children(node)) }
  end

  local function wait_for_end(pids)
    assert.is_true(#pids > 2)
    e2e.wait_until("the end of all processes", function()
      for _, pid in ipairs(pids) do
        if e2e.alive(pid) then return false end
      end
      return true
    end)
  end

  local function results() return e2e.results(e2e.read(world:path("out"))) end

  -- Every item that ran has a row, in order, and no other item has one.
  local function check_finished(list)
    local counts, ran = faults.counts(), 0
    for _ in pairs(counts) do ran = ran + 1 end
    assert.equal(ran, #list)
    for i, result in ipairs(list) do
      assert.equal(tostring(i), result.item)
      assert.equal(i, result.value)
      assert.equal(1, counts[result.item])
    end
  end

  it("finishes what runs after Ctrl-C", function()
    local program = terminal("run", world:write("job.lua", waiting(faults, 0.3)),
      world:items(numbers(5000)), "--concurrency", 3)
    wait_for_counts(10)
    local pids = processes_of(program:children()[1])
    program.stdin:write(CTRL_C)
    local run = program:wait()
    assert.equal(130, run.code, run.out)
    assert.matches("stopping: %d+ running items? will be finished; once more to stop now", run.out)
    assert.matches("the run was cut short: %d+ items that had been read", run.out)
    assert.is_true(#results() >= 10 and #results() < 5000)
    check_finished(results())
    wait_for_end(pids)
  end)

  it("stops at once after Ctrl-C twice", function()
    local program = terminal("run", world:write("job.lua", waiting(faults, 1e6)),
      world:items(numbers(5000)), "--concurrency", 3, "--batch", 3)
    local counts = wait_for_counts(3)
    local pids = processes_of(program:children()[1])
    program.stdin:write(CTRL_C)
    e2e.wait_until("the first answer", function() return program:out():find("once more") end)
    assert.is_true(program:alive())
    program.stdin:write(CTRL_C)
    local run = program:wait()
    assert.equal(130, run.code, run.out)
    local seen = {}
    for _, result in ipairs(results()) do
      seen[result.item] = true
      assert.equal("cancelled", result.error.kind)
      assert.equal("unknown", result.error.applied)
    end
    for item in pairs(counts) do assert.is_true(seen[item]) end
    wait_for_end(pids)
  end)

  it("ends in the end, whatever the script does", function()
    local endless = [[
local function go_on()
  io.stderr:write("endless\n")
  while true do end
end
%s
]]
    for use, flags in pairs({
      ["go_on()"] = {}, ["return { map = print, reduce = go_on }"] = { "--items", "1" },
    }) do
      local script = world:write("job.lua", endless:format(use))
      local program = world:program({ "run", script, table.unpack(flags) })
      e2e.wait_until("the loop", function() return program:err():find("endless") end)
      e2e.wait_until("the end", function()
        program:kill("INT")
        return not program:alive()
      end)
      assert.equal(130, program:wait().code)
    end
  end)

  it("ends at Ctrl-C also while it waits for items", function()
    local program = terminal("run", world:write("job.lua", waiting(faults, 0)), "-")
    program.stdin:write("1\n")
    e2e.wait_until("a result", function()
      return #e2e.lines(e2e.read(world:path("out")) or "") == 1
    end)
    local pids = processes_of(program:children()[1])
    program.stdin:write(CTRL_C)
    assert.equal(130, program:wait().code)
    check_finished(results())
    wait_for_end(pids)
  end)

  it("finishes what runs after SIGTERM", function()
    local program = world:program({
      "run", world:write("job.lua", waiting(faults, 0.3)), world:items(numbers(5000)),
      "--concurrency", 3,
    })
    wait_for_counts(10)
    local pids = processes_of(program.pid)
    program:kill("TERM")
    local run = program:wait()
    assert.equal(143, run.code, run.err)
    check_finished(e2e.results(run.out))
    wait_for_end(pids)
  end)

  it("leaves no node or worker behind when it is killed", function()
    local program = world:program({
      "run", world:write("job.lua", waiting(faults, 1e6)), world:items(numbers(100)),
    })
    wait_for_counts(10)
    local pids = processes_of(program.pid)
    program:kill("KILL")
    assert.equal(9, program:wait().signal)
    wait_for_end(pids)
  end)

  -- those on descriptors end with it: launch_loss_spec.lua
  for _, carrier in ipairs({ carriers.tcp, carriers.ipc }) do
    describe(("over a node of %s, which stays,"):format(carrier.name), function()
      local fleet, node
      before_each(function()
        fleet = carrier.fleet(world, 1, { workers = 1, flags = { "--lease", "2" } })
        node = fleet.nodes[1]
      end)

      local function wait_until_idle()
        e2e.wait_until("the node to be idle", function()
          local run = world:run({ "nodes", "--json", "--peers", node.address })
          assert.equal(0, run.code, run.err)
          local status = json.decode(run.out)[1]
          return status.running == 0 and status.queued == 0
        end)
      end

      local function check_works()
        local echo = world:write("echo.lua", "return { map = function(item) return item end }")
        local run = world:run({ "run", echo, "--items", "a", "--peers", node.address })
        assert.equal(0, run.code, run.err)
      end

      it("has its tasks stopped when it is killed", function()
        local program = world:program({
          "run", world:write("job.lua", waiting(faults, 1e6)), world:items(numbers(100)),
          "--peers", node.address,
        })
        wait_for_counts(10)
        local worker = node:children()[1]
        program:kill("KILL")
        wait_until_idle()
        check_works()
        assert.equal(worker, node:children()[1])
      end)

      it("has its tasks stopped at Ctrl-C twice", function()
        local program = terminal("run", world:write("job.lua", waiting(faults, 1e6)),
          world:items(numbers(100)), "--peers", node.address)
        wait_for_counts(10)
        program.stdin:write(CTRL_C)
        e2e.wait_until("the first answer", function() return program:out():find("once more") end)
        program.stdin:write(CTRL_C)
        assert.equal(130, program:wait().code)
        wait_until_idle()
        check_works()
      end)

      it("costs it a worker when a task cannot be stopped", function()
        local stuck = world:write("stuck.lua", ([[
local http = require("fleet.http")
return {
  map = function(item)
    http.get(%q .. "/count/" .. item)
    return (("a"):rep(60)):find((".-"):rep(30) .. "b")
  end,
}
]]):format(faults.url))
        local program = world:program({ "run", stuck, "--items", "x", "--peers", node.address })
        wait_for_counts(1)
        local worker = node:children()[1]
        program:kill("KILL")
        e2e.wait_until("another worker", function()
          local now = node:children()[1]
          return now and now ~= worker
        end)
        assert.is_false(e2e.alive(worker))
        wait_until_idle()
        check_works()
      end)
    end)
  end
end)

describe("a node in a terminal", function()
  it("ends at Ctrl-C, and its workers with it", function()
    local world = e2e.new()
    finally(function() world:close() end)
    local command = ("exec %s serve --listen 127.0.0.1:%d --workers 2"):format(e2e.program,
      e2e.free_port())
    local program = world:start({ "script", "-qefc", command, world:path("screen") },
      { pipe = true })
    e2e.wait_until("the node", function() return program:out():find("node ready", 1, true) end)
    local workers = e2e.children(program:children()[1])
    assert.equal(2, #workers)
    program.stdin:write(CTRL_C)
    assert.equal(0, program:wait().code)
    for _, pid in ipairs(workers) do assert.is_false(e2e.alive(pid)) end
  end)
end)
