-- SPDX-License-Identifier: MIT
-- Fleets that are found, not listed: real nodes come and go while commands run.

local e2e = require("spec.support.e2e")
local json = require("fleet.json")

describe("a fleet in a file", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function list(nodes)
    local lines = { "# our fleet" }
    for _, n in ipairs(nodes) do lines[#lines + 1] = n.address .. " zone-a" end
    return world:write("fleet", table.concat(lines, "\n") .. "\n")
  end

  it("is listed with the zone, and what was asked and when", function()
    local node = world:node({ workers = 1 })
    local path = list({ node, { address = "127.0.0.1:1" } })
    local run = world:run({ "nodes", "--json", "--discover", "file:" .. path })
    assert.same({ 0, "" }, { run.code, run.err })
    local rows = json.decode(run.out)
    assert.same({ "zone-a", "ready", node.name }, { rows[2].zone, rows[2].state, rows[2].name })
    assert.same({ "127.0.0.1:1", "down" }, { rows[1].address, rows[1].state })
    run = world:run({ "nodes", "--discover", "file:" .. path })
    assert.matches(("found by file %s: 2 nodes, as of 0 s ago"):format(path), run.err, 1, true)
  end)

  it("may be edited while a map runs: nothing is lost, nothing runs twice", function()
    local nodes = world:nodes(3, { workers = 1 })
    local path = list({ nodes[1], nodes[2] })
    local count = e2e.sanitized and 300 or 1000
    local items = {}
    for i = 1, count do items[i] = i end
    local job = world:write("job.lua", [[
      local fleet = require("fleet")
      return {
        map = function(n) fleet.sleep(0.01) return fleet.self().node end,
        options = { concurrency = 1, retries = 0 },
      }
    ]])
    local run = world:program({ "run", "--discover", "file:" .. path, job, world:items(items) })
    e2e.wait_until("results", function() return run:lines() > count // 10 end)
    list({ nodes[2], nodes[3] }) -- the first leaves, the third comes
    local done = run:wait()
    assert.equal(0, done.code, done.err)
    local seen, rows = {}, e2e.results(done.out)
    assert.equal(count, #rows)
    for i, row in ipairs(rows) do
      assert.equal(tostring(i), row.item)
      seen[row.value] = (seen[row.value] or 0) + 1
    end
    for _, n in ipairs(nodes) do assert.is_true((seen[n.name] or 0) > 0, n.name) end
    assert.is_true(seen[nodes[1].name] < count // 3, "the first had left")
    assert.equal(seen[nodes[1].name], (e2e.share(done, nodes[1])))
  end)

  it("that cannot be read, or is empty, or is wrong: one line says why", function()
    local function run(path)
      local done = world:run({ "run", "--discover", "file:" .. path, "--items",
        "scripts/primes.lua", 1 })
      assert.equal("", done.out)
      assert.equal(1, #e2e.lines(done.err), done.err)
      return done.code, done.err
    end
    local code, err = run(world:path("none"))
    assert.equal(2, code)
    assert.matches("none: No such file or directory", err, 1, true)
    code, err = run(world:write("empty", "\n"))
    assert.equal(3, code)
    assert.matches("there is no address in ", err, 1, true)
    code, err = run(world:write("wrong", "a:b\n"))
    assert.equal(2, code)
    assert.matches("wrong:1: 'a:b' is no HOST", err, 1, true)
  end)
end)
