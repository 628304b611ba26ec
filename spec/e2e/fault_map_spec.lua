-- SPDX-License-Identifier: MIT
-- Maps over connections that break anywhere or are slow (docs/faults.md): the result of each item
-- arrives in its place. A session goes on when its connection breaks, so each item runs once; a
-- node on descriptors ends with them and is started again, so its items run again.
-- Patient: a node that could not be connected to is tried again after a while.

local carriers = require("spec.support.carriers")
local e2e = require("spec.support.e2e")

local COUNT = 3000

-- With it the first 16 events of a process are without faults of 3 %: a node that cannot be
-- connected to at the beginning is not used.
local SEED = 8

-- Of what may run again: a node that is started again breaks again.
local RETRIES = 20

-- No node is considered lost because of breaks.
local TIMES = { "--heartbeat", "0.2", "--suspect-after", "0.5", "--dead-after", "60" }

local WITH_KEYS = { carriers.tcp, carriers.tls, carriers.ipc, carriers.descriptors }

local FAULTS = {
  { "breaks when the driver sends", driver = "send:break%3" },
  { "breaks when a node sends", node = "send:break%3" },
  { "breaks when the driver receives", driver = "receive:break%3" },
  { "breaks when a node receives", node = "receive:break%3" },
  { "cuts frames of the driver", driver = "send:truncate%3" },
  { "cuts frames of the nodes", node = "send:truncate%3" },
  { "is slow", slow = true, driver = "send:delay=100%10", node = "send:delay=100%10" },
  { "does all of that", over = WITH_KEYS,
    driver = "send:break%1,send:truncate%1,receive:break%1,send:delay=100%3",
    node = "send:break%1,send:truncate%1,receive:break%1,send:delay=100%3" },
  { "loses a node as it sends", dies = true, over = WITH_KEYS, node = "send:die@8" },
}

local JOB = [[
local http = require("fleet.http")
return { map = function(item)
  local page, err = http.get(%q .. item, { timeout = 600 })
  if not page then return nil, err end
  return tonumber(item)
end }
]]

-- A driver passes its variables on to the nodes that it starts.
local function environment(faults)
  return { "MOONFLEET_FAULT=" .. (faults or ""), "MOONFLEET_FAULT_SEED=" .. SEED }
end

-- Runs the job over two nodes, both with the fault if nothing may run again, and checks that the
-- result is complete and how often each item has run; returns the fleet, and what the driver wrote
-- to stderr.
local function run(carrier, world, fault, retries)
  local server, items = world:fault_server(), {}
  local fleet = carrier.fleet(world, 2, { env = function(i)
    return environment((i == 1 or retries == 0) and fault.node)
  end })
  for i = 1, COUNT do items[i] = i end
  local done = fleet:run({
    "run", world:write("count.lua", JOB:format(server.url .. "/count/")), world:items(items),
    "--retries", retries, "--batch", 5, "--log-level", "info", table.unpack(TIMES),
  }, { env = environment(fault.driver) })
  assert.equal(0, done.code, done.err)
  local results, counts = e2e.results(done.out), server.counts()
  assert.equal(COUNT, #results)
  for i, result in ipairs(results) do
    assert.same({ item = tostring(i), value = i }, result)
    local count = counts[result.item]
    assert.is_true(count and count <= 1 + retries, ("%d: %s"):format(i, count))
  end
  return fleet, done.err
end

local function run_with(fault)
  return function(carrier, world)
    if fault.dies then
      local fleet = run(carrier, world, fault, RETRIES)
      if carrier.listens then assert.equal(9, fleet.nodes[1]:wait().signal) end
    elseif fault.slow then
      run(carrier, world, fault, 0)
    elseif carrier.listens then
      local _, err = run(carrier, world, fault, 0)
      assert.matches("node answers again", err, 1, true)
    else
      local _, err = run(carrier, world, fault, RETRIES)
      assert.matches("node lost", err, 1, true)
    end
  end
end

for _, fault in ipairs(FAULTS) do
  describe("a map whose network " .. fault[1], function()
    local over, runs = fault.over or carriers, nil
    setup(function() runs = carriers.at_once(run_with(fault), over) end)
    teardown(function() runs:close() end)

    for _, carrier in ipairs(over) do
      it(("is complete over %s, and repeats only what was lost"):format(carrier.name), function()
        runs:check(carrier)
      end)
    end
  end)
end
