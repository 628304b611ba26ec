-- SPDX-License-Identifier: MIT
-- The folder of a fleet's keys: what is in it, and what is refused. How the command describes it is
-- in spec/fleet/cli/command/keygen_spec.lua.
local e2e = require("spec.support.e2e")
local file = require("host.file")
local fleet_keys = require("spec.support.fleet_keys")
local host = require("host.keys")
local keys = require("fleet.keys")

describe("fleet.keys", function()
  local world, folder
  before_each(function() world, folder = fleet_keys.folder() end)
  after_each(function() world:close() end)

  local function pair(role, name) return assert(keys.pair(folder, role, name)) end

  local function create()
    return assert(keys.create(folder, "search", {
      { role = "node", name = "node", folder = "node" }, pair("driver", "alice"),
    }))
  end

  local function read(name) return e2e.read(folder .. "/" .. name) end

  local function names(below)
    local list = assert(file.list(folder .. (below or "")))
    table.sort(list)
    return list
  end

  -- Every path below the folder, with its content.
  local function content()
    local all = {}
    local function walk(path)
      for _, name in ipairs(assert(file.list(path))) do
        local each = path .. "/" .. name
        if file.about(each).type == "folder" then walk(each) else all[each] = e2e.read(each) end
      end
    end
    walk(folder)
    return all
  end

  -- Checks that f() fails with this message and changes nothing.
  local function refuses(message, f, kind)
    local before = file.about(folder) and content()
    local value, err = f()
    assert.is_nil(value)
    assert.same({ kind or "usage", (message:gsub("DIR", (folder:gsub("%%", "%%%%")))) },
      { err.kind, err.message })
    if before then assert.same(before, content()) end
  end

  it("has the CA and a folder for each pair", function()
    local ca, made = create()
    assert.same({ "ca", "search" }, { ca.role, ca.fleet })
    assert.same({ "node", "driver" }, { made[1].role, made[2].role })
    assert.same({ "ca.crt", "ca.key", "driver-alice", "node" }, names())
    assert.same({ "ca.crt", "cert.pem", "key.pem" }, names("/node"))
    assert.same({ "ca.crt", "cert.pem", "key.pem" }, names("/driver-alice"))
    for path in pairs(content()) do assert.equal(tonumber("600", 8), file.about(path).mode) end
    for _, path in ipairs({ folder, folder .. "/node", folder .. "/driver-alice" }) do
      assert.equal(tonumber("700", 8), file.about(path).mode)
    end
    assert.equal(read("ca.crt"), read("node/ca.crt"))
    assert.same(ca, host.facts(read("ca.crt")))
    assert.same(made[1], host.facts(read("node/cert.pem")))
    assert.same(ca, keys.authority(folder))
  end)

  it("adds pairs by the same CA, whose fleet it knows", function()
    local ca = create()
    local same, made = keys.issue(folder, { pair("driver", "bob"), pair("observer", "carol"),
      pair("node") }, 30)
    assert.same(ca, same)
    assert.same({ "ca.crt", "ca.key", "driver-alice", "driver-bob", "node", "node-2",
      "observer-carol" }, names())
    local authority = assert(host.open(read("ca.key"), read("ca.crt")))
    for i, name in ipairs({ "driver-bob", "observer-carol", "node-2" }) do
      assert.same(made[i], authority:verify(read(name .. "/cert.pem")))
      assert.equal("search", made[i].fleet)
      assert.is_true(math.abs(made[i].not_after - os.time() - 30 * 86400) < 60)
    end
    assert.equal("node-3", pair("node").folder)
  end)

  it("copies all that ca.crt trusts, and crl.pem", function()
    create()
    local other = assert(host.new("search", 10))
    local both = read("ca.crt") .. other:write()
    os.remove(folder .. "/ca.crt")
    assert(file.create(folder .. "/ca.crt", both))
    assert(keys.revoke(folder, folder .. "/driver-alice"))
    assert(keys.issue(folder, { pair("driver", "bob") }))
    assert.equal(both, read("driver-bob/ca.crt"))
    assert.equal(read("crl.pem"), read("driver-bob/crl.pem"))
  end)

  it("revokes by file, folder and serial number", function()
    local _, made = create()
    local _, more = keys.issue(folder, { pair("driver", "bob"), pair("driver", "carol") })
    local done = assert(keys.revoke(folder, folder .. "/driver-alice/cert.pem"))
    assert.same(made[2], done.certificate)
    local folders = { folder }
    for i, name in ipairs({ "driver-alice", "driver-bob", "driver-carol", "node" }) do
      folders[i + 1] = folder .. "/" .. name
    end
    assert.same(folders, done.folders)
    assert.equal(0, done.missing)
    assert.is_true(math.abs(done.not_after - os.time() - 180 * 86400) < 60)
    assert(keys.revoke(folder, folder .. "/driver-bob/"))
    local spelled = more[2].serial:upper():gsub("%x%x", "%0:"):sub(1, -2)
    done = assert(keys.revoke(folder, spelled, 1))
    assert.equal(more[2].serial, done.certificate.serial)
    for _, each in ipairs(done.folders) do
      assert.equal(read("crl.pem"), e2e.read(each .. "/crl.pem"))
      assert.equal(tonumber("600", 8), file.about(each .. "/crl.pem").mode)
    end
    local text = world:start({ "openssl", "crl", "-in", folder .. "/crl.pem", "-noout", "-text",
      "-verify", "-CAfile", folder .. "/ca.crt" }):wait()
    assert.matches("verify OK", text.err)
    for _, facts in ipairs({ made[2], more[1], more[2] }) do
      assert.matches("Serial Number: " .. facts.serial:upper(), text.out, 1, true)
    end
    assert.is_nil(text.out:find(made[1].serial:upper(), 1, true))
    for _, each in ipairs({ folder .. "/driver-bob", more[1].serial }) do
      refuses("cannot revoke " .. each .. ": the certificate is revoked already",
        function() return keys.revoke(folder, each) end, "config")
    end
  end)

  it("renews the CRL, also before anything has been revoked", function()
    create()
    local done = assert(keys.revoke(folder, nil))
    assert.is_nil(done.certificate)
    local first = read("crl.pem")
    assert(keys.revoke(folder, folder .. "/driver-alice"))
    assert(keys.revoke(folder, nil))
    assert.not_equal(first, read("crl.pem"))
    local text = world:start({ "openssl", "crl", "-in", folder .. "/crl.pem", "-noout", "-text" })
      :wait().out
    assert.matches("CRL Number: *\n *3\n", text)
    assert.matches("Serial Number: ", text)
  end)

  it("puts the CRL only where its CA is trusted, and tells when another CA has none", function()
    create()
    local other = world:path("other")
    assert(keys.create(other, "search", {}))
    os.rename(other, folder .. "/other")
    local done = assert(keys.revoke(folder, nil))
    assert.same({ folder, folder .. "/driver-alice", folder .. "/node" }, done.folders)
    assert.is_nil(read("other/crl.pem"))
    local both = read("ca.crt") .. read("other/ca.crt")
    os.remove(folder .. "/ca.crt")
    assert(file.create(folder .. "/ca.crt", both))
    assert.equal(1, assert(keys.revoke(folder, nil)).missing)
    assert(keys.revoke(folder .. "/other", nil))
    local lists = read("crl.pem") .. read("other/crl.pem")
    os.remove(folder .. "/crl.pem")
    assert(file.create(folder .. "/crl.pem", lists))
    assert.equal(0, assert(keys.revoke(folder, nil)).missing)
    assert.equal(2, select(2, read("node/crl.pem"):gsub("BEGIN X509 CRL", "")))
  end)

  it("writes no CRL when it cannot see where it belongs", function()
    create()
    assert(file.make_folder(folder .. "/odd"))
    assert(file.make_folder(folder .. "/odd/ca.crt"))
    refuses("cannot read DIR/odd/ca.crt: Is a directory", function()
      return keys.revoke(folder, folder .. "/driver-alice")
    end, "config")
  end)

  -- The steps of docs/security.md. At each of them, pairs that are in use must accept each other.
  it("moves to another CA without an outage", function()
    local new = world:path("new")
    local function accepts(verifier, pair_folder)
      local run = world:start({ "openssl", "verify", "-x509_strict", "-crl_check", "-CAfile",
        verifier .. "/ca.crt", "-CRLfile", verifier .. "/crl.pem", pair_folder .. "/cert.pem" })
        :wait()
      return run.code == 0, run.out .. run.err
    end
    local function run(script)
      assert(os.execute(("cd '%s' && %s"):format(world.dir, script)))
    end
    create()
    assert(keys.issue(folder, { pair("driver", "bob") }))
    assert(keys.revoke(folder, folder .. "/driver-bob"))
    assert(keys.create(new, "search", {
      { role = "node", name = "node", folder = "node" }, assert(keys.pair(new, "driver", "alice")),
    }))
    run('cat keys/ca.crt >>new/ca.crt; for pair in new/*/; do cp new/ca.crt "$pair"; done')
    run("cp keys/crl.pem new/")
    assert.equal(0, assert(keys.revoke(new, nil)).missing)
    run("cp -r keys/node used-node; cp -r keys/driver-alice used-driver")
    local function check(old_works, new_works)
      for _, verifier in ipairs({ world:path("used-node"), world:path("used-driver") }) do
        for _, name in ipairs({ "node", "driver-alice" }) do
          assert.equal(old_works, (accepts(verifier, folder .. "/" .. name)))
          assert.equal(new_works, (accepts(verifier, new .. "/" .. name)))
        end
        local accepted, text = accepts(verifier, folder .. "/driver-bob")
        assert.is_false(accepted)
        if old_works then assert.matches("certificate revoked", text) end
      end
    end
    check(true, false)
    for _, each in ipairs({ "used-node", "used-driver" }) do
      run(("cp new/ca.crt new/crl.pem %s/"):format(each))
    end
    check(true, true)
    run("cp new/node/* used-node/; cp new/driver-alice/* used-driver/")
    check(true, true)
    run("openssl x509 -in new/ca.crt -out new.crt && mv new.crt new/ca.crt")
    run("cp new/ca.crt used-node/; cp new/ca.crt used-driver/")
    check(false, true)
    assert(keys.revoke(new, new .. "/driver-alice"))
  end)

  it("overwrites nothing", function()
    create()
    refuses("DIR has the CA of fleet search already: without --fleet, keygen adds to it; for "
      .. "another fleet name another folder", function()
        return keys.create(folder, "search", { pair("driver", "bob") })
      end)
    refuses("DIR/driver-alice exists, and nothing is overwritten: choose another name, or move it "
      .. "away", function()
        return keys.issue(folder, { pair("driver", "bob"), pair("driver", "alice") })
      end)
    os.remove(folder .. "/ca.crt")
    refuses("DIR/ca.key exists, and nothing is overwritten: choose another name, or move it away",
      function() return keys.create(folder, "search", {}) end)
  end)

  it("refuses folders without a CA, or with half of one", function()
    local function issue() return keys.issue(folder, { pair("driver", "bob") }) end
    local none = "DIR has no CA. To make one, give the new fleet a name: moonfleet keygen DIR "
      .. "--fleet NAME"
    refuses(none, issue)
    refuses(none, function() return keys.revoke(folder, nil) end)
    refuses(none, function() return keys.authority(folder) end)
    create()
    local certificate = read("ca.crt")
    os.remove(folder .. "/ca.crt")
    refuses("DIR has ca.key but no ca.crt: run keygen where the CA was made, or restore the file "
      .. "from a backup", issue)
    assert(file.create(folder .. "/ca.crt", certificate))
    os.remove(folder .. "/ca.key")
    refuses("DIR has ca.crt but no ca.key: run keygen where the CA was made, or restore the file "
      .. "from a backup", issue)
    assert(file.create(folder .. "/ca.key", select(2, host.new("search", 1):write())))
    refuses("DIR: ca.key is not the key of ca.crt", issue, "config")
    os.remove(folder .. "/ca.key")
    assert(file.create(folder .. "/ca.key", ("x"):rep((1 << 20) + 1)))
    refuses("cannot read DIR/ca.key: larger than 1048576 bytes", issue, "config")
  end)

  it("refuses folders and keys that others can use", function()
    local function issue() return keys.issue(folder, { pair("driver", "bob") }) end
    create()
    os.execute("chmod 640 " .. folder .. "/ca.key")
    refuses("DIR/ca.key is readable by others (0640): chmod 600 DIR/ca.key", issue)
    os.execute("chmod 600 " .. folder .. "/ca.key; chmod 775 " .. folder)
    refuses("DIR can be changed by others (0775): chmod 700 DIR, or name another folder", issue)
    os.execute("rm -r " .. folder .. "; mkdir -m 777 " .. folder)
    refuses("DIR can be changed by others (0777): chmod 700 DIR, or name another folder",
      function() return keys.create(folder, "search", {}) end)
    os.execute("rmdir " .. folder)
    world:write("keys", "")
    local message = folder .. " is not a folder"
    for _, f in ipairs({ issue, function() return keys.create(folder, "search", {}) end }) do
      local value, err = f()
      assert.is_nil(value)
      assert.equal(message, err.message)
    end
  end)

  it("refuses names and days that cannot be", function()
    refuses("'Search' cannot name a fleet: --fleet takes 1 to 63 lower-case letters, digits and "
      .. "hyphens, beginning and ending with a letter or digit",
      function() return keys.create(folder, "Search", {}) end)
    assert.is_nil(file.about(folder))
    refuses("'../x' cannot name a certificate: --driver takes 1 to 64 letters, digits and . _ - @, "
      .. "beginning with a letter or digit",
      function() return keys.pair(folder, "driver", "../x") end)
    local certificate, key = assert(host.new("search", 100)):write()
    assert(file.make_folder(folder))
    assert(file.create(folder .. "/ca.crt", certificate))
    assert(file.create(folder .. "/ca.key", key))
    local value, err = keys.issue(folder, { pair("driver", "bob") }, 101)
    assert.is_nil(value)
    assert.matches("^%-%-days 101 is too long: the CA in " .. folder:gsub("%p", "%%%0")
      .. " expires on %d+%-%d+%-%d+ %d+:%d+ UTC, in %d+ days$", err.message)
    local ca, made = assert(keys.issue(folder, { pair("driver", "bob") }))
    assert.equal(ca.not_after, made[1].not_after)
  end)

  it("refuses to revoke what is not of this CA", function()
    create()
    local other = world:path("other")
    assert(keys.create(other, "search", {}))
    world:write("text", "text")
    refuses("cannot revoke " .. other .. "/ca.crt: the CA of fleet search has not issued it",
      function() return keys.revoke(folder, other .. "/ca.crt") end)
    refuses("cannot revoke DIR/ca.crt: it is the certificate of the CA itself",
      function() return keys.revoke(folder, folder .. "/ca.crt") end)
    refuses("cannot revoke " .. world:path("text") .. ": it has no certificate in PEM format",
      function() return keys.revoke(folder, world:path("text")) end)
    refuses("there is no alice; --revoke takes a certificate, the folder of a pair, or a serial "
      .. "number of 32 hexadecimal digits", function() return keys.revoke(folder, "alice") end)
    refuses("there is no DIR/cert.pem; --revoke takes a certificate, the folder of a pair, or a "
      .. "serial number of 32 hexadecimal digits",
      function() return keys.revoke(folder, folder) end)
  end)

  it("does not forget what a damaged crl.pem revokes", function()
    create()
    assert(file.create(folder .. "/crl.pem", "damaged"))
    refuses("DIR: crl.pem is damaged", function() return keys.revoke(folder, nil) end, "config")
    refuses("cannot revoke DIR/driver-alice: crl.pem is damaged",
      function() return keys.revoke(folder, folder .. "/driver-alice") end, "config")
  end)
end)
