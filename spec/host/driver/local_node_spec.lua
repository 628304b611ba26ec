-- SPDX-License-Identifier: MIT
-- The driver's private node (host/driver/local_node.c).

local e2e = require("spec.support.e2e")
local lfs = require("lfs")

describe("the private node", function()
  local world

  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function folders(dir)
    local list = {}
    for name in lfs.dir(dir) do
      if name:find("^moonfleet%-") then list[#list + 1] = name end
    end
    return list
  end

  it("needs no folder", function()
    local job = world:write("job.lua", "return { map = function(x) return x end }")
    for _, env in ipairs({
      { "XDG_RUNTIME_DIR=/proc", "TMPDIR=" .. world.dir }, { "XDG_RUNTIME_DIR=", "TMPDIR=/proc" },
    }) do
      local run = world:run({ "run", job, "--items", "1" }, { env = env })
      assert.equal(0, run.code, run.err)
      assert.equal('{"item":"1","value":"1"}\n', run.out)
    end
    assert.same({}, folders(world.dir))
  end)
end)
