-- SPDX-License-Identifier: MIT
-- Measures connecting to 200 nodes, each on its own address, and a call on all of them.

local COUNT = 200
local AT_A_TIME = 10 -- nodes that start

return function(bench)
  local port, peers, pids = bench:port(), {}, {}
  bench:say("starting %d nodes", COUNT)
  for i = 1, COUNT do
    local address = ("127.0.%d.%d"):format(1 + i // 250, 1 + i % 250)
    peers[i] = ("%s:%d"):format(address, port)
    pids[i] = bench:spawn("$1 serve --listen tcp://$2 --workers 1 --name $2", bench.program,
      peers[i])
    if i % AT_A_TIME == 0 then bench:wait_port(port, address) end
  end
  local connects = {}
  local median = bench:interleave({
    multicall = function()
      local connect, call = bench:shell("$1 run --peers $2 $3/jobs/multicall.lua $4",
        bench.program, table.concat(peers, ","), bench.here, COUNT):match("(%S+) (%S+)")
      connects[#connects + 1] = tonumber(connect)
      return tonumber(call)
    end,
  })
  table.sort(connects)
  bench:row({ name = "200 nodes, connect and first call of all", unit = "s",
    ours = connects[(#connects + 1) // 2], at_most = 3 })
  bench:row({ name = "  multicall of all", unit = "ms", ours = median.multicall, at_most = 200 })
  bench:shell("kill " .. table.concat(pids, " ")) -- all at once, finish() waits for each
end
