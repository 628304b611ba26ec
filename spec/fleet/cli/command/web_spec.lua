-- SPDX-License-Identifier: MIT

local e2e = require("spec.support.e2e")
local web_page = require("spec.support.web_page")

describe("moonfleet web", function()
  local world, page
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("says what is wrong with its flags", function()
    page = web_page.start(world)
    local function refusal(...)
      local run = world:run({ "web", "--state", world:path("other"), ... })
      assert.equal(2, run.code)
      return run.err
    end
    assert.matches("another program does", refusal("--listen", "127.0.0.1:" .. page.port))
    assert.matches("can be reached from other machines", refusal("--listen", "0.0.0.0:8440"))
    local config = world:write("config.lua", 'return { listen = "tcp://0.0.0.0:5440" }')
    assert.matches("configured listen takes an address such as", refusal("--config", config))
    assert.matches("takes an address such as 127.0.0.1:8440", refusal("--listen", "x"))
    local taken = world:run({ "web", "--listen", "127.0.0.1:" .. e2e.free_port(), "--state",
      world:path("state") })
    assert.same(2, taken.code)
    assert.matches("another moonfleet web keeps its runs in", taken.err)
  end)
end)
