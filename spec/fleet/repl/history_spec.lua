-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local history = require("fleet.repl.history")
local lfs = require("lfs")

describe("history", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("keeps entries from one session to the next, in a file of the owner alone", function()
    local path = world:path("new/folder/history")
    local first = history.open(path)
    local entries = { "1 + 1", "for i = 1, 2 do\n  print(i)\nend", [["\n" .. '\\']], "\\" }
    for _, entry in ipairs(entries) do first:add(entry) end
    assert.is_nil(first.error)
    assert.same(entries, history.open(path).entries)
    assert.equal("rw-------", lfs.attributes(path, "permissions"))
    assert.equal("rwx------", lfs.attributes(world:path("new"), "permissions"))
  end)

  it("keeps those of sessions at the same time", function()
    local path = world:path("history")
    local one, two = history.open(path), history.open(path)
    one:add("a")
    two:add("b")
    one:add("c")
    assert.same({ "a", "b", "c" }, history.open(path).entries)
  end)

  it("leaves out what is blank, too long, or the same again", function()
    local h = history.open(world:path("history"))
    for _, entry in ipairs({ "", "  \n ", "a", "a", ("x"):rep(70000), "b", "a" }) do
      h:add(entry)
    end
    assert.same({ "a", "b", "a" }, h.entries)
  end)

  it("is bounded, in memory and in the file", function()
    local path = world:path("history")
    local h = history.open(path, 3)
    for i = 1, 10 do h:add("entry " .. i) end
    assert.same({ "entry 8", "entry 9", "entry 10" }, h.entries)
    assert.equal(10, #e2e.lines(e2e.read(path)))
    assert.same(h.entries, history.open(path, 3).entries)
    assert.equal(3, #e2e.lines(e2e.read(path)))
    assert.equal("rw-------", lfs.attributes(path, "permissions"))
    assert.is_false(e2e.exists(path .. ".new"))
  end)

  it("goes on in memory when the file cannot be written", function()
    local file = world:write("file", "")
    local h = history.open(file .. "/history")
    h:add("a")
    h:add("b")
    assert.same({ "a", "b" }, h.entries)
    assert.equal("output", h.error.kind)
    local none = history.open(nil)
    none:add("a")
    assert.same({ { "a" }, nil }, { none.entries, none.error })
  end)

  it("finds what was typed, newest first", function()
    local h = history.open(nil)
    for _, entry in ipairs({ "a.b", "axb", "a.b again" }) do h:add(entry) end
    assert.equal(3, h:find("a.b", 4))
    assert.equal(1, h:find("a.b", 3))
    assert.is_nil(h:find("a.b", 1))
    assert.is_nil(h:find("nothing", 4))
  end)

  it("is where the environment says", function()
    local function path(variables)
      return history.default_path(function(name) return variables[name] end)
    end
    assert.equal("/x", path({ MOONFLEET_HISTORY = "/x", HOME = "/h" }))
    assert.is_nil(path({ MOONFLEET_HISTORY = "", HOME = "/h" }))
    assert.equal("/s/moonfleet/history", path({ XDG_STATE_HOME = "/s", HOME = "/h" }))
    assert.equal("/h/.local/state/moonfleet/history", path({ XDG_STATE_HOME = "s", HOME = "/h" }))
    assert.is_nil(path({}))
  end)
end)
