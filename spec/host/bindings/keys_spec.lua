-- SPDX-License-Identifier: MIT
-- Certificates and CRLs, and what other programs think of them.
local e2e = require("spec.support.e2e")
local keys = require("host.keys")

describe("host.keys", function()
  local world, ca
  before_each(function()
    world = e2e.new()
    ca = assert(keys.new("search", 3650))
  end)
  after_each(function() world:close() end)

  --- Output and exit code of a command.
  local function run(...)
    local result = world:start({ ... }):wait()
    return result.out .. result.err, result.code
  end

  --- Writes the parts of a pair to files, and returns their paths.
  local function files(role)
    local certificate, key = ca:issue(role, "alice", 30)
    return world:write(role .. ".pem", certificate), world:write(role .. ".key", key)
  end

  local function ca_file() return world:write("ca.crt", (ca:write())) end

  it("issues certificates of one purpose each", function()
    for _, case in ipairs({
      { "node", "sslserver", "sslclient" }, { "driver", "sslclient", "sslserver" },
      { "observer", "sslclient", "sslserver" },
    }) do
      local path = files(case[1])
      local function verify(purpose)
        return run("openssl", "verify", "-x509_strict", "-CAfile", ca_file(), "-purpose", purpose,
          path)
      end
      local out, code = verify(case[2])
      assert.same({ path .. ": OK\n", 0 }, { out, code })
      out, code = verify(case[3])
      assert.equal(2, code)
      assert.matches("unsuitable certificate purpose", out)
    end
  end)

  it("gives each certificate the one name of its role", function()
    for _, role in ipairs({ "node", "driver", "observer" }) do
      local path = files(role)
      local function check_host(name)
        return (run("openssl", "x509", "-in", path, "-noout", "-checkhost", name))
      end
      assert.matches("does match", check_host(role .. ".search.moonfleet"))
      assert.matches("does NOT match", check_host(role .. ".other.moonfleet"))
      assert.matches("does NOT match", check_host("alice"))
      assert.matches("X509v3 Subject Alternative Name: \n *DNS:" .. role .. ".search.moonfleet\n",
        (run("openssl", "x509", "-in", path, "-noout", "-ext", "subjectAltName")))
    end
  end)

  it("makes keys of P-256 in PKCS#8, each for its certificate", function()
    local certificate, key = files("node")
    local text = e2e.read(key)
    assert.matches("^%-%-%-%-%-BEGIN PRIVATE KEY%-%-%-%-%-\n", text)
    assert.matches("ASN1 OID: prime256v1", (run("openssl", "pkey", "-in", key, "-noout", "-text")))
    local public = run("openssl", "pkey", "-in", key, "-pubout")
    assert.equal(public, (run("openssl", "x509", "-in", certificate, "-noout", "-pubkey")))
    local _, other = files("driver")
    assert.not_equal(text, e2e.read(other))
  end)

  it("has the extensions that RFC 5280 asks for", function()
    local text = run("openssl", "x509", "-in", ca_file(), "-noout", "-text")
    for _, pattern in ipairs({
      "Basic Constraints: critical\n *CA:TRUE, pathlen:0\n",
      "Key Usage: critical\n *Certificate Sign, CRL Sign\n",
      "Name Constraints: critical\n *Permitted:\n *DNS:search.moonfleet\n",
      "Subject Key Identifier: *\n", "Authority Key Identifier: *\n",
    }) do
      assert.matches(pattern, text)
    end
    text = run("openssl", "x509", "-in", files("node"), "-noout", "-text")
    for _, pattern in ipairs({
      "Basic Constraints: critical\n *CA:FALSE\n", "Key Usage: critical\n *Digital Signature\n",
      "Extended Key Usage: *\n *TLS Web Server Authentication\n",
      "Subject Key Identifier: *\n", "Authority Key Identifier: *\n",
    }) do
      assert.matches(pattern, text)
    end
  end)

  it("can be read and verified by GnuTLS", function()
    local path, key = files("node")
    local out, code = run("certtool", "--verify", "--load-ca-certificate", ca_file(), "--infile",
      path, "--verify-hostname", "node.search.moonfleet", "--verify-purpose", "1.3.6.1.5.5.7.3.1")
    assert.equal(0, code, out)
    assert.matches("Chain verification output: Verified", out)
    assert.equal(0, select(2, run("certtool", "--key-info", "--infile", key)))
    local crl = world:write("crl.pem", assert(ca:revoke(nil, ("4b"):rep(16), 5)))
    out, code = run("certtool", "--verify-crl", "--load-ca-certificate", ca_file(), "--infile", crl)
    assert.equal(0, code, out)
    assert.matches("Serial Number %(hex%): " .. ("4b"):rep(16), out)
  end)

  it("begins an hour ago and ends when it is told to, with the CA at the latest", function()
    local now = os.time()
    local facts = assert(keys.facts((ca:issue("driver", "alice", 30))))
    assert.is_true(math.abs(facts.not_before - (now - 3600)) <= 60)
    assert.is_true(math.abs(facts.not_after - (now + 30 * 86400)) <= 60)
    local own = ca:facts()
    assert.is_true(math.abs(own.not_after - (now + 3650 * 86400)) <= 60)
    assert.equal(own.not_after, assert(keys.facts((ca:issue("node", "n", 3650)))).not_after)
  end)

  it("reads the facts", function()
    local seen = {}
    for _, role in ipairs({ "node", "driver", "observer" }) do
      local facts = assert(keys.facts((ca:issue(role, "alice@example.com", 1))))
      assert.same({ role, "search", "alice@example.com" }, { facts.role, facts.fleet, facts.name })
      assert.matches("^[4-7]" .. ("%x"):rep(31) .. "$", facts.serial)
      seen[facts.serial] = true
    end
    local facts = ca:facts()
    assert.same({ "ca", "search", "moonfleet CA " .. facts.serial:sub(1, 8) },
      { facts.role, facts.fleet, facts.name })
    seen[facts.serial] = true
    local count = 0
    for _ in pairs(seen) do count = count + 1 end
    assert.equal(4, count)
    assert.same(facts, keys.facts((ca:write())))
  end)

  it("gives no role to certificates whose names and usages do not agree", function()
    -- extensions of a self-signed certificate, and the role that it gets
    for _, case in ipairs({
      { "driver", "subjectAltName=DNS:driver.a-1.moonfleet", "extendedKeyUsage=clientAuth" },
      { "node", "subjectAltName=DNS:node.b.moonfleet", "extendedKeyUsage=serverAuth" },
      { "other", "subjectAltName=DNS:node.b.moonfleet", "extendedKeyUsage=clientAuth" },
      { "other", "subjectAltName=DNS:driver.b.moonfleet", "extendedKeyUsage=serverAuth" },
      { "other", "subjectAltName=DNS:driver.b.moonfleet",
        "extendedKeyUsage=clientAuth,serverAuth" },
      { "other", "subjectAltName=DNS:driver.b.moonfleet" },
      { "other", "subjectAltName=DNS:driver.b.moonfleet,DNS:node.b.moonfleet",
        "extendedKeyUsage=clientAuth" },
      { "other", "subjectAltName=DNS:driver.b.moonfleet,IP:127.0.0.1",
        "extendedKeyUsage=clientAuth" },
      { "other", "subjectAltName=email:driver.b.moonfleet", "extendedKeyUsage=clientAuth" },
      { "other", "subjectAltName=DNS:driver.B.moonfleet", "extendedKeyUsage=clientAuth" },
      { "other", "subjectAltName=DNS:driver..moonfleet", "extendedKeyUsage=clientAuth" },
      { "other", "subjectAltName=DNS:driver.moonfleet", "extendedKeyUsage=clientAuth" },
      { "other", "subjectAltName=DNS:driver.b.c.moonfleet", "extendedKeyUsage=clientAuth" },
      { "other", "subjectAltName=DNS:driver.*.moonfleet", "extendedKeyUsage=clientAuth" },
      { "other", "subjectAltName=DNS:driver.b.moonfleet.example", "extendedKeyUsage=clientAuth" },
      { "other", "subjectAltName=DNS:other.b.moonfleet", "extendedKeyUsage=clientAuth" },
      { "other", "subjectAltName=DNS:driver." .. ("b"):rep(64) .. ".moonfleet",
        "extendedKeyUsage=clientAuth" },
      { "driver", "subjectAltName=DNS:driver." .. ("b"):rep(63) .. ".moonfleet",
        "extendedKeyUsage=clientAuth" },
      { "other", "extendedKeyUsage=clientAuth" },
      { "other", "subjectAltName=DNS:ca.b.moonfleet" },
      { "other", "subjectAltName=DNS:driver.b.moonfleet", "extendedKeyUsage=clientAuth",
        ca = "TRUE" },
      { "ca", "subjectAltName=DNS:ca.b.moonfleet", ca = "TRUE" },
      { "other", "subjectAltName=DNS:ca.b.moonfleet", "extendedKeyUsage=clientAuth", ca = "TRUE" },
    }) do
      local words = { "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
        "ec_paramgen_curve:P-256", "-nodes", "-keyout", world:path("k.pem"), "-out",
        world:path("c.pem"), "-subj", "/CN=driver.b.moonfleet", "-config",
        world:write("c", "[req]\ndistinguished_name=d\n[d]\n"),
        "-addext", "basicConstraints=critical,CA:" .. (case.ca or "FALSE") }
      for i = 2, #case do table.move({ "-addext", case[i] }, 1, 2, #words + 1, words) end
      local out, code = run(table.unpack(words))
      assert.equal(0, code, out)
      local facts = assert(keys.facts(e2e.read(world:path("c.pem"))))
      assert.equal(case[1], facts.role, case[2])
      assert.equal(case[1] == "other", facts.fleet == nil)
    end
  end)

  it("shows only printable characters of a name", function()
    local out, code = run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
      "ec_paramgen_curve:P-256", "-nodes", "-keyout", world:path("k.pem"), "-out",
      world:path("c.pem"), "-utf8", "-subj", "/CN=Zo\u{eb}\27[31m", "-config",
      world:write("c", "[req]\ndistinguished_name=d\n[d]\n"))
    assert.equal(0, code, out)
    assert.equal("Zo???[31m", assert(keys.facts(e2e.read(world:path("c.pem")))).name)
  end)

  it("says which names it takes", function()
    for _, good in ipairs({ "a", "search", "a-b", "0", ("a"):rep(63) }) do
      assert.is_true(keys.is_fleet(good), good)
    end
    for _, bad in ipairs({ "", "A", "-a", "a-", "a.b", "a_b", "a b", "\u{e9}", ("a"):rep(64),
      "a\0b", "*" }) do
      assert.is_false(keys.is_fleet(bad), bad)
    end
    for _, good in ipairs({ "a", "Alice", "al.i_c-e@example.com", "0", ("a"):rep(64) }) do
      assert.is_true(keys.is_name(good), good)
    end
    for _, bad in ipairs({ "", ".", "..", ".a", "-a", "@a", "a/b", "a b", "a,b", "a=b", "a\n",
      "\u{e9}", ("a"):rep(65), "a\0b" }) do
      assert.is_false(keys.is_name(bad), bad)
    end
  end)

  it("opens a CA again, among others", function()
    local certificate, key = ca:write()
    local other, other_key = assert(keys.new("search", 3650)):write()
    local again = assert(keys.open(key, other .. certificate))
    assert.same(ca:facts(), again:facts())
    assert.same("alice", again:verify((ca:issue("driver", "alice", 1))).name)
    assert.is_true(ca:is_in(other .. certificate))
    assert.is_false(ca:is_in(other))
    assert.is_false(ca:is_in(""))
    for _, case in ipairs({
      { other_key, certificate, "ca.key is not the key of ca.crt" },
      { key, other, "ca.key is not the key of ca.crt" },
      { key, "", "ca.crt has no certificate in PEM format" },
      { key, key, "ca.crt has no certificate in PEM format" },
      { "", certificate, "ca.key has no unencrypted private key in PEM format" },
      { certificate, certificate, "ca.key has no unencrypted private key in PEM format" },
      { key:sub(1, 100), certificate, "ca.key has no unencrypted private key in PEM format" },
    }) do
      local opened, err = keys.open(case[1], case[2])
      assert.is_nil(opened)
      assert.same({ "config", case[3] }, { err.kind, err.message })
    end
    local driver, driver_key = ca:issue("driver", "alice", 1)
    local opened, err = keys.open(driver_key, driver)
    assert.is_nil(opened)
    assert.equal("ca.crt is not a CA of a fleet, as keygen --fleet makes it", err.message)
  end)

  it("does not ask for the password of an encrypted key", function()
    local certificate, key = ca:write()
    local out, code = run("openssl", "pkey", "-in", world:write("k", key), "-aes256", "-passout",
      "pass:secret", "-out", world:path("k2"))
    assert.equal(0, code, out)
    local opened, err = keys.open(e2e.read(world:path("k2")), certificate)
    assert.is_nil(opened)
    assert.equal("ca.key has no unencrypted private key in PEM format", err.message)
  end)

  it("revokes, and remembers what was revoked", function()
    local alice, bob = (ca:issue("driver", "alice", 1)), (ca:issue("driver", "bob", 1))
    local crl = assert(ca:revoke(nil, keys.facts(alice).serial, 5))
    local function verdict(certificate)
      return (run("openssl", "verify", "-x509_strict", "-crl_check", "-CAfile", ca_file(),
        "-CRLfile", world:write("crl.pem", crl), world:write("c", certificate)))
    end
    assert.matches("certificate revoked", verdict(alice))
    assert.matches(": OK\n$", verdict(bob))
    crl = assert(ca:revoke(crl, keys.facts(bob).serial:upper(), 5))
    assert.matches("certificate revoked", verdict(alice))
    assert.matches("certificate revoked", verdict(bob))
    local nothing, err = ca:revoke(crl, keys.facts(bob).serial, 5)
    assert.is_nil(nothing)
    assert.equal("the certificate is revoked already", err.message)
    crl = assert(ca:revoke(crl, nil, 10))
    local text = run("openssl", "crl", "-in", world:write("crl.pem", crl), "-noout", "-text",
      "-verify", "-CAfile", ca_file())
    assert.matches("verify OK", text)
    assert.matches("CRL Number: *\n *3\n", text)
    assert.matches("Authority Key Identifier", text)
    assert.equal(2, select(2, text:gsub("Serial Number: ", "")))
  end)

  it("keeps the CRLs of other CAs, and forgets nothing that is damaged", function()
    local other = assert(keys.new("search", 3650))
    local theirs = assert(other:revoke(nil, "01", 5))
    local crl = assert(ca:revoke(theirs, "02", 5))
    assert.truthy(crl:find(theirs, 1, true))
    crl = assert(ca:revoke(crl, "03", 5))
    assert.equal(2, select(2, crl:gsub("BEGIN X509 CRL", "")))
    local mine = assert(ca:revoke(nil, "02", 5))
    local middle = #mine // 2
    for _, damaged in ipairs({
      "", "text", mine:sub(1, middle), theirs .. mine:sub(1, middle), (ca:write()),
      mine:sub(1, middle) .. "!" .. mine:sub(middle + 2),
    }) do
      local made, err = ca:revoke(damaged, "03", 5)
      assert.is_nil(made)
      assert.equal("crl.pem is damaged", err.message)
    end
    local made, err = ca:revoke(mine .. mine, nil, 5)
    assert.is_nil(made)
    assert.equal("crl.pem has a CRL that this CA has not signed", err.message)
  end)

  it("verifies only what it has issued", function()
    local other = assert(keys.new("search", 3650))
    for _, case in ipairs({
      { (other:issue("driver", "alice", 1)), "the CA of fleet search has not issued it" },
      { (other:write()), "the CA of fleet search has not issued it" },
      { (ca:write()), "it is the certificate of the CA itself" },
      { "", "it has no certificate in PEM format" },
    }) do
      local facts, err = ca:verify(case[1])
      assert.is_nil(facts)
      assert.equal(case[2], err.message)
    end
    local facts, err = keys.facts("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert.is_nil(facts)
    assert.equal("it has no certificate in PEM format", err.message)
  end)

  it("raises on misuse", function()
    for _, call in ipairs({
      function() keys.new("A", 1) end, function() keys.new() end,
      function() keys.new("a", 0) end, function() keys.new("a", 3651) end,
      function() ca:issue("ca", "x", 1) end, function() ca:issue("other", "x", 1) end,
      function() ca:issue("node", "a/b", 1) end, function() ca:issue("node", "a", 0) end,
      function() ca:issue("node", "a", 3651) end,
      function() ca:revoke(nil, "xyz", 1) end, function() ca:revoke(nil, "", 1) end,
      function() ca:revoke(nil, ("0"):rep(41), 1) end, function() ca:revoke(nil, nil, 0) end,
    }) do
      assert.has_error(call)
    end
    ca:close()
    ca:close()
    assert.error_matches(function() ca:write() end, "the authority is closed")
  end)
end)
