-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local file = require("host.file")
local fleet_keys = require("spec.support.fleet_keys")
local staging = require("fleet.keys.staging")

describe("staging", function()
  local world, folder
  before_each(function() world, folder = fleet_keys.folder() end)
  after_each(function() world:close() end)

  local function names()
    local list = file.list(folder)
    if list then table.sort(list) end
    return list
  end

  -- Opens a stage and puts the file "a", and the folder "f" with the file "b", into it.
  local function filled()
    local stage = assert(staging.open(folder))
    assert(stage:write("a", "1"))
    assert(stage:make_folder("f"))
    assert(stage:write("f/b", "2"))
    return stage
  end

  it("gives files their names when all are written", function()
    local stage = filled()
    assert.same({ ".keygen" }, names())
    assert(stage:publish({ "a", "f" }))
    assert.same({ ".keygen", "a", "f" }, names())
    stage:close()
    stage:close()
    assert.same({ "a", "f" }, names())
    assert.same({ "1", "2" }, { e2e.read(folder .. "/a"), e2e.read(folder .. "/f/b") })
  end)

  it("removes what has not got its name, and a folder that it made", function()
    local stage = filled()
    stage:close()
    assert.is_nil(names())
    assert(file.make_folder(folder))
    stage = assert(staging.open(folder))
    assert(stage:write("a", "1"))
    stage:close()
    assert.same({}, names())
  end)

  it("takes all names back when one is not free", function()
    local stage = filled()
    assert(stage:write("b", "3"))
    assert(file.create(folder .. "/b", "old"))
    local ok, err = stage:publish({ "a", "f", "b" })
    assert.is_nil(ok)
    assert.same({ "output", ("cannot make '%s/b': File exists"):format(folder) },
      { err.kind, err.message })
    stage:close()
    assert.same({ "b" }, names())
    assert.equal("old", e2e.read(folder .. "/b"))
  end)

  it("lets one at a time change a folder", function()
    local stage = assert(staging.open(folder))
    local other, err = staging.open(folder)
    assert.is_nil(other)
    assert.equal("output", err.kind)
    assert.matches(folder .. "/.keygen exists: another keygen is at work there, or one was "
      .. "interrupted", err.message, 1, true)
    stage:close()
    staging.open(folder):close()
  end)

  it("replaces a file on request", function()
    assert(file.make_folder(folder))
    assert(file.create(folder .. "/a", "old"))
    local stage = assert(staging.open(folder))
    assert(stage:write("new", "new"))
    assert(stage:replace("new", folder .. "/a"))
    stage:close()
    assert.same({ "a" }, names())
    assert.equal("new", e2e.read(folder .. "/a"))
    stage = assert(staging.open(folder))
    assert(stage:write("new", "new"))
    local ok, err = stage:replace("new", folder .. "/none/a")
    assert.is_nil(ok)
    assert.matches(("cannot replace '%s/none/a': "):format(folder), err.message, 1, true)
    stage:close()
    assert.same({ "a" }, names())
  end)

  it("says why it cannot begin", function()
    local stage, err = staging.open(folder .. "/a/b")
    assert.is_nil(stage)
    assert.equal(("cannot make the folder '%s/a/b': No such file or directory"):format(folder),
      err.message)
    world:write("file", "")
    stage, err = staging.open(world:path("file"))
    assert.is_nil(stage)
    assert.equal(("cannot make the folder '%s/.keygen': Not a directory"):format(
      world:path("file")), err.message)
  end)
end)
