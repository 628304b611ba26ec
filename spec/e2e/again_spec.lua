-- SPDX-License-Identifier: MIT
-- Items that run again although nothing was lost: late items, and items that timed out.

local e2e = require("spec.support.e2e")

describe("an item runs again", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("elsewhere, when it is late and the map speculates", function()
    local faults = world:fault_server()
    local nodes, peers = world:nodes(2, { workers = 1 })
    local run = world:run({ "run", "--peers", peers, world:write("late.lua", ([[
      local fleet = require("fleet")
      local items = {}
      for i = 1, 40 do items[i] = i end
      local results, failed = fleet.pmap(function(i)
        local fleet, http = require("fleet"), require("fleet.http")
        local times = http.get(%q .. "/count/" .. i).body
        if i == 7 and times == "1" then fleet.sleep(3600) end
        return times .. " " .. fleet.self().node
      end, items, { speculate = true })
      print(failed, results[7])
      for i, result in ipairs(results) do assert(i == 7 or result:find("^1 "), result) end
    ]]):format(faults.url)) })
    assert.equal(0, run.code, run.err)
    local node = run.out:match("^0\t2 (%S+)\n$")
    assert.is_true(node == nodes[1].name or node == nodes[2].name, run.out)
    assert.equal(2, faults.counts()["7"])
    -- the late attempt does not continue
    e2e.wait_until("nothing to run", function()
      local said = world:run({ "nodes", "--json", "--peers", peers }).out
      return select(2, said:gsub('"running":0,"queued":0', "")) == 2
    end)
  end)

  it("when its time was over and retry_on wants it, as often as it may", function()
    local node = world:node({ workers = 2 })
    local run = world:run({ "run", "--peers", node.address, world:write("slow.lua", [[
      local fleet = require("fleet")
      local asked = {}
      local function map(items, options)
        options.timeout = 0.5
        return fleet.pmap(function(item)
          local attempt = require("fleet").self().attempt
          if item == "never" or item == "late" and attempt < 3 then require("fleet").sleep(3600) end
          if item == "stuck" and attempt == 1 then -- which costs the worker
            table.sort({ 1, 2 }, function() while true do end end)
          end
          if item == "raises" then error("no", 0) end
          return attempt
        end, items, options)
      end
      local items = { "fine", "late", "never", "raises" }
      local function show(results)
        for _, r in ipairs(results) do
          print(type(r) == "table" and ("%s %d %s"):format(r.kind, r.attempt, r.applied) or r)
        end
      end
      local function is_timeout(err)
        asked[err.kind] = (asked[err.kind] or 0) + 1
        return err.kind == "timeout"
      end
      show(map(items, { backoff = 0.01, retry_on = is_timeout }))
      print(asked.raise)
      show(map(items, {}))
      show(map({ "stuck" }, { retry_on = is_timeout }))
    ]]) })
    assert.equal(0, run.code, run.err)
    assert.equal(table.concat({
      "1", "3", "timeout 3 yes", "raise 1 yes", "1",
      "1", "timeout 1 yes", "timeout 1 yes", "raise 1 yes",
      "2", "" }, "\n"), run.out)
  end)
end)
