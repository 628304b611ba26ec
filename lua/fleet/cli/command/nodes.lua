-- SPDX-License-Identifier: MIT
-- `moonfleet nodes`: the state that each node reports, also of nodes that get no work.

local driver = require("fleet.driver")
local errors = require("fleet.errors")
local json = require("fleet.json")
local program = require("fleet.cli.program")
local targets = require("fleet.repl.targets")

-- All fields in every object, null where nothing is known.
local function print_json(list)
  local objects = {}
  for i, d in ipairs(list) do
    objects[i] = json.encode_record("name", d.name, "address", d.address,
      "started_by", d.started_by, "zone", d.zone, "state", d.state, "workers", d.workers,
      "running", d.running, "queued", d.queued, "release", d.release, "rtt", d.rtt,
      "error", d.error)
  end
  io.write("[", table.concat(objects, ","), "]\n")
end

local function print_names(ready)
  for _, n in ipairs(ready) do io.write(n.name, "\n") end
end

local function print_table(list, discoveries)
  io.write(targets.table(list), "\n")
  for _, d in ipairs(list) do
    if d.error then program.note("%s", d.error) end
  end
  for _, discovery in ipairs(discoveries) do
    program.note("found by %s", discovery:describe())
    if #list == 0 then program.note("%s", discovery:why_empty()) end
  end
end

---@return integer|nil exit code: 0, or 3 when no node is usable
---@return fleet.Error|nil
return function(invocation)
  if invocation.flags.json and invocation.flags.names then
    return nil, errors.format("usage", "--json has the names already: give either it or --names")
  end
  local nodes, err = driver.open_cluster()
  if not nodes then return nil, err end
  local list, identity = {}, nodes.access.identity
  for i, n in ipairs(nodes.nodes) do list[i] = n:describe() end
  for _, warning in ipairs(identity and identity:warnings() or {}) do
    program.note("%s", warning)
  end
  if invocation.flags.json then
    print_json(list)
  elseif invocation.flags.names then
    print_names(nodes:ready())
  else
    print_table(list, nodes.discoveries)
  end
  local usable = #nodes:ready() > 0
  local lacks_keys = not usable and nodes:no_workers().kind == "usage"
  nodes:close()
  return usable and program.OK or lacks_keys and program.USAGE or program.NO_WORKERS
end
