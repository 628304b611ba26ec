-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local fleet_keys = require("spec.support.fleet_keys")
local keys = require("fleet.doctor.keys")
local report = require("fleet.doctor.report")
local tls = require("host.tls")

describe("fleet.doctor.keys", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function findings(dir)
    local found, lines = report.new(), {}
    keys.check(found, assert(tls.load(dir, "doctor")))
    for i, each in ipairs(found.findings) do
      lines[i] = ("%s: %s"):format(each.status, each.detail)
    end
    return lines
  end

  it("says who we are, and until when", function()
    local made = fleet_keys.new(world)
    local lines = findings(made.driver)
    assert.equal(("ok: %s/key.pem (0600) is readable by its owner alone"):format(made.driver),
      lines[1])
    assert.matches("^ok: driver 'alice' of fleet search, which may submit jobs; serial number %x+, "
      .. "until 20%d%d%-%d%d%-%d%d %d%d:%d%d UTC %(36[45] days%)$", lines[2])
    assert.equal(2, #lines)
    assert.matches("^ok: observer 'bob' of fleet search, which may look, but not submit",
      findings(made:pair("observer", "bob"))[2])
  end)

  it("warns of files that others can change", function()
    local made = fleet_keys.new(world)
    assert(os.execute(("chmod 777 %s && chmod 664 %s/ca.crt"):format(made.driver, made.driver)))
    assert.equal("warn: others can change the folder (0777), ca.crt (0664)",
      findings(made.driver)[1])
  end)

  it("warns of what expires soon", function()
    local made = fleet_keys.new(world)
    local dir = made:pair("driver", "carol", 29)
    assert.matches("^warn: .*/cert.pem expires on 20%d%d.* UTC, in 2[89] days", findings(dir)[3])
  end)
end)
