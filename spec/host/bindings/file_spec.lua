-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local file = require("host.file")
local lfs = require("lfs")

describe("host.file", function()
  local path
  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  local function content() return e2e.read(path) end

  it("makes a file, appends and reads anywhere", function()
    os.remove(path)
    local f = assert(file.open(path))
    assert.equal(0, f:size())
    assert.is_true(f:append("one\0"))
    assert.equal("on", f:read(0, 2))
    assert.is_true(f:append("two"))
    assert.equal("one\0two", content())
    assert.equal(7, f:size())
    assert.equal("\0two", f:read(3, 100))
    assert.equal("", f:read(7, 1))
    assert.equal("", f:read(0, 0))
    assert.is_true(f:sync())
    f:close()
    f:close()
  end)

  it("keeps what was there, and cuts it on request", function()
    local f = assert(file.open(path))
    assert(f:append("older"))
    f:close()
    f = assert(file.open(path))
    assert(f:append(" newer"))
    assert.is_true(f:truncate(3))
    assert(f:append("!"))
    assert.equal("old!", content())
    f:close()
  end)

  it("gives the lock to one at a time", function()
    local one, two = assert(file.open(path)), assert(file.open(path))
    assert.is_true(one:lock())
    assert.is_true(one:lock())
    assert.is_false(two:lock())
    one:close()
    assert.is_true(two:lock())
    two:close()
  end)

  it("says what the matter is", function()
    local f, err = file.open(path .. "/x")
    assert.is_nil(f)
    assert.same({ "output", "cannot open it: Not a directory" }, { err.kind, err.message })
    f = assert(file.open("/dev/full"))
    local ok
    ok, err = f:append("x")
    assert.is_nil(ok)
    assert.same({ "output", "cannot write to it: No space left on device" },
      { err.kind, err.message })
    assert.is_true(f:sync()) -- nothing to bring to a disk
    f:close()
  end)

  it("raises on misuse", function()
    local f = assert(file.open(path))
    assert.has_error(function() f:read(-1, 1) end)
    assert.has_error(function() f:read(0, -1) end)
    assert.has_error(function() f:truncate(-1) end)
    f:close()
    for _, name in ipairs({ "lock", "size", "sync" }) do
      assert.error_matches(function() f[name](f) end, "the file is closed")
    end
  end)
end)

describe("file.write_private", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("makes folders and a file for the owner alone, and appends", function()
    local path = world:path("a/b/file")
    assert.is_true(file.write_private(path, "one\n", "a"))
    assert.is_true(file.write_private(path, "two\n", "a"))
    assert.equal("one\ntwo\n", e2e.read(path))
    assert.is_true(file.write_private(path, "new\n", "w"))
    assert.equal("new\n", e2e.read(path))
    assert.equal("rw-------", lfs.attributes(path, "permissions"))
    assert.equal("rwx------", lfs.attributes(world:path("a/b"), "permissions"))
  end)

  it("says what is wrong", function()
    local path = world:write("file", "") .. "/below"
    local ok, err = file.write_private(path, "x", "a")
    assert.is_nil(ok)
    assert.equal("output", err.kind)
    assert.matches("Not a directory", err.message)
    assert.has_error(function() file.write_private(path, "x", "r") end)
  end)
end)
