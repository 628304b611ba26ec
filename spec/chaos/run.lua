-- SPDX-License-Identifier: MIT
-- Runs jobs over a fleet with continual faults, and checks what must hold nevertheless:
--
--   build/moonfleet run spec/chaos/run.lua -- [SEED [ITEMS]]     make chaos SEED=1 ITEMS=200000
--
-- Every item has its result, in the order of the input. With retries all results are right.
-- Without, an item whose fate is unknown has failed, and no item has had its effect twice, even if
-- the driver is killed, too, and resumes from its journal. Ends with the line "N passed, N failed".

package.path = "./?.lua;" .. package.path

local e2e = require("spec.support.e2e")
local faults = require("spec.chaos.faults")
local sys = require("host.sys")
local task = require("host.task")

local seed = math.tointeger(tonumber(arg[1])) or 1
local items = math.tointeger(tonumber(arg[2])) or 200000

-- share: of the items. every: every how many items one is counted. kills: of the driver.
local PHASES = {
  { name = "retries", share = 1, every = 4, retries = 12 },
  { name = "once", share = 0.3, every = 1, retries = 0 },
  { name = "retries-journal", share = 0.3, every = 4, retries = 12, kills = 5 },
  { name = "once-journal", share = 0.2, every = 1, retries = 0, kills = 4 },
}

local function job_of(world, phase, web)
  local words = { EVERY = phase.every, URL = web.url, NAME = phase.name }
  return world:write(phase.name .. ".lua", (e2e.read("spec/chaos/job.lua")
    :gsub("%f[%u]%u%u%u+%f[%U]", words)))
end

-- Runs the command: kills its driver as often as asked, then runs it to its end.
local function run(world, phase, flags, job, input)
  local words = { "run", job, input, "--retries", phase.retries, table.unpack(flags) }
  if phase.kills then
    table.move({ "--journal", world:path(phase.name .. ".journal"), "--resume" }, 1, 3,
      #words + 1, words)
  end
  local seconds = faults.schedule(seed) -- other numbers of the same seed
  for _ = 1, phase.kills or 0 do
    local driver, ends = world:program(words), sys.now() + 2 + 2 * seconds().after
    while driver:alive() and sys.now() < ends do task.sleep(0.05) end
    if not driver:alive() then return driver:wait(), true end
    driver:kill("KILL")
    driver:wait()
  end
  return world:program(words):wait(3600)
end

local CONCURRENCY = 64 -- tasks that a worker begins at a time, as it is by default

local LOSSES = { lost = true, crash = true }

-- Calls wrong(format, ...) for everything that is wrong.
local function check(phase, n, ended, counts, killed, wrong)
  local rows, failed, most, unknown, crashed = e2e.results(ended.out), 0, 0, 0, 0
  if #rows ~= n then wrong("%d rows of %d; the run said: %s", #rows, n, ended.err) end
  for i, row in ipairs(rows) do
    local count = counts[("%s.%d"):format(phase.name, i)] or 0
    most = math.max(most, count)
    if row.item ~= tostring(i) then wrong("row %d is of item %s", i, row.item) end
    if row.error then
      failed = failed + 1
      local e = row.error
      if e.applied == "unknown" then unknown = unknown + 1 end
      if e.kind == "crash" then crashed = crashed + 1 end
      if e.applied == "no" and count > 0 then wrong("item %d was begun, and says it was not", i) end
      if phase.retries > 0 or not LOSSES[e.kind] then
        wrong("item %d failed: %s: %s", i, e.kind, e.message)
      end
    elseif row.value ~= 2 * i then
      wrong("item %d is %s", i, tostring(row.value))
    elseif i % phase.every == 0 and count == 0 then
      wrong("item %d has a result and was never begun", i)
    end
    local limit = phase.retries == 0 and 1 or phase.retries + 1 + 3 -- see fleet.scheduler.blame
    if count > limit and not phase.kills or count > 1 and phase.retries == 0 then
      wrong("item %d was begun %d times", i, count)
    end
  end
  -- tasks that had not begun when their worker was killed have not failed
  if crashed > killed * CONCURRENCY then
    wrong("%d items failed with %d workers that were killed", crashed, killed)
  end
  if ended.code ~= (failed > 0 and 1 or 0) then wrong("exit code %s", tostring(ended.code)) end
  return failed, most, unknown
end

local function run_phase(world, fleet, web, phase, tell)
  local n = math.max(100, math.floor(items * phase.share))
  local list = {}
  for i = 1, n do list[i] = i end
  local began, problems = sys.now(), {}
  fleet.counts = {}
  fleet:begin()
  local ended = run(world, phase, fleet.flags, job_of(world, phase, web), world:items(list))
  fleet:stop()
  local failed, most, unknown = check(phase, n, ended, web.counts(),
    fleet.counts.worker_killed or 0, function(format, ...)
    problems[#problems + 1] = format:format(...)
  end)
  problems[#problems + 1] = fleet:wrong()
  local events = {}
  for what, count in pairs(fleet.counts) do events[#events + 1] = ("%s %d"):format(what, count) end
  table.sort(events)
  tell("%-16s %6.1f s  %7d items, %d failed (%d unknown), begun %d times at most; %s",
    phase.name, sys.now() - began, n, failed, unknown, most, table.concat(events, ", "))
  for i = 1, math.min(#problems, 10) do tell("  WRONG: %s", problems[i]) end
  if #problems > 10 then tell("  ... %d in all", #problems) end
  return #problems == 0
end

local function tell(format, ...)
  io.stdout:write(format:format(...), "\n")
  io.stdout:flush()
end

tell("seed %d, %d items", seed, items)
local world = e2e.new()
local passed, failed = 0, 0
local ok, err = pcall(function()
  local web, fleet = world:fault_server(), faults.new(world, seed)
  for _, phase in ipairs(PHASES) do
    local fine = run_phase(world, fleet, web, phase, tell)
    passed, failed = passed + (fine and 1 or 0), failed + (fine and 0 or 1)
  end
end)
world:close()
if not ok then
  tell("  WRONG: %s", tostring(err))
  failed = failed + 1
end
tell("%d passed, %d failed", passed, failed)
os.exit(failed == 0 and 0 or 1, true)
