-- SPDX-License-Identifier: MIT
-- packer/provision.sh on a copy of this machine's files, with stand-ins for services and packages:
-- what it leaves in an image, and that whatever fails fails the build. The rehearsal runs it for
-- real.

local e2e = require("spec.support.e2e")

describe("packer/provision.sh", function()
  local world

  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function provision(pending, fault)
    if os.execute("[ $(id -u) = 0 ]") ~= true then pending("only root has machines of its own") end
    local dir = world:path("machine")
    assert(os.execute("mkdir " .. dir))
    return world:start({ "spec/deploy/machine", dir, fault }):wait()
  end

  it("configures the node, and leaves nothing by which copies could be mistaken", function()
    local run = provision(pending)
    assert.equal(0, run.code, run.out .. run.err)
    assert.is_nil(run.out:find("left ", 1, true), run.out)
    assert.matches("release r1\nMOONFLEET_LISTEN=tcp://0.0.0.0:5440\nMOONFLEET_TLS=ssm:\n"
      .. "MOONFLEET_DISCOVER=ec2\n$", run.out)
  end)

  for fault, message in pairs({
    digest = "the package that arrived has SHA-256",
    install = "provision: installs the package",
    disabled = "the package has not enabled moonfleet.service",
    start = "the node has not started; its log is above",
    work = "the node has started, and does not work",
    stop = "the node has not ended as it should: signal",
    history = "/home/ec2-user/.bash_history",
  }) do
    it("fails when there is a fault: " .. fault, function()
      local run = provision(pending, fault)
      assert.equal(1, run.code, run.out .. run.err)
      assert.is_truthy((run.out .. run.err):find(message, 1, true), run.out .. run.err)
      assert.is_nil(run.out:find("provision: done", 1, true))
    end)
  end
end)
