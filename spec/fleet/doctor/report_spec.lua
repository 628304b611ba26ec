-- SPDX-License-Identifier: MIT
local report = require("fleet.doctor.report")

describe("fleet.doctor.report", function()
  it("keeps what was found, in order, and tells at once", function()
    local told = {}
    local found = report.new(function(finding) told[#told + 1] = finding.check end)
    found:ok("a", "fine")
    found:warn("b", "hm", "look")
    found:fail("c", "bad")
    found:fail("d", "worse", "mend it")
    assert.same({ "a", "b", "c", "d" }, told)
    assert.same({ check = "b", status = "warn", detail = "hm", fix = "look" }, found.findings[2])
    assert.same({ 1, 1, 2 }, { found:count("ok"), found:count("warn"), found:count("fail") })
  end)
end)
