-- SPDX-License-Identifier: MIT
-- From nothing to one result: driver, private node, worker, and their end.

return function(bench)
  local median = bench:interleave({
    ours = function()
      return 1000 * bench:time("$1 run $2 --items x >/dev/null", bench.program,
        bench.here .. "/jobs/same.lua")
    end,
  })
  bench:row({ name = "cold start, one item, local", unit = "ms", ours = median.ours,
    at_most = 60 })
end
