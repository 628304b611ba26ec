-- SPDX-License-Identifier: MIT
-- A terminal for stdout and stderr alike: rows, the progress and what jobs print share it, and
-- none of them spoils another's line.

local e2e = require("spec.support.e2e")

local JOB = [[
local fleet = require("fleet")
return {
  map = function(item)
    fleet.sleep(0.15)
    if item:find("[02468]$") then print("printed " .. item) end
    return item
  end,
  options = { concurrency = 1 },
}
]]

-- The lines that a terminal shows in the end, each as often as it is there.
local function screen(bytes)
  local lines = {}
  for line in bytes:gmatch("([^\n]*)\n") do
    local text = line:gsub("\r$", ""):gsub("^.*\r\27%[K", "") -- back, and wiped out
    lines[text] = (lines[text] or 0) + 1
  end
  return lines
end

describe("on a terminal", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  -- util-linux: runs a command with a terminal of its own
  local function run(words)
    local command = table.concat({ e2e.program, table.unpack(words) }, " ")
    return world:start({ "script", "-qec", command, "/dev/null" }):wait()
  end

  it("rows, progress and prints have lines of their own", function()
    local items = {}
    for i = 1, 24 do items[i] = "i" .. i end
    local got = run({ "run", world:write("job.lua", JOB), world:items(items) })
    assert.equal(0, got.code)
    assert.matches("%[#+%-+%]  %d+/24", got.out)
    local shown = screen(got.out)
    for i, item in ipairs(items) do
      assert.equal(1, shown[('{"item":"%s","value":"%s"}'):format(item, item)])
      assert.equal(i % 2 == 0 and 1 or nil, shown["[local] printed " .. item])
      shown[('{"item":"%s","value":"%s"}'):format(item, item)] = nil
      shown["[local] printed " .. item] = nil
    end
    local rest = next(shown)
    assert.matches("^24 items in .*: 24 ok, 0 failed$", rest)
    assert.is_nil(next(shown, rest))
    assert.matches("failed\r\n$", got.out) -- and the progress does not come back
  end)
end)
