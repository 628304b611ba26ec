-- SPDX-License-Identifier: MIT
local machine = require("fleet.doctor.machine")
local report = require("fleet.doctor.report")

describe("fleet.doctor.machine", function()
  local function check(flags, limits)
    local found = report.new()
    machine.check(found, flags, function(path)
      return path == "/proc/self/limits" and limits or nil
    end)
    local lines = {}
    for i, f in ipairs(found.findings) do
      lines[i] = ("%s %s: %s%s"):format(f.status, f.check, f.detail,
        f.fix and " -> " .. f.fix or "")
    end
    return lines
  end

  it("says which program and release this is", function()
    local lines = check({ release = "r", release_source = "--release" })
    assert.matches("^ok program: moonfleet %d+%.%d+%.%d+, %d+ cores$", lines[1])
    assert.equal("ok release: r, from --release", lines[2])
    assert.matches("workers", lines[3])
    assert.equal(3, #lines)
  end)

  it("says when nobody knows the release", function()
    assert.equal("fail release: which?", check({ release_error = { message = "which?" } })[2])
  end)

  it("warns of few open files", function()
    local function line(soft, hard)
      return check({ release = "r", release_source = "f" },
        ("Limit  Soft Limit  Hard Limit\nMax open files            %s   %s   files\n"):format(soft,
        hard))[3]
    end
    assert.equal("warn open files: at most 1024 in a process -> raise it: ulimit -n 524288, or "
      .. "LimitNOFILE= of the service", line(1024, 524288))
    assert.equal("ok open files: at most 65536 in a process", line(65536, 65536))
    assert.equal("ok open files: at most unlimited in a process", line("unlimited", "unlimited"))
  end)
end)
