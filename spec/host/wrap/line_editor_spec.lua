-- SPDX-License-Identifier: MIT
-- host.line_editor as far as it goes without a terminal; spec/e2e/terminal_repl_spec.lua has one.

local e2e = require("spec.support.e2e")

describe("line_editor.open", function()
  it("needs a terminal", function()
    local world = e2e.new()
    local script = world:write("open.lua", [[
      local editor, err = require("host.line_editor").open()
      print(editor, err.kind, err.message)
    ]])
    local run = world:run({ "run", script })
    assert.equal("nil\tinput\tstdin or stdout is not a terminal\n", run.out)
    world:close()
  end)
end)
