-- SPDX-License-Identifier: MIT
local globals = require("fleet.ship.globals")
local sandbox = require("fleet.worker.sandbox")

describe("fleet.ship.globals", function()
  it("names what is Lua's own", function()
    assert.equal("print", globals.name_of(print))
    assert.equal("table.insert", globals.name_of(table.insert))
    assert.equal("string", globals.name_of(string))
    assert.equal("_G", globals.name_of(_G))
  end)

  it("names nothing that a script made, nor what no sandbox has", function()
    assert.is_nil(globals.name_of(function() end))
    assert.is_nil(globals.name_of({}))
    assert.is_nil(globals.name_of(os.exit))
    assert.is_nil(globals.name_of(nil))
  end)

  it("finds a named value again in a sandbox, as it was when that was made", function()
    local env = sandbox.new(print)
    local insert, own_print = env.table.insert, env.print
    env.table.insert, env.print = nil, error
    assert.equal(insert, globals.value_of(env, "table.insert"))
    assert.equal(own_print, globals.value_of(env, "print"))
    assert.equal(env, globals.value_of(env, "_G"))
    assert.is_nil(globals.value_of(env, "os.exit"))
    assert.equal("print", globals.name_of(own_print))
  end)

  it("has a function go by the name of the one it stands in for", function()
    local function own() end
    globals.stand_in(own, "print")
    assert.equal("print", globals.name_of(own))
  end)

  it("tells globals of Lua from those of a script, also where a sandbox lacks them", function()
    for _, name in ipairs({ "print", "table", "_G", "dofile", "loadfile", "io" }) do
      assert.is_true(globals.is_standard(name))
    end
    assert.is_false(globals.is_standard("job"))
    assert.is_false(globals.is_standard("insert"))
  end)
end)
