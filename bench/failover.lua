-- SPDX-License-Identifier: MIT
-- Kills or freezes one of two nodes during a map, and measures the time until the other node has
-- done its items.

local function measure(bench, signal)
  return function()
    local other = bench:node(1)
    local peer, node = bench:node(1)
    local seconds = bench:shell("$1 run --peers $2,$3 $4/jobs/failover.lua $5 $6", bench.program,
      other, peer, bench.here, signal, node):match("^%S+")
    bench:shell("kill -9 $1 2>/dev/null || true", node)
    bench:finish()
    return tonumber(seconds)
  end
end

return function(bench)
  bench:say("killing and freezing nodes")
  local median = bench:interleave({
    killed = measure(bench, "KILL"), frozen = measure(bench, "STOP"),
  })
  bench:row({ name = "node killed amid a map, work redone", unit = "s", ours = median.killed,
    at_most = 1 })
  bench:row({ name = "node frozen amid a map, work redone", unit = "s", ours = median.frozen,
    at_most = 16 })
end
