-- SPDX-License-Identifier: MIT
-- Measures a whole run with one item: start and end of driver, private node and worker.

return function(bench)
  local median = bench:interleave({
    ours = function()
      return 1000 * bench:time("$1 eval 'return 1' >/dev/null", bench.program)
    end,
  })
  bench:row({ name = "eval 'return 1', cold, local", unit = "ms", ours = median.ours,
    at_most = 60 })
end
