-- SPDX-License-Identifier: MIT
-- Random walks over the scheduler. WALK_STEPS sets the number of
-- steps, WALK_SEED the first seed; a failure prints its walk's seed.
-- Patient: only computes.

local model = require("spec.support.scheduler_model")

local STEPS = tonumber(os.getenv("WALK_STEPS")) or 1000000
local FIRST_SEED = tonumber(os.getenv("WALK_SEED")) or 1
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

-- Walks that meet nothing prove nothing; a few steps may miss what is rare.
local ENOUGH = 200000
local TO_BE_MET = {
  "done", "failed", "resumed", "dropped", "retried", "speculated", "late",
  "ok", "input", "raise", "timeout", "memory", "crash", "lost", "poisoned", "deadline",
  "cancelled", "isolated", "backoff", "cancelled duplicate", "suspended",
}

describe("fleet.scheduler, walked at random", function()
  it("keeps its promises", function()
    local met = {}
    for seed = FIRST_SEED, FIRST_SEED + STEPS // STEPS_PER_WALK - 1 do
      local fine, result = xpcall(walk, debug.traceback, seed)
      if not fine then error(("walk with seed %d: %s"):format(seed, result), 0) end
      for _, seen in ipairs({ result.s:counts(), result.met }) do
        for what, number in pairs(seen) do met[what] = (met[what] or 0) + number end
      end
    end
    for _, what in ipairs(STEPS >= ENOUGH and TO_BE_MET or {}) do
      assert((met[what] or 0) > 0, "no walk met: " .. what)
    end
  end)
end)
