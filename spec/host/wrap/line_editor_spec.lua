-- SPDX-License-Identifier: MIT
-- host.edit as far as it goes without a terminal; spec/e2e/terminal_repl_spec.lua has one.

local e2e = require("spec.support.e2e")

describe("edit.open", function()
  it("needs a terminal", function()
    local world = e2e.new()
    local script = world:write("open.lua", [[
      local editor, err = require("host.edit").open()
      print(editor, err.kind, err.message)
    ]])
    local run = world:run({ "run", script })
    assert.equal("nil\tinput\tstdin or stdout is no terminal\n", run.out)
    world:close()
  end)
end)
