-- SPDX-License-Identifier: MIT
-- Who is refused over TLS, and in which words, on both sides. The C specs of host/net try every
-- kind of certificate; here it is what a user reads, and how soon.

local channel = require("host.channel")
local e2e = require("spec.support.e2e")
local fleet_keys = require("spec.support.fleet_keys")
local frames = require("spec.support.frames")
local session = require("spec.support.session")
local sys = require("host.sys")
local task = require("host.task")
local tls = require("host.tls")

-- Seconds; a refusal takes milliseconds, but the machine may be busy.
local SOON = e2e.sanitized and 20 or 4

describe("over TLS", function()
  local world, keys
  before_each(function() world, keys = fleet_keys.world() end)
  after_each(function() world:close() end)

  local function says(process, pattern)
    e2e.wait_until(pattern, function() return process:err():find(pattern) end, 20)
  end

  -- What a driver with these flags says, after `moonfleet: ADDRESS: `.
  local function refused(address, ...)
    local began = sys.now()
    local run = world:run({ "eval", "--peers", address, "1", ... })
    assert.same({ 3, "" }, { run.code, run.out }, run.err)
    assert.is_true(sys.now() - began < SOON, run.err)
    return run.err:match("^moonfleet: no node can be used: tcp://" .. address:gsub("%p", "%%%0")
      .. ": ([^\n]+)\n$") or run.err
  end

  -- Connects as openssl(1) does, which presents any certificate. Returns what it prints.
  local function s_client(address, folder, ...)
    local words = { "openssl", "s_client", "-connect", address, "-CAfile", keys.node .. "/ca.crt",
      "-alpn", "moonfleet/" .. sys.protocol, "-ign_eof", ... }
    if folder then
      table.move({ "-cert", folder .. "/cert.pem", "-key", folder .. "/key.pem" }, 1, 4, #words + 1,
        words)
    end
    local run = world:start(words):wait()
    return run.out .. run.err
  end

  -- Starts a node of openssl(1), which presents any certificate.
  local function s_server(folder, ...)
    local port = e2e.free_port()
    local server = world:start({ "openssl", "s_server", "-accept", "127.0.0.1:" .. port, "-cert",
      folder .. "/cert.pem", "-key", folder .. "/key.pem", "-alpn", "moonfleet/" .. sys.protocol,
      "-naccept", "50", ... }, { pipe = true })
    e2e.wait_until("s_server", function() return server:out():find("ACCEPT", 1, true) end)
    return "127.0.0.1:" .. port
  end

  it("a driver refuses nodes that are not of its fleet", function()
    local other = fleet_keys.new(world)
    assert.equal("its certificate is not signed by our CA (issuer: CA of fleet search)",
      (refused(other:serve().address, "--tls", keys.driver)
        :gsub("%(issuer: [^)]*%)", "(issuer: CA of fleet search)")))
    local stranger = keys:forge({ role = "node", fleet = "other" })
    assert.equal("belongs to another fleet (its name is node.other.moonfleet, expected "
      .. "node.search.moonfleet)", refused(s_server(stranger), "--tls", keys.driver))
    assert.equal("its certificate is a driver certificate, not a node certificate",
      refused(s_server(keys.driver), "--tls", keys.driver))
    local expired = keys:forge({ role = "node", to = os.time() - 60 })
    assert.matches("^its certificate expired on 20[%d%- :]+ UTC$",
      refused(s_server(expired), "--tls", keys.driver))
    local future = keys:forge({ role = "node", from = os.time() + 3600 })
    assert.matches("^its certificate is not valid before 20[%d%- :]+ UTC$",
      refused(s_server(future), "--tls", keys.driver))
    assert.equal("does not speak TLS 1.3",
      refused(s_server(keys.node, "-tls1_2"), "--tls", keys.driver))
  end)

  it("a driver refuses a node that is revoked, which the node logs, too", function()
    local own = keys:serve()
    keys:revoke(keys.node)
    assert.matches("^its certificate is revoked %(serial number %x+%)$",
      refused(own.address, "--tls", keys.driver))
    says(own, 'why="rejected our certificate %(revoked%)"')
  end)

  it("a node refuses drivers that are not of its fleet", function()
    local own, other = keys:serve(), fleet_keys.new(world)
    -- this driver trusts the CA of the node
    local stranger = keys:copy(other.driver, "stranger")
    os.execute(("cat %s/ca.crt >>%s/ca.crt"):format(keys.dir, stranger))
    assert.equal("rejected our certificate (unknown CA)", refused(own.address, "--tls", stranger))
    says(own, 'why="its certificate is not signed by our CA %(issuer: [^"]*%)"')
    keys:revoke(keys.driver)
    own:kill("HUP")
    says(own, 'msg="new keys"')
    task.sleep(1.1) -- one line a second
    os.remove(keys.driver .. "/crl.pem") -- with it, the driver itself would refuse
    assert.equal("rejected our certificate (revoked)", refused(own.address, "--tls", keys.driver))
    says(own, 'why="its certificate is revoked %(serial number %x+%)"')
  end)

  it("a node refuses what no driver of ours presents", function()
    local own = keys:serve()
    for _, case in ipairs({
      { keys.node, "its certificate is a node certificate, not a driver certificate",
        "unsupported certificate" },
      { keys:forge({ role = "driver", to = os.time() - 60 }), "its certificate expired on 20",
        "certificate expired" },
      { keys:forge({ role = "driver", from = os.time() + 3600 }),
        "its certificate is not valid before 20", "bad certificate" },
      { keys:forge({ role = "driver", fleet = "other" }), "belongs to another fleet "
        .. "%(its name is driver.other.moonfleet, expected driver.search.moonfleet%)",
        "bad certificate" },
      { nil, "has sent no certificate", "certificate required" },
    }) do
      task.sleep(1.1) -- one line a second
      assert.matches("alert " .. case[3], s_client(own.address, case[1]))
      says(own, 'msg="a connection is refused" peer=[%d.:]+ why="' .. case[2])
    end
    task.sleep(1.1)
    assert.matches("alert protocol version", s_client(own.address, keys.driver, "-tls1_2"))
    says(own, 'why="does not speak TLS 1.3"')
    assert.equal(0, world:run({ "eval", "--peers", own.address, "--tls", keys.driver, "1" }).code)
  end)

  it("a certificate that expires while a driver has it is refused", function()
    local own = keys:serve()
    local short = keys:forge({ role = "driver", to = os.time() + 2 })
    local identity = assert(tls.load(short, "run"))
    task.sleep(4)
    local peer, err = channel.dial({ url = "tcp://" .. own.address, tls = identity, timeout = 30 })
    assert.is_nil(peer)
    assert.same({ "tls", ("tcp://%s: rejected our certificate (expired)"):format(own.address) },
      { err.kind, err.message })
  end)

  it("drivers and nodes notice that the other has no keys", function()
    local with, without = keys:serve(), world:node({ workers = 1 })
    assert.equal("closed the connection at once; does it need --tls?", refused(with.address))
    says(with, 'why="has connected without TLS; does it have %-%-tls%?"')
    assert.equal("answers without TLS", refused(without.address, "--tls", keys.driver))
    assert.equal(0, world:run({ "eval", "--peers", without.address, "1" }).code)
  end)

  it("a driver waits 5 s for the handshake", function()
    local server = require("socket").bind("127.0.0.1", 0)
    finally(function() server:close() end)
    local address = "127.0.0.1:" .. select(2, server:getsockname())
    local run = world:run({ "eval", "--peers", address, "--tls", keys.driver, "1" })
    assert.equal(3, run.code)
    assert.matches(": no TLS answer within 5 s\n$", run.err)
  end)

  it("an observer may look, and is refused anything else", function()
    local own, bob = keys:serve(), keys:pair("observer", "bob")
    local run = world:run({ "nodes", "--peers", own.address, "--tls", bob })
    assert.same({ 0, "" }, { run.code, run.err })
    assert.matches("ready", run.out)
    for _, words in ipairs({ { "eval", "1" }, { "run", world:write("job.lua",
      "return { map = function(x) return x end }"), "--items", "a" } }) do
      run = world:run({ words[1], "--peers", own.address, "--tls", bob,
        table.unpack(words, 2) })
      assert.same({ 3, "", ("moonfleet: %s/cert.pem: refused: this certificate may observe only "
        .. "(moonfleet nodes, moonfleet doctor)\n"):format(bob) }, { run.code, run.out, run.err })
    end
    -- the node does not rely on that
    local identity = assert(tls.load(bob, "run"))
    local peer = assert(channel.dial({ url = "tcp://" .. own.address, tls = identity,
      timeout = 30 }))
    local key = ("k"):rep(16)
    for _, request in ipairs({ { "open", key, 0, 1 }, { "cancel", 0, {} }, { "end", key } }) do
      assert.same({ "error", "tls", "refused: this certificate may observe only" },
        session.ask(peer, table.unpack(request)))
    end
    assert.equal("status", session.ask(peer, "status")[1])
    local s = session.new("bob")
    local ok, err, by_node = s.native:open(peer, s.key, 30, sys.version)
    assert.same({ nil, "tls", true }, { ok, err.kind, by_node })
    assert.is_true(peer:up())
    peer:close()
    assert.is_nil(own:err():find("session opened", 1, true))
  end)

  it("strangers keep no driver out, and leave nothing behind", function()
    local own = keys:serve()
    local function descriptors()
      return #e2e.children(own.pid) + select(2, (io.popen("ls /proc/" .. own.pid .. "/fd")
        :read("a")):gsub("\n", ""))
    end
    local before = descriptors()
    local raw = {}
    for i = 1, 40 do
      raw[#raw + 1] = frames.connect(own.port, true) -- silent
      raw[#raw + 1] = frames.connect(own.port) -- without TLS
      local hello = frames.connect(own.port, true)
      hello:send("\22\3\1\2\0\1\0\1\252\3\3" .. ("x"):rep(i)) -- trickles, or stops amid its hello
      raw[#raw + 1] = hello
    end
    local began = sys.now()
    assert.equal(0, world:run({ "eval", "--peers", own.address, "--tls", keys.driver, "1" }).code)
    assert.is_true(sys.now() - began < SOON)
    e2e.wait_until("the strangers to be gone", function() return descriptors() <= before end, 12)
    for _, each in ipairs(raw) do each:close() end
  end)
end)

describe("keys", function()
  local world, keys
  before_each(function() world, keys = fleet_keys.world() end)
  after_each(function() world:close() end)

  -- Code and message of a command that ends before it connects.
  local function usage(...)
    local run = world:run({ ... })
    assert.equal("", run.out)
    return { run.code, run.err:match("moonfleet: ([^\n]*)\n$") }
  end

  it("are needed beyond this machine", function()
    assert.same({ 2, "10.0.1.5:5440: reachable only with --tls DIR or --ssh" },
      usage("nodes", "--peers", "127.0.0.1:1,10.0.1.5"))
    local list = world:write("list", "10.0.1.5:7\n")
    assert.same({ 2, "no node can be used: 10.0.1.5:7: reachable only with --tls DIR or --ssh" },
      usage("eval", "--discover", "file:" .. list, "1"))
    assert.same({ 2, "will not listen on 10.0.1.5 without --tls DIR: anyone who can connect could "
      .. "run code here; `moonfleet keygen DIR` makes keys" },
      usage("serve", "--listen", "tcp://10.0.1.5:5440"))
  end)

  it("must be those of the role", function()
    assert.same({ 2, keys.driver .. "/cert.pem is a driver certificate; serve needs a node "
      .. "certificate" }, usage("serve", "--tls", keys.driver))
    assert.same({ 2, keys.node .. "/cert.pem is a node certificate; run needs a driver "
      .. "certificate" }, usage("run", "--peers", "127.0.0.1:1", "--tls", keys.node, "--items",
      world:write("job.lua", "return { map = function(x) return x end }"), "x"))
  end)

  it("must be valid, secret and complete, before any connection", function()
    local expired = keys:forge({ role = "node", to = os.time() - 60 })
    local future = keys:forge({ role = "node", from = os.time() + 3600 })
    assert.matches("^" .. expired:gsub("%p", "%%%0") .. "/cert.pem expired on 20",
      usage("serve", "--tls", expired)[2])
    assert.matches("^" .. future:gsub("%p", "%%%0") .. "/cert.pem is not valid before 20",
      usage("serve", "--tls", future)[2])
    local dir = keys:copy(keys.node, "copy")
    os.execute(("cp %s/key.pem %s/key.pem"):format(keys.driver, dir))
    assert.same({ 2, ("%s/key.pem does not match %s/cert.pem"):format(dir, dir) },
      usage("serve", "--tls", dir))
    os.execute(("chmod 644 %s/key.pem"):format(dir))
    assert.same({ 2, dir .. "/key.pem is readable by others (0644): chmod 600" },
      usage("serve", "--tls", dir))
    os.remove(dir .. "/key.pem")
    assert.equal(2, usage("serve", "--tls", dir)[1])
    assert.equal(2, usage("nodes", "--peers", "127.0.0.1:1", "--tls", world:path("none"))[1])
  end)

  it("have no effect without nodes over TCP, and exclude --insecure", function()
    assert.same({ 2, "--tls is for nodes over TCP: name them with --peers or --discover" },
      usage("eval", "--tls", keys.driver, "1"))
    assert.same({ 2, "--insecure is for nodes over TCP: name them with --peers or --discover" },
      usage("eval", "--insecure", "1"))
    assert.same({ 2, "--insecure is TCP without keys, and --tls names keys: give only one of "
      .. "them" }, usage("nodes", "--peers", "10.0.1.5", "--tls", keys.driver, "--insecure"))
    assert.same({ 2, "--tls is for tcp addresses, and this node listens on none" },
      usage("serve", "--listen", "ipc://" .. world:path("s"), "--tls", keys.node))
    assert.same({ 2, "the configuration has 'insecure', which does not count there: --insecure "
      .. "must be typed" }, usage("nodes", "--peers", "10.0.1.5", "--config",
      world:write("config.lua", "return { insecure = true }")))
  end)

  it("have no effect where --launch replaces the nodes of the environment", function()
    for _, words in ipairs({ { "--tls", keys.driver }, { "--insecure" } }) do
      for _, variable in ipairs({ "MOONFLEET_PEERS=127.0.0.1:1", "MOONFLEET_DISCOVER=file:x" }) do
        local run = world:run({ "eval", "--launch", "exit 4", "1", table.unpack(words) },
          { env = { variable } })
        assert.same({ 2, ("moonfleet: %s is for nodes over TCP: name them with --peers or "
          .. "--discover\n"):format(words[1]) }, { run.code, run.err })
      end
    end
  end)

  it("are not needed with --insecure, which warns", function()
    local own = world:node({ workers = 1, url = "0.0.0.0:" .. e2e.free_port(),
      flags = { "--insecure" } })
    assert.matches("level=warn [^\n]*insecure: anyone who can connect may run code", own:err())
    local run = world:run({ "eval", "--insecure", "--peers",
      own.address:gsub("0.0.0.0", "127.0.0.1"), "6 * 7" })
    assert.same({ 0, "42\n" }, { run.code, run.out })
    assert.matches("^moonfleet: %-%-insecure: anyone on the way can read", run.err)
  end)
end)
