-- SPDX-License-Identifier: MIT
-- host.edit as far as it goes without a terminal; spec/e2e/terminal_repl_spec.lua has one.

local e2e = require("spec.support.e2e")
local edit = require("host.edit")
local lfs = require("lfs")

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

describe("edit.write_private", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("makes folders and a file for the owner alone, and appends", function()
    local path = world:path("a/b/file")
    assert.is_true(edit.write_private(path, "one\n", "a"))
    assert.is_true(edit.write_private(path, "two\n", "a"))
    assert.equal("one\ntwo\n", e2e.read(path))
    assert.is_true(edit.write_private(path, "new\n", "w"))
    assert.equal("new\n", e2e.read(path))
    assert.equal("rw-------", lfs.attributes(path, "permissions"))
    assert.equal("rwx------", lfs.attributes(world:path("a/b"), "permissions"))
  end)

  it("says what is wrong", function()
    local path = world:write("file", "") .. "/below"
    local ok, err = edit.write_private(path, "x", "a")
    assert.is_nil(ok)
    assert.equal("output", err.kind)
    assert.matches("Not a directory", err.message)
    assert.has_error(function() edit.write_private(path, "x", "r") end)
  end)
end)
