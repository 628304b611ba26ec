-- SPDX-License-Identifier: MIT

local e2e = require("spec.support.e2e")
local process = require("host.process")
local sys = require("host.sys")
local task = require("host.task")

local function output(p)
  local parts = {}
  for bytes in function() return p:read() end do parts[#parts + 1] = bytes end
  return table.concat(parts)
end

local function ended(p)
  local code, signal
  e2e.wait_until("its end", function()
    code, signal = p:ended()
    return code or signal
  end)
  return code, signal
end

local function shell(text) return assert(process.start({ "sh", "-c", text })) end

describe("a process", function()
  it("is run without a shell, and its output read", function()
    local p = assert(process.start({ "printf", "%s|", "a b", "$HOME", "*", "" }))
    assert.equal("a b|$HOME|*||", output(p))
    assert.equal(0, ended(p))
    assert.equal(0, (p:ended()))
    assert.is_nil(p:read())
  end)

  it("may write much, and has an empty input", function()
    local p = shell("cat; head -c 300000 /dev/zero; exit 3")
    assert.equal(300000, #output(p))
    assert.equal(3, ended(p))
  end)

  it("has no descriptors of ours, and takes signals", function()
    -- 3 is the folder that ls reads
    assert.equal("0\n1\n2\n3\n", output(assert(process.start({ "ls", "/proc/self/fd" }))))
    local p = shell("kill -PIPE $$; echo survived")
    assert.equal("", output(p))
    assert.same({ n = 2, nil, 13 }, table.pack(ended(p)))
  end)

  it("that is not there is an error", function()
    local p, err = process.start({ "no-such-program-here" })
    assert.is_nil(p)
    assert.equal("system", err.kind)
    assert.matches("cannot run 'no%-such%-program%-here': No such file", err.message)
  end)

  it("is killed with what it started; who reads has reached the end", function()
    local p = shell("sleep 100 & echo $!; wait")
    local child = math.tointeger(tonumber(p:read()))
    task.spawn(function()
      task.sleep(0.05)
      p:kill()
      p:kill()
    end)
    local start = sys.now()
    assert.is_nil(p:read())
    assert.is_true(sys.now() - start < 20)
    assert.same({ n = 2, nil, 9 }, table.pack(p:ended()))
    e2e.wait_until("the child's end", function() return not e2e.alive(child) end)
  end)

  it("ends with its reader", function()
    local pid
    do
      local p = shell("echo $$; sleep 100")
      pid = math.tointeger(tonumber(p:read()))
    end
    collectgarbage()
    collectgarbage()
    e2e.wait_until("its end", function() return not e2e.alive(pid) end)
  end)

  it("is refused words that are none", function()
    for _, argv in ipairs({ {}, { 1 }, { "a\0b" }, { "sh", {} } }) do
      assert.is_false(pcall(process.start, argv))
    end
  end)
end)
