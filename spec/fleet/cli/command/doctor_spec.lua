-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local json = require("fleet.json")

describe("moonfleet doctor", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("is content with this machine alone", function()
    local run = world:run({ "doctor" })
    assert.same({ 0, "" }, { run.code, run.err })
    local lines = e2e.lines(run.out)
    assert.matches("^ok    program       moonfleet ", lines[1])
    assert.matches("^ok    release       .* from the program's version$", lines[2])
    assert.matches("^ok    work          64 KiB went through a worker", lines[#lines - 2])
    assert.matches("^%d ok, %d warnings?, 0 failed$", lines[#lines])
    assert.matches("\nwarn  fleet         nothing selects nodes %(%-%-peers, %-%-discover, %-%-ssh "
      .. "or %-%-launch%): only a private node of this machine is used\n +%-> name the nodes: "
      .. "export MOONFLEET_PEERS=", run.out)
    local node = world:node({ workers = 1 })
    run = world:run({ "doctor" }, { env = { "MOONFLEET_PEERS=" .. node.address } })
    assert.equal(0, run.code)
    assert.is_nil(run.out:find("private node", 1, true))
  end)

  it("has a line and what to do for what is wrong, and its exit code", function()
    local nobody = "127.0.0.1:" .. e2e.free_port()
    local run = world:run({ "doctor", "--peers", nobody })
    assert.same({ 1, "" }, { run.code, run.err })
    assert.matches("\nfail  node          tcp://" .. nobody:gsub("%.", "%%.")
      .. ": connection refused.*\n +%-> start moonfleet serve there", run.out)
    run = world:run({ "doctor", "--peers", "192.0.2.1" })
    assert.equal(1, run.code)
    assert.matches("\nfail  nodes         192%.0%.2%.1:5440: reachable only with %-%-tls DIR or "
      .. "%-%-ssh\n +%-> give %-%-tls with the folder of a driver's keys", run.out)
    run = world:run({ "doctor", "--discover", "file:" .. world:path("none") })
    assert.equal(1, run.code)
    assert.matches("\nfail  discovery     cannot read the list of nodes ", run.out)
  end)

  it("gives objects to programs", function()
    local run = world:run({ "doctor", "--json", "--peers", "127.0.0.1:1" })
    assert.same({ 1, "" }, { run.code, run.err })
    local list = assert(json.decode(run.out))
    assert.same({ check = "nodes", status = "fail", detail = "none of 1 can be used" },
      list[#list - 1])
    assert.is_string(list[#list].fix)
  end)
end)
