-- SPDX-License-Identifier: MIT
local file = require("host.file")

describe("host.file", function()
  local path
  before_each(function() path = os.tmpname() end)
  after_each(function() os.remove(path) end)

  local function content()
    local f = assert(io.open(path, "rb"))
    local bytes = f:read("a")
    f:close()
    return bytes
  end

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
