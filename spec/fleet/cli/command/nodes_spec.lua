-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local json = require("fleet.json")
local sys = require("host.sys")

describe("moonfleet nodes", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  --- The fields of the lines of a table.
  local function cells(text)
    local rows = {}
    for i, line in ipairs(e2e.lines(text)) do
      rows[i] = {}
      for word in line:gmatch("%S+") do table.insert(rows[i], word) end
    end
    return rows
  end

  it("shows the private node when no peers are given", function()
    local run = world:run({ "nodes" })
    assert.same({ 0, "" }, { run.code, run.err })
    local rows = cells(run.out)
    assert.same({ "name", "address", "state", "workers", "running", "queued", "release",
      "rtt_ms" }, rows[1])
    local rtt = table.remove(rows[2])
    assert.matches("^%d+%.%d$", rtt)
    assert.same({ "local", "local", "ready", tostring(sys.cores()), "0", "0", sys.version },
      rows[2])
    assert.equal(2, #rows)
  end)

  it("gives each field of each node as JSON, null where nothing is known", function()
    local node = world:node({ workers = 3 })
    local nobody = "127.0.0.1:" .. e2e.free_port()
    local run = world:run({ "nodes", "--json", "--peers", node.address .. "," .. nobody })
    assert.same({ 0, "" }, { run.code, run.err })
    local names = {}
    for object in run.out:gmatch("{(.-)}") do
      local list = {}
      for name in object:gmatch('"(%a+)":') do list[#list + 1] = name end
      names[#names + 1] = table.concat(list, " ")
    end
    local all = "name address zone state workers running queued release rtt error"
    assert.same({ all, all }, names)
    local list = json.decode(run.out)
    assert.is_true(list[1].rtt > 0)
    assert.matches("connection refused", list[2].error, 1, true)
    list[1].rtt, list[2].error = nil, nil
    assert.same({
      { name = node.name, address = node.address, state = "ready", workers = 3, running = 0,
        queued = 0, release = sys.version },
      { name = nobody, address = nobody, state = "down", workers = 0, running = 0, queued = 0 },
    }, list)
  end)

  it("writes only the names of nodes that can be used", function()
    local node = world:node({ workers = 1 })
    local nobody = "127.0.0.1:" .. e2e.free_port()
    local run = world:run({ "nodes", "--names", "--peers", node.address .. "," .. nobody })
    assert.same({ 0, "", node.name .. "\n" }, { run.code, run.err, run.out })
    run = world:run({ "nodes", "--names", "--json" })
    assert.same({ 2, "" }, { run.code, run.out })
    assert.matches("give either it or %-%-names", run.err)
  end)

  it("shows nodes that get no work, says why, and has its exit code", function()
    local skewed = world:node({ workers = 1, flags = { "--release", "another" } })
    local nobody = "127.0.0.1:" .. e2e.free_port()
    local run = world:run({ "nodes", "--peers", skewed.address .. "," .. nobody })
    assert.equal(3, run.code)
    local rows = cells(run.out)
    assert.same({ skewed.name, skewed.address, "skew", "1", "0", "0", "another" },
      table.move(rows[2], 1, 7, 1, {}))
    assert.same({ nobody, nobody, "down", "0", "0", "0", "-", "-" }, rows[3])
    local said = e2e.lines(run.err)
    assert.equal(2, #said)
    assert.matches("^moonfleet: " .. skewed.address .. " runs release another", said[1])
    assert.matches("connection refused", said[2], 1, true)
    -- the same release on both sides makes it usable
    assert.equal(0, world:run({
      "nodes", "--peers", skewed.address, "--release", "another",
    }).code)
  end)

  it("shows what runs and what waits", function()
    local node = world:node({ workers = 1 })
    local job = world:write("job.lua", [[
      local fleet = require("fleet")
      return { map = function() fleet.sleep(60) end, options = { concurrency = 1, batch = 3 } }
    ]])
    local program = world:program({ "run", job, "--peers", node.address, "--items", 1, 2, 3 })
    e2e.wait_until("the items to run", function()
      local list = json.decode(world:run({ "nodes", "--json", "--peers", node.address }).out)
      return list[1].running == 1 and list[1].queued == 2
    end)
    program:kill("KILL")
    program:wait()
  end)

  it("shows a name that is no plain text in one line", function()
    local node = world:node({ workers = 1, name = "a\nb\27[31m" })
    local run = world:run({ "nodes", "--peers", node.address })
    assert.equal(2, #e2e.lines(run.out))
    assert.is_nil(run.out:find("\27", 1, true))
  end)
end)
