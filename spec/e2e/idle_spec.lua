-- SPDX-License-Identifier: MIT
-- While nothing is to be done, nothing wakes but for the heartbeat, however busy it was before.
-- Patient: watches processes that have nothing to do.

local e2e = require("spec.support.e2e")
local task = require("host.task")

local SECONDS = 4
-- Of driver and node. With each heartbeat the driver sends, and the node replies.
local MAX_WAKES, MAX_CPU = 5 * SECONDS, 0.05 * SECONDS

-- Calls the node until its loops spin, then waits.
local SCRIPT = [[
local fleet, task = require("fleet"), require("host.task")
for i = 1, 500 do assert(fleet.call(arg[1], function(x) return x end, i) == i) end
print("called")
io.stdout:flush()
task.sleep(60)
]]

-- What a process has used so far: how often its threads slept, and seconds of processor time.
local function used(pid)
  local wakes, ns = 0, 0
  for name in require("lfs").dir(("/proc/%d/task"):format(pid)) do
    local folder = ("/proc/%d/task/%s/"):format(pid, name)
    local status = name:match("^%d+$") and e2e.read(folder .. "status")
    if status then
      wakes = wakes + tonumber(status:match("\nvoluntary_ctxt_switches:%s*(%d+)"))
      ns = ns + tonumber(e2e.read(folder .. "schedstat"):match("%d+"))
    end
  end
  return { wakes = wakes, cpu = ns / 1e9 }
end

-- What each process, by name, uses within SECONDS.
local function watch(pids)
  local before, uses = {}, {}
  for name, pid in pairs(pids) do before[name] = used(pid) end
  task.sleep(SECONDS)
  for name, pid in pairs(pids) do
    local now = used(pid)
    uses[name] = { wakes = now.wakes - before[name].wakes, cpu = now.cpu - before[name].cpu }
  end
  return uses
end

local function check(use, name, wakes, cpu)
  local shown = ("%s: %d wake-ups, %.4f s"):format(name, use[name].wakes, use[name].cpu)
  assert.is_true(use[name].wakes <= wakes and use[name].cpu <= cpu, shown)
end

describe("without work", function()
  if e2e.sanitized then
    it("processes sleep", function() pending("threads of the sanitizer wake") end)
    return
  end
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  -- Calls over a carrier, and checks what is used afterwards.
  local function check_idle(words, name, node)
    local command = { "run", world:write("idle.lua", SCRIPT), name }
    for _, word in ipairs(words) do table.insert(command, 2, word) end
    local driver = world:program(command)
    e2e.wait_until("the calls", function()
      if not driver:alive() then error(driver:err()) end
      return driver:out() == "called\n"
    end)
    node = node or driver:children()[1]
    task.sleep(1) -- the last acknowledgement, the interval of the worker's report
    local use = watch({ driver = driver.pid, node = node, worker = e2e.children(node)[1] })
    check(use, "driver", MAX_WAKES, MAX_CPU)
    check(use, "node", MAX_WAKES, MAX_CPU)
    check(use, "worker", 0, 0.001)
  end

  it("a private node and its driver sleep", function()
    check_idle({}, "local")
  end)

  it("a node that listens sleeps, with a driver and without one", function()
    local node = world:node({ workers = 1 })
    task.sleep(1)
    local use = watch({ node = node.pid, worker = e2e.children(node.pid)[1] })
    check(use, "node", 1, 0.001)
    check(use, "worker", 0, 0.001)
    check_idle({ node.address, "--peers" }, node.address, node.pid)
  end)
end)
