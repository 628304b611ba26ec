-- SPDX-License-Identifier: MIT
-- Compares a computing task in a worker, which can stop it at any time, with plain Lua. Both
-- measure their own time, so that start-up does not count.

return function(bench)
  local peer = bench:node(1)
  local job = bench.here .. "/jobs/compute.lua"
  local median = bench:interleave({
    ours = function()
      return tonumber(bench:shell("$1 run $2 --items 1 --peers $3", bench.program, job, peer)
        :match('"value":([%d.]+)'))
    end,
    lua = bench:has("lua5.4") and function()
      return tonumber(bench:shell([[echo 'print(dofile(...).map())' | lua5.4 - $1]], job))
    end or nil,
  })
  bench:row({ name = "CPU-bound task", unit = "s", ours = median.ours, peer_name = "lua5.4",
    peer = median.lua, at_most = 1.05 })
end
