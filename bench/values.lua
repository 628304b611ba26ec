-- SPDX-License-Identifier: MIT
-- Measures values of 1 MiB that go to a node and back, one after another: over TLS, over TCP, and
-- over TCP through a tunnel of ssh. Also through cat at the other end of ssh, without any node.

local carriers = require("carriers")

local COUNT, DIRECTIONS, MIB = 300, 2, 1024 * 1024

-- Adds the way through a tunnel to the node that listens on TCP.
local function add_tunnel(bench, list, ssh)
  local port = bench:port()
  bench:spawn(ssh .. " -N -L 127.0.0.1:$1:$2 127.0.0.1", port, list.tcp.name)
  bench:wait_port(port)
  local address = "127.0.0.1:" .. port
  list.tunnel = { driver = "--peers " .. address, name = address }
end

return function(bench)
  local list, ssh = carriers.start(bench), require("ssh")(bench)
  if ssh then add_tunnel(bench, list, ssh) end
  local measure = {}
  local function rate(us) return DIRECTIONS * 1e6 / us end
  for _, name in ipairs({ "tcp", "tls", ssh and "tunnel" }) do
    measure[name] = function()
      return rate(carriers.run(bench, bench.program, list[name], COUNT, tostring(MIB)))
    end
  end
  if ssh then
    function measure.cat()
      return rate(tonumber(bench:shell("$1/pipe-pingpong $2 $3 " .. ssh .. " 127.0.0.1 cat",
        bench.tools, COUNT, MIB)))
    end
  end
  local rates = bench:interleave(measure)
  bench:row({ name = "values of 1 MiB, TLS", unit = "MiB_s", ours = rates.tls, at_least = 400 })
  for _, row in ipairs({ { "tcp", "over TCP", 0.3 }, { "tunnel", "over TCP through ssh", 4 },
    { "cat", "cat over ssh", 4 } }) do
    local peer, name, goal = table.unpack(row)
    bench:row({ name = "  the same", unit = "MiB_s", ours = rates.tls, peer_name = name,
      peer = rates[peer], at_least = goal })
  end
end
