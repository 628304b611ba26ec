-- SPDX-License-Identifier: MIT
-- The ways to a node that calls are measured over, and a run of jobs/call.lua over one of them.

local carriers = {}

--- Starts the nodes. Returns "private", "ipc", "tcp", "tls" -> { driver = flags of a driver, name =
--- of the node, node = pid or nil }.
function carriers.start(bench)
  local list = { private = { driver = "", name = "local" } }
  local path = bench.dir .. "/node.ipc"
  bench:spawn("$1 serve --name bench --listen ipc://$2 --workers 1", bench.program, path)
  bench:wait_file(path)
  list.ipc = { driver = "--peers ipc://" .. path, name = "bench" }
  local address, pid = bench:node(1)
  list.tcp = { driver = "--peers " .. address, name = address, node = pid }
  local keys = bench.dir .. "/keys"
  bench:shell("$1 keygen $2 --fleet bench >/dev/null", bench.program, keys)
  address = bench:node(1, "--tls " .. keys .. "/node")
  list.tls = { driver = ("--tls %s/driver --peers %s"):format(keys, address), name = address }
  return list
end

--- Runs the job and returns the microseconds of a call.
---@param before string|nil goes before the command
function carriers.run(bench, program, carrier, count, what, before)
  return tonumber(bench:shell((before or "") .. " $1 run " .. carrier.driver
    .. " $2/jobs/call.lua $3 $4 $5", program, bench.here, carrier.name, count, what))
end

return carriers
