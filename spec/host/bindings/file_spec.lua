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

describe("files that appear whole or not at all", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function mode(path) return ("%o"):format(file.about(path).mode) end

  -- Runs a script of driver code, within the words of another command.
  local function run(code, within)
    local script = world:write("script.lua", "local file = require('host.file')\n" .. code)
    return world:run({ "run", script, world.dir }, { within = within })
  end

  it("have their modes whatever the umask", function()
    local result = run([[
      assert(file.make_folder(arg[1] .. "/f"))
      assert(file.create(arg[1] .. "/f/x", "content"))
    ]], { "sh", "-c", 'umask 0777 && exec "$@"', "sh" })
    assert.same({ 0, "" }, { result.code, result.err })
    assert.equal("700", mode(world:path("f")))
    assert.equal("600", mode(world:path("f/x")))
    assert.equal("content", e2e.read(world:path("f/x")))
    assert.equal("file", file.about(world:path("f/x")).type)
  end)

  it("replace nothing", function()
    local path = world:write("x", "old")
    local ok, err = file.create(path, "new")
    assert.is_nil(ok)
    assert.same({ "output", "cannot make '" .. path .. "': File exists" },
      { err.kind, err.message })
    ok, err = file.make_folder(path)
    assert.is_nil(ok)
    assert.equal("cannot make the folder '" .. path .. "': File exists", err.message)
    assert(file.make_folder(world:path("full")))
    assert(file.create(world:path("full/y"), "y"))
    assert(file.make_folder(world:path("f")))
    for _, from in ipairs({ world:write("z", "new"), world:path("f") }) do
      for _, to in ipairs({ path, world:path("full") }) do
        ok, err = file.move(from, to)
        assert.is_nil(ok)
        assert.equal("cannot make '" .. to .. "': File exists", err.message)
      end
    end
    assert.equal("old", e2e.read(path))
    assert.equal("y", e2e.read(world:path("full/y")))
  end)

  it("move where the file system cannot rename without replacing", function()
    local result = run([[
      local dir = arg[1]
      assert(file.create(dir .. "/a", "a"))
      assert(file.move(dir .. "/a", dir .. "/b"))
      assert(not file.about(dir .. "/a"))
      assert(file.make_folder(dir .. "/f"))
      assert(file.create(dir .. "/f/x", "x"))
      assert(file.move(dir .. "/f", dir .. "/g"))
      assert(file.create(dir .. "/c", "c"))
      assert(file.make_folder(dir .. "/h"))
      for _, pair in ipairs({ { "c", "b" }, { "c", "g" }, { "h", "g" }, { "h", "b" } }) do
        print(file.move(dir .. "/" .. pair[1], dir .. "/" .. pair[2]))
      end
    ]], e2e.strace("-e", "inject=renameat2:error=EINVAL"))
    assert.same({ 0, "" }, { result.code, result.err })
    local said = e2e.lines(result.out)
    for i, reason in ipairs({ "File exists", "File exists", "Directory not empty",
      "Not a directory" }) do
      assert.matches(": " .. reason, said[i], 1, true)
    end
    assert.equal("a", e2e.read(world:path("b")))
    assert.equal("x", e2e.read(world:path("g/x")))
  end)

  it("leave nothing when they cannot be written", function()
    for _, case in ipairs({
      { { "prlimit", "--fsize=100" }, "File too large" },
      { e2e.strace("-e", "inject=fsync:error=ENOSPC"),
        "No space left on device" },
      { e2e.strace("-e", "inject=fchmod:error=EPERM"),
        "Operation not permitted" },
    }) do
      local result = run([[print(file.create(arg[1] .. "/x", ("x"):rep(101)))]], case[1])
      assert.matches("cannot write '" .. world:path("x") .. "': " .. case[2], result.out, 1, true)
      assert.is_nil(file.about(world:path("x")))
    end
  end)

  it("are listed", function()
    assert.is_true(file.sync_folder(world.dir))
    assert.same({}, file.list(world.dir))
    world:write("a b", "")
    world:write(".c", "")
    local names = file.list(world.dir)
    table.sort(names)
    assert.same({ ".c", "a b" }, names)
    local ok, err = file.list(world:path("none"))
    assert.is_nil(ok)
    assert.same({ "input", "cannot read the folder: No such file or directory" },
      { err.kind, err.message })
    ok, err = file.sync_folder(world:path("none"))
    assert.is_nil(ok)
    assert.matches("No such file or directory", err.message)
  end)
end)
