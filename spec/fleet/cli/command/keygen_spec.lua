-- SPDX-License-Identifier: MIT
-- The command: what it says, its exit codes, and what a full disk or a sudden end leave.
-- Patient: makes keys hundreds of times.
local e2e = require("spec.support.e2e")
local file = require("host.file")
local fleet_keys = require("spec.support.fleet_keys")
local host = require("host.keys")

local DATE = "%d%d%d%d%-%d%d%-%d%d %d%d:%d%d UTC"

describe("moonfleet keygen", function()
  local world, folder
  before_each(function() world, folder = fleet_keys.folder() end)
  after_each(function() world:close() end)

  local function keygen(words, options)
    return world:run({ "keygen", table.unpack(words) }, options)
  end

  -- The output with DIR for the folder and DATE for dates.
  local function plain(s)
    return (s:gsub(folder:gsub("%p", "%%%0"), "DIR"):gsub(DATE, "DATE"))
  end

  -- Checks exit code and error of a command that makes nothing.
  local function refuses(words, code, message, options)
    local run = keygen(words, options)
    assert.same({ code, "", "moonfleet: " .. message .. "\n" },
      { run.code, run.out, plain(run.err) })
  end

  it("makes a CA, a pair for nodes and one for drivers, and says what comes next", function()
    local run = keygen({ folder .. "/", "--fleet", "search" })
    assert.same({ 0, "" }, { run.code, run.err })
    assert.equal([[
DIR/ca.crt  CA of fleet search          until DATE
DIR/ca.key  its key, which stays here
DIR/node    for all nodes of the fleet  until DATE
DIR/driver  may submit jobs             until DATE

Next:
  Copy DIR/node to every node, readable by its user alone. Start nodes with
    moonfleet serve --listen tcp://0.0.0.0:5440 --tls DIR
  Give each driver no folder but its own. It connects with
    moonfleet run --peers HOST --tls DIR/driver JOB.lua
  Never copy DIR/ca.key to a node or a driver.
  Back it up: without it the fleet gets no more keys.
]], plain(run.out))
    for name, role in pairs({ node = "node", driver = "driver" }) do
      local facts = assert(host.facts(e2e.read(folder .. "/" .. name .. "/cert.pem")))
      assert.same({ role, "search", name }, { facts.role, facts.fleet, facts.name })
    end
  end)

  it("adds pairs", function()
    keygen({ folder, "--fleet", "search" })
    local run = keygen({ folder, "--driver", "alice,bob", "--observer", "carol", "--node",
      "--days", "7" })
    assert.same({ 0, "" }, { run.code, run.err })
    assert.equal([[
DIR/node-2          for all nodes of the fleet  until DATE
DIR/driver-alice    may submit jobs             until DATE
DIR/driver-bob      may submit jobs             until DATE
DIR/observer-carol  may look, but not submit    until DATE

Next:
  Copy DIR/node-2 to every node, readable by its user alone. Start nodes with
    moonfleet serve --listen tcp://0.0.0.0:5440 --tls DIR
  A running node takes up new files in its folder within 10 seconds.
  Give each driver no folder but its own. It connects with
    moonfleet run --peers HOST --tls DIR/driver-alice JOB.lua
  Give each observer no folder but its own. It connects with
    moonfleet nodes --peers HOST --tls DIR/observer-carol
  Never copy DIR/ca.key to a node or a driver.
]], plain(run.out))
    local facts = assert(host.facts(e2e.read(folder .. "/observer-carol/cert.pem")))
    assert.equal("observer", facts.role)
    assert.is_true(math.abs(facts.not_after - os.time() - 7 * 86400) < 300)
  end)

  it("revokes, and says where the list is", function()
    keygen({ folder, "--fleet", "search", "--driver", "alice" })
    local serial = assert(host.facts(e2e.read(folder .. "/driver-alice/cert.pem"))).serial
    local list = [[
DIR/crl.pem               until DATE
DIR/driver/crl.pem        until DATE
DIR/driver-alice/crl.pem  until DATE
DIR/node/crl.pem          until DATE

Next:
  Copy crl.pem into the folder that --tls names, on every node and driver. They read it
  within 10 seconds, and close connections of what it revokes.
  Renew it before it expires, for then everybody is refused: moonfleet keygen DIR --crl
]]
    local run = keygen({ folder, "--revoke", folder .. "/driver-alice" })
    assert.same({ 0, "", "revoked driver 'alice', serial " .. serial .. "\n" .. list },
      { run.code, run.err, plain(run.out) })
    run = keygen({ folder, "--crl" })
    assert.same({ 0, "", list }, { run.code, run.err, plain(run.out) })
    refuses({ folder, "--revoke", folder .. "/driver-alice" }, 2,
      "cannot revoke DIR/driver-alice: the certificate is revoked already")
    run = keygen({ folder, "--revoke", ("4b"):rep(16) })
    assert.same({ 0, "", "revoked serial " .. ("4b"):rep(16) .. "\n" .. list },
      { run.code, run.err, plain(run.out) })
  end)

  it("warns when a second CA has no list, and when the CA ends before the pair", function()
    assert(file.make_folder(folder))
    local certificate, key = assert(host.new("search", 100)):write()
    assert(file.create(folder .. "/ca.key", key))
    assert(file.create(folder .. "/ca.crt", certificate .. assert(host.new("search", 9)):write()))
    local run = keygen({ folder, "--driver", "alice" })
    assert.equal(0, run.code)
    assert.equal("moonfleet: the CA expires on DATE, and with it all that it has certified: make a "
      .. "new one in time (docs/security.md)\n", plain(run.err))
    run = keygen({ folder, "--crl" })
    assert.equal(0, run.code)
    assert.equal("moonfleet: DIR/ca.crt has 1 more CA without a list in crl.pem, and what it has "
      .. "certified will be refused: append its crl.pem to this one (docs/security.md)\n",
      plain(run.err))
  end)

  it("says what is wrong with the command line", function()
    refuses({}, 2, "keygen needs a folder for the keys: moonfleet keygen DIR")
    local no_ca = "DIR has no CA. To make one, give the new fleet a name: moonfleet keygen DIR "
      .. "--fleet NAME"
    refuses({ folder }, 2, no_ca)
    refuses({ folder, "--driver", "alice" }, 2, no_ca)
    keygen({ folder, "--fleet", "search" })
    local nothing = "DIR has the CA of fleet search, and nothing is to be done: add --node, "
      .. "--driver NAME, --observer NAME, --revoke CERT, --crl or --store WHERE"
    for _, case in ipairs({
      { {}, nothing },
      { { "--days", "10" }, nothing },
      { { "--driver", "alice,alice" }, "--driver names 'alice' twice" },
      { { "--driver", "a/b" }, "'a/b' cannot name a certificate: --driver takes 1 to 64 letters, "
        .. "digits and . _ - @, beginning with a letter or digit" },
      { { "--observer", "\27[31m" }, "'\\x1b[31m' cannot name a certificate: --observer takes 1 to "
        .. "64 letters, digits and . _ - @, beginning with a letter or digit" },
      { { "--node", "--days", "0" }, "--days needs a whole number from 1 to 3650, got '0'" },
      { { "--node", "--days", "3651" }, "--days needs a whole number from 1 to 3650, got '3651'" },
      { { "--node", "--days", "1.5" }, "--days needs a whole number from 1 to 3650, got '1.5'" },
      { { "--revoke", "x", "--crl" }, "--revoke writes crl.pem itself: leave out --crl" },
      { { "--revoke", "x", "--node" }, "--revoke cannot be combined with flags that make keys: use "
        .. "two commands" },
      { { "--crl", "--driver", "x" }, "--crl cannot be combined with flags that make keys: use two "
        .. "commands" },
      { { "--fleet", "other" }, "DIR has the CA of fleet search already: without --fleet, keygen "
        .. "adds to it; for another fleet name another folder" },
    }) do
      refuses({ folder, table.unpack(case[1]) }, 2, case[2])
    end
  end)

  it("takes what is to be done from the command line alone", function()
    keygen({ folder, "--fleet", "search" })
    local config = world:write("config.lua", "return { node = 'x', timeout = 3 }")
    local run = keygen({ folder, "--observer", "bob", "--config", config },
      { env = { "MOONFLEET_NODE=build1" } })
    assert.same({ 0, "" }, { run.code, run.err })
    assert.is_nil(file.about(folder .. "/node-2"))
    config = world:write("config.lua", "return { revoke = 'x' }")
    refuses({ folder, "--node", "--config", config }, 2,
      "the configuration has 'revoke', which does not count there: --revoke must be typed")
    run = keygen({ folder, "--node" }, { env = { "MOONFLEET_REVOKE=x" } })
    assert.equal("moonfleet: the variable MOONFLEET_REVOKE does not count: --revoke must be "
      .. "typed\n", run.err)
  end)

  it("fails where it may not write", function()
    if os.execute("test $(id -u) = 0") then
      -- root may write anywhere, except where nobody may
      refuses({ "/proc/keys-of-moonfleet", "--fleet", "search" }, 1,
        "cannot make the folder '/proc/keys-of-moonfleet': No such file or directory")
    else
      os.execute("mkdir -m 500 " .. folder)
      refuses({ folder, "--fleet", "search" }, 1,
        "cannot make the folder 'DIR/.keygen': Permission denied")
    end
  end)

  -- Checks that what there is of a fleet's folder is whole; returns the names.
  local function check_whole()
    local names = file.list(folder) or {}
    table.sort(names)
    local trusted = e2e.read(folder .. "/ca.crt")
    local ca = trusted and assert(host.open(e2e.read(folder .. "/ca.key"), trusted))
    for _, name in ipairs(names) do
      local path = folder .. "/" .. name
      if file.about(path).type == "folder" and name ~= ".keygen" then
        assert.is_truthy(ca, name)
        assert(ca:verify(e2e.read(path .. "/cert.pem")))
        assert.equal(trusted, e2e.read(path .. "/ca.crt"))
        assert.matches("^%-+BEGIN PRIVATE KEY.*END PRIVATE KEY%-+\n$", e2e.read(path .. "/key.pem"))
      end
    end
    return names
  end

  it("leaves nothing behind when the disk is full", function()
    -- bytes that a file may have: none, or enough for the keys but not for all certificates; a
    -- sanitizer writes a file before the program begins
    for _, size in ipairs({ e2e.sanitized and 1 or 0, 300, 750 }) do
      local limited = { within = { "prlimit", "--fsize=" .. size }, stdout = "/dev/full" }
      local run = keygen({ folder, "--fleet", "search" }, limited)
      assert.equal(1, run.code)
      if size > 1 then -- stderr is a file, too
        assert.matches("^moonfleet: cannot write 'DIR/%.keygen/[%w./]+': File too large\n$",
          plain(run.err))
      end
      assert.is_nil(file.about(folder))
    end
    keygen({ folder, "--fleet", "search", "--driver", "alice" })
    local before = check_whole()
    for _, words in ipairs({ { "--node" }, { "--revoke", folder .. "/driver-alice" } }) do
      local run = keygen({ folder, table.unpack(words) }, { within = { "prlimit", "--fsize=350" } })
      assert.equal(1, run.code)
      assert.matches("File too large", run.err)
      assert.same(before, check_whole())
    end
  end)

  it("leaves nothing behind on a file system that is full", function()
    -- pages of 4 KiB, one for each file
    local script = [[
      mount -t tmpfs -o size=16k tmpfs "$1" || exit 77
      mkdir "$1/keys"
      "$2" keygen "$1/keys" --fleet search; echo "code $?"
      ls -A "$1/keys"
    ]]
    local run = world:start({ "unshare", "-Urm", "sh", "-c", script, "sh", world.dir, e2e.program },
      { env = { "LC_ALL=C" } }):wait()
    if run.code == 77 or run.err:find("unshare failed", 1, true) then
      pending("this system lets us mount no file system")
      return
    end
    assert.equal("code 1\n", run.out)
    assert.matches("^moonfleet: cannot write 'DIR/%.keygen/[%w./]+': No space left on device\n$",
      plain(run.err))
  end)

  -- Kills keygen at the nth call of that name for a path of the folder, if there is one.
  local function killed_at(call, n)
    local within = e2e.strace("-e", "trace=" .. call, "-e",
      ("inject=%s:signal=KILL:when=%d"):format(call, n), "-P", folder)
    for _, name in ipairs({ "", "/ca.key", "/ca.crt", "/node", "/driver", "/driver/ca.crt",
      "/driver/key.pem" }) do
      table.move({ "-P", folder .. "/.keygen" .. name }, 1, 2, #within + 1, within)
    end
    local run = keygen({ folder, "--fleet", "search" }, { within = within })
    return run.signal == 9 or run.code == 137
  end

  -- Patient: starts the program twice for each call that changes something.
  it("leaves nothing that looks whole when it is killed", function()
    local count = 0
    for _, call in ipairs({ "mkdir", "openat", "write", "fsync", "renameat2", "rmdir" }) do
      local n = 1
      while killed_at(call, n) do
        local complete, left = e2e.exists(folder .. "/ca.crt"), e2e.exists(folder .. "/.keygen")
        if complete then check_whole() end
        assert.is_true(complete or not e2e.exists(folder .. "/node"))
        -- what is there keeps the next one from going on with half of it
        local run = keygen({ folder, "--fleet", "search" })
        if not left then
          assert.equal(not complete, run.code == 0)
        else
          assert.matches("DIR/.keygen exists: another keygen is at work there, or one was "
            .. "interrupted. If none is, remove it with all that it contains, and repeat this "
            .. "command", plain(run.err), 1, true)
        end
        os.execute("rm -rf " .. folder)
        n, count = n + 1, count + 1
      end
      assert.same({ "ca.crt", "ca.key", "driver", "node" }, check_whole())
      os.execute("rm -rf " .. folder)
    end
    assert.is_true(count >= 20, count)
  end)
end)
