-- SPDX-License-Identifier: MIT
-- Files that results are written to: one run at a time, never over what is read, and replaced as
-- they were.
local e2e = require("spec.support.e2e")
local lfs = require("lfs")

describe("the file of --output", function()
  local world, echo, out
  before_each(function()
    world = e2e.new()
    echo = world:write("echo.lua", "return { map = function(item) return item end }")
    out = world:path("out")
  end)
  after_each(function() world:close() end)

  local function items_in(path)
    local list = {}
    for i, row in ipairs(e2e.results(assert(e2e.read(path)))) do list[i] = row.item end
    return list
  end

  local function run(...) return world:run({ "run", echo, ... }) end

  local function refused(pattern, ...)
    local done = run(...)
    assert.equal(2, done.code, done.err)
    assert.equal("", done.out)
    assert.matches("^moonfleet: [^\n]+\n$", done.err)
    assert.matches(pattern, done.err, 1, true)
  end

  describe("with two runs at a time", function()
    local function begin(words, stdout)
      local program = world:program(words, { pipe = true, stdout = stdout })
      program.stdin:write("first\n")
      return program
    end

    local function started(path)
      e2e.wait_until("the first result", function() return #(e2e.read(path) or "") > 0 end)
    end

    it("is the first one's, and the other is told", function()
      local first = begin({ "run", echo, "--output", out })
      started(out .. ".partial")
      refused("another run is writing '" .. out .. "'; wait for it, or name another file",
        "--items", "second", "--output", out)
      assert(os.execute(("ln -s out %s/link"):format(world.dir)))
      refused("another run is writing", "--items", "third", "--output", world:path("link"))
      first.stdin:close()
      assert.equal(0, first:wait().code)
      assert.same({ "first" }, items_in(out))
      assert.is_false(e2e.exists(out .. ".partial"))
      assert.equal(0, run("--items", "second", "--output", out).code)
      assert.same({ "second" }, items_in(out))
    end)

    it("is free again after one that was killed", function()
      local first = begin({ "run", echo, "--output", out })
      started(out .. ".partial")
      first:kill("KILL")
      first:wait()
      assert.equal(0, run("--items", "second", "--output", out).code)
      assert.same({ "second" }, items_in(out))
    end)

    it("says the same of a dry run, and of one journal", function()
      local first = begin({ "run", echo, "--output", out, "--journal", world:path("j") })
      started(out .. ".partial")
      refused("another run is writing", "--dry-run", "--items", "x", "--output", out)
      refused("another run is using it", "--items", "x", "--journal", world:path("j"))
      first.stdin:close()
      assert.equal(0, first:wait().code)
    end)
  end)

  describe("is refused when it is", function()
    local items
    before_each(function() items = world:items({ "a", "b" }) end)

    local function link(how, from, to)
      assert(os.execute(("ln %s %s %s"):format(how, from, to)))
      return to
    end

    it("the journal, by any name, there already or not", function()
      local journal = world:path("journal")
      refused("--output " .. journal .. " is the same file as --journal", items, "--journal",
        journal, "--output", journal)
      refused("the same file", items, "--journal", journal, "--output", world.dir .. "/./journal")
      assert.is_false(e2e.exists(journal))
      assert.equal(0, run(items, "--journal", journal).code)
      local bytes = e2e.read(journal)
      for _, name in ipairs({
        journal, link("-s", "journal", world:path("soft")), link("", journal, world:path("hard")),
      }) do
        refused("the same file as --journal", items, "--journal", journal, "--resume", "--output",
          name)
      end
      refused(".partial, where --output begins, is the same file", items, "--journal",
        link("", journal, out .. ".partial"), "--resume", "--output", out)
      assert.equal(bytes, e2e.read(journal))
    end)

    it("a file of items, also as stdin or left over from a run", function()
      local partial = world:write("left.partial", "a\n")
      refused("is the same file as the file of items " .. items, items, "--output", items)
      refused("the file of items", items, "--dry-run", "--output",
        link("-s", items, world:path("soft")))
      refused("where --output begins, is the same file as the file of items", partial, "--output",
        world:path("left"))
      local done = world:run({ "run", echo, "--output", items }, { stdin = items })
      assert.equal(2, done.code)
      assert.matches("the same file as stdin", done.err, 1, true)
      assert.same({ "a\nb\n", "a\n" }, { e2e.read(items), e2e.read(partial) })
      refused("--journal " .. items .. " is the same file as", items, "--journal", items)
    end)

    it("the script", function()
      local text = e2e.read(echo)
      refused("is the same file as the job script", "--items", "a", "--output", echo)
      assert.equal(text, e2e.read(echo))
    end)

    it("stdout that is read or is the journal", function()
      local done = world:start({
        "sh", "-c", '"$@" >>' .. items, "-", e2e.program, "run", echo, items,
      }):wait()
      assert.equal(2, done.code)
      assert.matches("stdout is the same file as the file of items", done.err, 1, true)
      assert.equal("a\nb\n", e2e.read(items))
      local journal = world:path("journal")
      done = world:start({
        "sh", "-c", '"$@" >' .. journal, "-", e2e.program, "run", echo, items, "--journal", journal,
      }):wait()
      assert.equal(2, done.code)
    end)
  end)

  it("keeps the mode of the file that it replaces", function()
    for _, mode in ipairs({ "rw-------", "rwxr-x--x", "rw-rw-rw-" }) do
      world:write("out", "older\n")
      local octal = mode:gsub("(.)(.)(.)", function(r, w, x)
        return (r == "r" and 4 or 0) + (w == "w" and 2 or 0) + (x == "x" and 1 or 0)
      end)
      assert(os.execute(("chmod %s %s"):format(octal, out)))
      assert.equal(0, run("--items", "a", "--output", out).code)
      assert.same({ "a" }, items_in(out))
      assert.equal(mode, lfs.attributes(out, "permissions"))
    end
  end)

  it("keeps the owner and the group of that file, where that is allowed", function()
    world:write("out", "older\n")
    if not os.execute("chown 65534:65533 " .. out .. " 2>/dev/null") then
      return pending("not root: no file can be given to another owner")
    end
    assert(os.execute("chmod 0750 " .. out))
    assert.equal(0, run("--items", "a", "--output", out).code)
    local about = lfs.attributes(out)
    assert.same({ 65534, 65533, "rwxr-x---" }, { about.uid, about.gid, about.permissions })
    -- what may not be written is not replaced either, though the folder would allow it
    assert(os.execute(("chmod 0777 %s; chown 0:0 %s"):format(world.dir, out)))
    local words = { "setpriv", "--reuid=65534", "--regid=65533", "--clear-groups" }
    for _, word in ipairs({ e2e.program, "run", echo, "--items", "b", "--output", out }) do
      words[#words + 1] = word
    end
    local done = world:start(words):wait()
    assert.equal(1, done.code)
    assert.equal(("moonfleet: cannot write '%s': Permission denied\n"):format(out), done.err)
    assert.same({ "a" }, items_in(out))
  end)

  it("is what a chain of symbolic links leads to, and the links stay", function()
    assert(os.execute(("mkdir %s/d && cd %s && ln -s one two && ln -s d/file one"):format(world.dir,
      world.dir)))
    local file = world:path("d/file")
    for i = 1, 2 do
      assert.equal(0, run("--items", tostring(i), "--output", world:path("two")).code)
      assert.same({ tostring(i) }, items_in(file))
      assert.equal("link", lfs.symlinkattributes(world:path("two"), "mode"))
      assert.equal("link", lfs.symlinkattributes(world:path("one"), "mode"))
      assert.equal("file", lfs.symlinkattributes(file, "mode"))
    end
  end)

  it("may be a descriptor of the process, which is written on", function()
    local log = world:write("log", "older\n")
    for name, redirection in pairs({
      ["/dev/stdout"] = ">>%s", ["/dev/stderr"] = "2>>%s", ["/dev/fd/7"] = "7>>%s",
    }) do
      world:write("log", "older\n")
      local command = ('"$@" ' .. redirection):format(log)
      local done = world:start({
        "sh", "-c", command, "-", e2e.program, "run", echo, "--items", "a", "--output", name,
      }):wait()
      assert.equal(0, done.code, done.err)
      assert.matches('^older\n{"item":"a","value":"a"}\n', e2e.read(log))
    end
    local done = run("--items", "a", "--output", "/dev/fd/77")
    assert.same({ 1, "moonfleet: cannot write to descriptor 77: it is not open\n" },
      { done.code, done.err })
  end)

  describe("says in one line what is wrong with", function()
    it("a folder, and one in place of FILE.partial", function()
      for _, path in ipairs({ world.dir, out }) do
        if path == out then assert(lfs.mkdir(out .. ".partial")) end
        local done = run("--items", "a", "--output", path)
        assert.equal(1, done.code)
        assert.matches("^moonfleet: cannot write '[^\n]+: Is a directory\n$", done.err)
        done = run("--items", "a", "--output", world:path("no/such"))
        assert.matches("^moonfleet: cannot write '[^\n]+: No such file or directory\n$", done.err)
      end
    end)

    it("FILE.partial that leads elsewhere", function()
      local other = world:write("other", "mine\n")
      assert(os.execute(("ln -s %s %s.partial"):format(other, out)))
      local done = run("--items", "a", "--output", out)
      assert.equal(1, done.code)
      assert.equal(("moonfleet: cannot write '%s.partial': Too many levels of symbolic links\n")
        :format(out), done.err)
      assert.equal("mine\n", e2e.read(other))
    end)

    it("a journal that is a folder, a device or in no folder", function()
      for path, what in pairs({
        [world.dir] = "it is a folder", ["/dev/full"] = "journal '/dev/full'",
        [world:path("no/such")] = "No such file",
      }) do
        local done = run("--items", "a", "--journal", path)
        assert.is_true(done.code == 1 or done.code == 2, done.err)
        assert.matches("^moonfleet: journal '[^\n]+\n$", done.err)
        assert.matches(what, done.err, 1, true)
      end
    end)
  end)
end)
