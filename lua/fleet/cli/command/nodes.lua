-- SPDX-License-Identifier: MIT
-- `moonfleet nodes`: what each node says of itself, also those that get no work.

local driver = require("fleet.driver")
local json = require("fleet.json")
local text = require("fleet.base.text")

local COLUMNS = {
  "name", "address", "state", "workers", "running", "queued", "release", "rtt_ms",
}

local NUMBERS = { [4] = true, [5] = true, [6] = true, [8] = true }

-- All fields in every object, null where nothing is known.
local function print_json(list)
  local objects = {}
  for i, d in ipairs(list) do
    objects[i] = json.encode_record("name", d.name, "address", d.address, "zone", d.zone,
      "state", d.state, "workers", d.workers, "running", d.running, "queued", d.queued,
      "release", d.release, "rtt", d.rtt, "error", d.error)
  end
  io.write("[", table.concat(objects, ","), "]\n")
end

local function print_table(list)
  local rows = { COLUMNS }
  for _, d in ipairs(list) do
    d.rtt_ms = d.rtt and ("%.1f"):format(d.rtt * 1000)
    local row = {}
    for i, column in ipairs(COLUMNS) do row[i] = text.escape(tostring(d[column] or "-")) end
    rows[#rows + 1] = row
  end
  for _, line in ipairs(text.columns(rows, NUMBERS)) do io.write(line, "\n") end
  for _, d in ipairs(list) do
    if d.error then io.stderr:write("moonfleet: ", text.plain(d.error), "\n") end
  end
end

---@param invocation fleet.cli.Invocation
---@return integer|nil exit code: 0, or 3 when no node can be used
---@return fleet.Error|nil
return function(invocation)
  local flags = invocation.flags
  local nodes, err = driver.open_pool()
  if not nodes then return nil, err end
  local list = {}
  for i, n in ipairs(nodes.nodes) do list[i] = n:describe() end
  if flags.json then
    print_json(list)
  else
    print_table(list)
  end
  if nodes.found and not flags.json then
    io.stderr:write("moonfleet: found by ", nodes.found:describe(), "\n")
    if #list == 0 then io.stderr:write("moonfleet: ", nodes.found:nobody(), "\n") end
  end
  local usable = #nodes:ready() > 0
  nodes:close()
  return usable and 0 or 3
end
