-- SPDX-License-Identifier: MIT
-- A node on an instance that a fake metadata service plays.
-- Patient: a notice is looked for every 5 s.

local aws = require("spec.support.aws")
local e2e = require("spec.support.e2e")
local json = require("fleet.json")

describe("a node on an EC2 instance", function()
  local world, imds
  before_each(function()
    world = e2e.new()
    imds = aws.imds(world)
  end)
  after_each(function() world:close() end)

  local function node(mode, flags)
    return world:node({
      workers = 1, flags = flags or { "--discover", "ec2" },
      env = { ("AWS_EC2_METADATA_SERVICE_ENDPOINT=%s/%s"):format(imds.url, mode) },
    })
  end

  local function nodes_of(n, release)
    return json.decode(world:run({ "nodes", "--json", "--peers", n.address, "--release", release })
      .out)
  end

  it("has the release of its tag, and tells its zone", function()
    local n = node("calm")
    local row = nodes_of(n, "abc123")[1]
    assert.same({ "ready", "abc123", "eu-west-1b" }, { row.state, row.release, row.zone })
    n = node("calm", { "--discover", "ec2", "--release", "other" })
    assert.equal("other", nodes_of(n, "other")[1].release)
  end)

  it("finishes what it has and leaves when a Spot notice comes", function()
    local n = node("calm")
    local job = world:write("job.lua", [[
      local fleet = require("fleet")
      return { map = function(x) fleet.sleep(15) return x end }
    ]])
    local run = world:program({ "run", "--peers", n.address, "--release", "abc123", "--items", job,
      "1", "2" })
    e2e.wait_until("the items to run", function()
      return nodes_of(n, "abc123")[1].running == 2
    end)
    imds.notice()
    e2e.wait_until("the notice", function()
      return n:err():find('notice; draining" why="Spot interruption: terminate', 1, true)
    end)
    assert.equal("draining", nodes_of(n, "abc123")[1].state)
    local done = run:wait()
    assert.same({ 0, 2 }, { done.code, #e2e.lines(done.out) })
    assert.same({ code = 0 }, { code = n:wait().code })
    for key in pairs(imds.counts()) do -- version 2 only
      assert.is_truthy(key:find("^GET /calm/latest/meta%-data/")
        or key == "PUT /calm/latest/api/token", key)
    end
  end)

  it("serves all the same when it cannot read what it is", function()
    local n = node("forbidden", { "--discover", "ec2", "--release", "r" })
    local row = nodes_of(n, "r")[1]
    assert.same({ "ready", "r" }, { row.state, row.release })
    assert.is_nil(row.zone)
    assert.matches("cannot determine which EC2 instance this is", n:err(), 1, true)
    e2e.wait_until("the monitor's warning", function()
      return n:err():find("cannot read the termination notices of this instance", 1, true)
    end)
    n:kill("TERM")
    assert.equal(0, n:wait().code)
  end)

  it("does not start without a release", function()
    local run = world:run({ "serve", "--listen", "127.0.0.1:" .. e2e.free_port(), "--discover",
      "ec2" }, { env = { ("AWS_EC2_METADATA_SERVICE_ENDPOINT=%s/forbidden"):format(imds.url) } })
    assert.equal(2, run.code)
    assert.matches("^moonfleet: the release is unknown: give %-%-release", run.err)
    assert.equal(1, #e2e.lines(run.err))
  end)
end)
