-- SPDX-License-Identifier: MIT
-- fleet.multicall over nodes of every state.

local e2e = require("spec.support.e2e")

local SCRIPT = [[
local fleet = require("fleet")
local rpc = require("fleet.rpc")
local wanted = { good = "ready", leaves = "draining", frozen = "suspect", other = "skew" }
local stays = fleet.send("leaves", function()
  require("fleet").progress("begun")
  require("fleet").sleep(3600)
end)
while not stays:progress() do fleet.sleep(0.01) end
io.stdout:write("begun\n") io.stdout:flush()
local function settled()
  for _, n in ipairs(fleet.nodes()) do
    if n.state ~= (wanted[n.name] or "down") then return false end
  end
  return true
end
while not settled() do fleet.sleep(0.05) end
for _, multicall in ipairs({ fleet.multicall, function(f) return rpc.multicall(nil, f) end }) do
  local results, failures = multicall(function() return "here" end)
  for name, value in pairs(results) do io.stdout:write(name, " ", value, "\n") end
  for name, err in pairs(failures) do
    io.stdout:write(("%s %s %s %s\n"):format(wanted[name] and name or "down", err.kind, err.applied,
      tostring(err.node == name)))
  end
end
]]

describe("multicall", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("names the nodes that are not ready, and why", function()
    local nodes, peers = {}, { "127.0.0.1:" .. e2e.free_port() }
    for i, name in ipairs({ "good", "leaves", "frozen", "other" }) do
      nodes[name] = world:node({
        workers = 1, name = name, flags = name == "other" and { "--release", "another" } or nil,
      })
      peers[i + 1] = nodes[name].address
    end
    local program = world:program({
      "run", "--peers", table.concat(peers, ","), "--heartbeat", "0.1", "--suspect-after", "0.5",
      "--dead-after", "60", world:write("all.lua", SCRIPT),
    })
    e2e.wait_until("the script", function() return program:out():find("begun", 1, true) end)
    nodes.leaves:kill("TERM")
    nodes.frozen:kill("STOP")
    local run = program:wait()
    nodes.frozen:kill("CONT")
    local lines = {}
    for line in run.out:gmatch("[^\n]+") do lines[#lines + 1] = line end
    table.sort(lines)
    local expected = { "begun" }
    for _, line in ipairs({
      "down connect no true", "frozen connect no true", "good here", "leaves draining no true",
      "other skew no true",
    }) do
      expected[#expected + 1] = line
      expected[#expected + 1] = line
    end
    assert.same(expected, lines, run.err)
  end)
end)
