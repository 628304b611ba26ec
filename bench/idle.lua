-- SPDX-License-Identifier: MIT
-- Measures what a node and its worker cost while they are idle.

local SECONDS = 10

return function(bench)
  local _, node = bench:node(1)
  bench:sleep(2)
  local pids = { node = node, worker = bench:children(node)[1] }
  local before = {}
  for name, pid in pairs(pids) do before[name] = bench:used(pid) end
  bench:say("watching an idle node for %d s", SECONDS)
  bench:sleep(SECONDS)
  for _, name in ipairs({ "node", "worker" }) do
    local pid = pids[name]
    bench:row({ name = "idle " .. name .. ", RSS", unit = "MiB", at_most = 12,
      ours = bench:memory(pid, "VmRSS") })
    bench:row({ name = "idle " .. name .. ", wake-ups", unit = "hertz", at_most = 1,
      ours = (bench:used(pid) - before[name]) / SECONDS })
  end
end
