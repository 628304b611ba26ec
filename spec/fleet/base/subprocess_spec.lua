-- SPDX-License-Identifier: MIT
local process = require("host.process")
local subprocess = require("fleet.base.subprocess")
local sys = require("host.sys")

describe("fleet.base.subprocess", function()
  local function start(script) return assert(process.start({ "/bin/sh", "-c", script })) end

  it("reads all of the output, up to a limit", function()
    assert.equal("a\nb\n", subprocess.read_all(start("echo a; echo b")))
    assert.equal("", subprocess.read_all(start("true")))
    assert.equal(5, #subprocess.read_all(start("printf 12345"), 5))
    assert.is_nil(subprocess.read_all(start("printf 123456"), 5))
  end)

  it("waits for the end, but not longer than it is told", function()
    assert.same({ 3 }, { subprocess.wait(start("sleep 0.05; exit 3")) })
    assert.same({ nil, 9 }, { subprocess.wait(start("kill -9 $$"), 30) })
    local p, began = start("exec sleep 60"), sys.now()
    assert.same({}, { subprocess.wait(p, 0.05) })
    assert.is_true(sys.now() - began >= 0.05)
    p:kill()
    assert.same({ nil, 9 }, { subprocess.wait(p) })
  end)

  it("finds the last words", function()
    for output, last in pairs({ ["a\nb\n"] = "b", ["a\r\n \t\n\n"] = "a", a = "a" }) do
      assert.equal(last, subprocess.last_line(output))
    end
    assert.is_nil(subprocess.last_line(" \n\n"))
  end)
end)
