-- Finds primes in ranges of a million numbers. Shows setup(), which prepares every
-- worker once, and items() as an iterator that makes ranges as they are needed.
--   moonfleet run scripts/primes.lua --limit 1000 --format table
local RANGE, LAST = 1000000, 1000000000000
local small = {} -- the primes up to the square root of LAST

return {
  summary = "number and largest of the primes in each range",
  items = function()
    local first = 1 - RANGE
    return function()
      first = first + RANGE
      return first < LAST and first or nil
    end
  end,
  setup = function()
    local composite, root = {}, math.floor(LAST ^ 0.5)
    for n = 2, root do
      if not composite[n] then
        small[#small + 1] = n
        for multiple = n * n, root, n do composite[multiple] = true end
      end
    end
  end,
  map = function(first)
    local composite, last = { [1] = first == 1 }, first + RANGE - 1
    for _, p in ipairs(small) do
      if p * p > last then break end
      local start = math.max(p * p, (first + p - 1) // p * p)
      for n = start - first + 1, RANGE, p do composite[n] = true end
    end
    local count, largest = 0, nil
    for n = 1, RANGE do
      if not composite[n] then count, largest = count + 1, first + n - 1 end
    end
    return { count = count, largest = largest }
  end,
}
