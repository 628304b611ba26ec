-- SPDX-License-Identifier: MIT
-- Random walks over the scheduler. MOONFLEET_WALK_STEPS sets the number of
-- steps, MOONFLEET_WALK_SEED the first seed; a failure prints its walk's seed.

local model = require("spec.support.scheduler_model")

local STEPS = tonumber(os.getenv("MOONFLEET_WALK_STEPS")) or 200000
local FIRST_SEED = tonumber(os.getenv("MOONFLEET_WALK_SEED")) or 1
local STEPS_PER_WALK = 1000

local function walk(seed)
  math.randomseed(seed)
  local world = model.new()
  for _ = 1, STEPS_PER_WALK do
    world:step()
    world:check()
  end
  world:run_to_the_end()
  world:check_leaks()
  return world
end

describe("fleet.scheduler, walked at random", function()
  it("keeps its promises", function()
    local seen = { ok = 0, failed = 0, dropped = 0, retried = 0, late = 0 }
    for seed = FIRST_SEED, FIRST_SEED + STEPS // STEPS_PER_WALK - 1 do
      local fine, result = xpcall(walk, debug.traceback, seed)
      if not fine then error(("walk with seed %d: %s"):format(seed, result), 0) end
      local counts = result.s:counts()
      for name in pairs(seen) do seen[name] = seen[name] + (counts[name] or counts.done) end
    end
    -- A walk that meets nothing proves nothing.
    for name, number in pairs(seen) do
      assert(number > 0, "no walk met: " .. name)
    end
  end)
end)
