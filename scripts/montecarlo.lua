-- Estimates pi by throwing darts, on every core of the fleet. Shows items() that
-- generates the work, and results that repeat because each item is its own seed.
--   moonfleet run scripts/montecarlo.lua
local CHUNKS, DARTS = 100, 100000

-- xorshift64*: math.random is shared by the tasks of a worker, so its numbers
-- would depend on which of them run there.
local function generator(seed)
  local x = seed * 0x9E3779B97F4A7C15 | 1
  return function()
    x = x ~ x >> 12
    x = x ~ x << 25
    x = x ~ x >> 27
    return (x * 0x2545F4914F6CDD1D >> 11) * 0x1p-53
  end
end

return {
  summary = "estimates pi",
  items = function()
    local seeds = {}
    for seed = 1, CHUNKS do seeds[seed] = seed end
    return seeds
  end,
  map = function(seed)
    local random, hits = generator(seed), 0
    for _ = 1, DARTS do
      local x, y = random(), random()
      if x * x + y * y < 1 then hits = hits + 1 end
    end
    return hits
  end,
  init = { darts = 0, hits = 0 },
  reduce = function(total, hits)
    local darts, all = total.darts + DARTS, total.hits + hits
    return { darts = darts, hits = all, pi = 4 * all / darts }
  end,
}
