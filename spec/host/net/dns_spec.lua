-- SPDX-License-Identifier: MIT
-- Name lookups (host/net/dns.c), with dnsmasq and with servers that misbehave.

local dns = require("host.dns")
local e2e = require("spec.support.e2e")
local socket = require("socket")
local sys = require("host.sys")
local task = require("host.task")

local world
before_each(function() world = e2e.new() end)
after_each(function() world:close() end)

local function sorted(list)
  table.sort(list, function(a, b) return a.address < b.address end)
  return list
end

-- A UDP server that sends what `answer(type, name, question)` returns: a code, or nil for silence,
-- and the records, as bytes, with their number; or a whole message, or a list of those.
local function fake(answer)
  local udp = assert(socket.udp())
  assert(udp:setsockname("127.0.0.1", 0))
  udp:settimeout(0)
  local _, port = udp:getsockname()
  local server = { address = "127.0.0.1:" .. port, asked = 0, names = {} }
  local worker = task.start(function()
    while true do
      local bytes, from, from_port = udp:receivefrom()
      if bytes then
        server.asked = server.asked + 1
        local labels, at = {}, 13
        while bytes:byte(at) ~= 0 do
          labels[#labels + 1] = string.unpack("s1", bytes, at)
          at = at + 1 + #labels[#labels]
        end
        local name = table.concat(labels, ".")
        server.names[#server.names + 1] = name
        local code, records, count = answer(string.unpack(">I2", bytes, at + 1), name, bytes)
        if type(code) == "string" then code = { code } end
        if type(code) == "table" then
          for _, message in ipairs(code) do udp:sendto(message, from, from_port) end
        elseif code then
          local head = string.pack(">I2I2I2I2I2", 0x8180 | code, 1, count or 0, 0, 0)
          local question = bytes:sub(13, at + 4)
          udp:sendto(bytes:sub(1, 2) .. head .. question .. (records or ""), from, from_port)
        end
      else
        task.sleep(0.002)
      end
    end
  end)
  function server.stop()
    worker:cancel()
    udp:close()
  end
  return server
end

local A, AAAA, SRV = 1, 28, 33

-- A whole response to a question.
local function whole(question, flags, records, count)
  return question:sub(1, 2) .. string.pack(">I2I2I2I2I2", flags, 1, count or 0, 0, 0) ..
    question:sub(13) .. (records or "")
end

-- A record of the name in question.
local function record(kind, ttl, data)
  return string.pack(">I2I2I2I4s2", 0xc00c, kind, 1, ttl, data)
end

local function refusal(lookup, name, options)
  local list, err = lookup(name, options)
  assert.is_nil(list)
  return err.kind, err.reason, err.message
end

describe("dns.addresses", function()
  it("returns addresses of both families with their times to live", function()
    local server = world:dnsmasq({
      "--host-record=a.test,10.0.0.1,fd00::1,300", "--host-record=b.test,10.0.0.2,0",
      "--cname=c.test,a.test,7",
    })
    local options = { server = server.address }
    assert.same({ { address = "10.0.0.1", ttl = 300 }, { address = "fd00::1", ttl = 300 } },
      sorted(dns.addresses("a.test", options)))
    assert.same({ { address = "10.0.0.2", ttl = 0 } }, dns.addresses("b.test", options))
    assert.same({ { address = "10.0.0.1", ttl = 7 }, { address = "fd00::1", ttl = 7 } },
      sorted(dns.addresses("c.test.", options)))
  end)

  it("distinguishes a missing name from one without addresses", function()
    local server = world:dnsmasq({ "--txt-record=text.test,x", "--srv-host=_s._tcp.test,a.test,1" })
    local options = { server = server.address }
    assert.same({ "dns", "no_name", "none.test: there is no such name" },
      { refusal(dns.addresses, "none.test.", options) })
    assert.same({ "dns", "no_data", "text.test: the name has no addresses" },
      { refusal(dns.addresses, "text.test.", options) })
    assert.same({ "dns", "no_data", "text.test: the name has no services" },
      { refusal(dns.services, "text.test.", options) })
    assert.same({ "dns", "refused", "a.elsewhere: the name server refuses to answer" },
      { refusal(dns.addresses, "a.elsewhere.", options) })
  end)

  it("sees changes at once", function()
    local hosts = world:write("hosts", "10.0.0.1 a.test\n10.0.0.2 a.test\n")
    local server = world:dnsmasq({ "--addn-hosts=" .. hosts, "--local-ttl=1" })
    local options = { server = server.address }
    assert.same({ { address = "10.0.0.1", ttl = 1 }, { address = "10.0.0.2", ttl = 1 } },
      sorted(dns.addresses("a.test", options)))
    world:write("hosts", "10.0.0.3 a.test\n")
    server:kill("HUP")
    e2e.wait_until("the change", function()
      local list = dns.addresses("a.test", options)
      return list and #list == 1 and list[1].address == "10.0.0.3"
    end)
    world:write("hosts", "")
    server:kill("HUP")
    e2e.wait_until("the end of the name", function()
      local list, err = dns.addresses("a.test.", options)
      return not list and err.reason == "no_name"
    end)
  end)

  it("uses TCP for a response that does not fit into a datagram", function()
    local lines = {}
    for i = 1, 300 do lines[i] = ("10.1.%d.%d many.test"):format(i // 200, i % 200 + 1) end
    local hosts = world:write("hosts", table.concat(lines, "\n"))
    local server = world:dnsmasq({ "--addn-hosts=" .. hosts })
    local list = assert(dns.addresses("many.test", { server = server.address }))
    assert.equal(300, #list)
    local seen = {}
    for _, each in ipairs(list) do seen[each.address] = true end
    for _, line in ipairs(lines) do assert.is_true(seen[line:match("^%S+")], line) end
  end)

  it("goes to the next server when one does not answer", function()
    local silent = fake(function() end)
    local server = world:dnsmasq({ "--host-record=a.test,10.0.0.1,9" })
    assert.same({ { address = "10.0.0.1", ttl = 9 } }, dns.addresses("a.test", {
      server = { silent.address, server.address }, timeout = 30, tries = 3,
    }))
    assert.is_true(silent.asked > 0)
    silent.stop()
  end)

  it("accepts literal addresses, and reads the hosts file", function()
    local options = { server = "127.0.0.1:1" } -- where nobody is
    assert.same({ { address = "10.0.0.7", ttl = 0 } }, dns.addresses("10.0.0.7", options))
    assert.same({ { address = "fd00::7", ttl = 0 } }, dns.addresses("FD00:0::7", options))
    assert.equal("127.0.0.1", sorted(dns.addresses("localhost", options))[1].address)
  end)

  it("never takes a failure for an absent name", function()
    for name, case in pairs({
      servfail = { 2, "failed" }, refused = { 5, "refused" }, no_name = { 3, "no_name" },
      no_data = { 0, "no_data" }, format = { 1, "failed" }, not_implemented = { 4, "failed" },
    }) do
      local server = fake(function() return case[1] end)
      local kind, reason = refusal(dns.addresses, name .. ".test.", { server = server.address })
      assert.same({ "dns", case[2] }, { kind, reason }, name)
      server.stop()
    end
  end)

  it("tries the search domains: a name is absent only when none has failed", function()
    local codes = { ["a.one.test"] = 3, ["a.two.test"] = 0, ["b.one.test"] = 2 }
    local server = fake(function(kind, name)
      if name == "a.two.test" and kind == A then return 0, record(A, 5, "\10\0\0\1"), 1 end
      return codes[name] or 3
    end)
    local script = world:write("script.lua", ([[
      local dns = require("host.dns")
      for _, name in ipairs({ "a", "b", "c", "d.d", "a." }) do
        local list, err = dns.addresses(name, { server = "%s", timeout = 60 })
        print(name, list and list[1].address or err.reason)
      end
    ]]):format(server.address))
    local run = world:run({ "run", script }, { env = { "LOCALDOMAIN=one.test two.test" } })
    assert.equal("a\t10.0.0.1\nb\tfailed\nc\tno_name\nd.d\tno_name\na.\tno_name\n", run.out)
    local asked, order = {}, {}
    for _, name in ipairs(server.names) do -- each twice, for A and AAAA, or more
      if not asked[name] then order[#order + 1] = name end
      asked[name] = true
    end
    assert.same({ "a.one.test", "a.two.test", "b.one.test", "b.two.test", "b", "c.one.test",
      "c.two.test", "c", "d.d", "d.d.one.test", "d.d.two.test", "a" }, order)
    server.stop()
  end)

  it("tries no search domain that makes a name too long to exist", function()
    local server = fake(function() return 3 end)
    local label = ("a"):rep(61)
    local script = world:write("long.lua", ([[
      local _, err = require("host.dns").addresses("%s", { server = "%s", timeout = 60 })
      print(err.reason)
    ]]):format(table.concat({ label, label, label, label:sub(3) }, "."), server.address))
    for _, domain in ipairs({ "one.test", "two.test.", ("b"):rep(64) .. ".test" }) do
      local run = world:run({ "run", script }, { env = { "LOCALDOMAIN=" .. domain } })
      assert.equal("no_name\n", run.out, run.err)
    end
    server.stop()
  end)

  it("marks an answer as partial when one of two questions failed", function()
    for _, failing in ipairs({ A, AAAA }) do
      local server = fake(function(kind)
        if kind == failing then return 2 end
        return 0, record(kind, 5, kind == A and "\10\0\0\1" or "\xfd" .. ("\0"):rep(14) .. "\1"), 1
      end)
      local options = { server = server.address }
      local list = assert(dns.addresses("a.test.", options))
      assert.is_true(list.partial)
      assert.equal(1, #list)
      server.stop()
    end
    for _, failing in ipairs({ A, AAAA }) do -- and the other one has nothing
      local server = fake(function(kind) return kind == failing and 2 or 0 end)
      assert.equal("failed", select(2, refusal(dns.addresses, "a.test.",
        { server = server.address })))
      server.stop()
    end
  end)

  it("refuses truncated responses", function()
    for name, data in pairs({ short = "\10\0\0", long = "\10\0\0\0\1", none = "" }) do
      local server = fake(function(kind)
        if kind == A then return 0, record(A, 5, data), 1 end
        return 0
      end)
      assert.equal("failed", select(2, refusal(dns.addresses, "a.test.",
        { server = server.address })), name)
      server.stop()
    end
    local cut = fake(function(kind)
      return 0, record(kind, 5, "\10\0\0\1"):sub(1, -3), 1
    end)
    assert.equal("failed", select(2, refusal(dns.addresses, "a.test.", { server = cut.address })))
    cut.stop()
  end)

  it("takes a time to live above 2^31 for 0", function()
    local server = fake(function(kind)
      if kind == A then return 0, record(A, 0x80000000, "\10\0\0\1"), 1 end
      return 0
    end)
    assert.same({ { address = "10.0.0.1", ttl = 0 } },
      dns.addresses("a.test.", { server = server.address }))
    server.stop()
  end)

  it("ends in time when no server answers", function()
    e2e.with_limit(0.5, function(seconds)
      local silent = fake(function() end)
      local began = sys.now()
      assert.same({ "dns", "timeout", "a.test: the name server does not answer in time" },
        { refusal(dns.addresses, "a.test.", { server = silent.address, timeout = seconds }) })
      local took = sys.now() - began
      silent.stop()
      assert.is_true(took >= 0.6 * seconds and took < seconds + 30, took)
      assert.is_true(silent.asked >= 4, silent.asked) -- both questions, more than once
    end)
    -- not a dnsmasq that was killed: a child of it may have the socket for a while
    local server = fake(function() end)
    server.stop()
    assert.same({
      "dns", "unreachable", "a.test: the name server cannot be reached: Connection refused",
    }, {
      refusal(dns.addresses, "a.test.", { server = server.address, timeout = 30 }),
    })
  end)

  it("gives each of several servers its time", function()
    e2e.with_limit(2, function(seconds)
      local silent, count = fake(function() end), 0
      local other = fake(function()
        count = count + 1
        if count > 2 then return 3 end -- both questions, the second time
      end)
      local why = select(2, refusal(dns.addresses, "a.test.",
        { server = { silent.address, other.address }, timeout = seconds, tries = 2 }))
      silent.stop()
      other.stop()
      assert.same({ "no_name", 4, 4 }, { why, silent.asked, other.asked })
    end)
  end)

  it("accepts a late response after it has asked again", function()
    local answered
    local server = fake(function(kind)
      if kind ~= A then return 0 end
      if answered then return end
      answered = true
      task.sleep(0.5) -- others are on their way meanwhile
      return 0, record(A, 5, "\10\0\0\1"), 1
    end)
    assert.same({ { address = "10.0.0.1", ttl = 5 } }, dns.addresses("a.test.",
      { server = server.address, timeout = 60, tries = 10 }))
    server.stop()
  end)

  it("ignores messages that do not answer its question", function()
    local server = fake(function(kind, _, question)
      local real = whole(question, 0x8180, record(kind, 5, kind == A and "\10\0\0\1" or
        ("\0"):rep(16)), 1)
      local other = "\4evil" .. question:sub(15)
      return {
        "", "x", question, -- not even an answer
        string.pack(">I2", string.unpack(">I2", real) ~ 1) .. real:sub(3), -- another number
        real:sub(1, 12) .. other, -- another name
        real:sub(1, 20), real:sub(1, 4) .. "\0\0" .. real:sub(7), -- none
        (real:gsub("\4test", "\4TEST")), -- this one is right: case does not matter
      }
    end)
    local list = assert(dns.addresses("a.test.", { server = server.address, timeout = 60 }))
    assert.same({ "10.0.0.1", "::" }, { sorted(list)[1].address, list[2].address })
    assert.equal(2, server.asked)
    server.stop()
  end)

  it("asks the next server when one refuses, and none twice", function()
    local good = world:dnsmasq({ "--host-record=a.test,10.0.0.1,9" })
    for code = 1, 15 do
      if code ~= 3 then
        local bad = fake(function(kind, _, question)
          if kind == A then return code end -- and without the question it is as good
          return question:sub(1, 2) .. string.pack(">I2", 0x8180 | code) .. ("\0"):rep(8)
        end)
        assert.same({ { address = "10.0.0.1", ttl = 9 } }, dns.addresses("a.test",
          { server = { bad.address, good.address }, timeout = 30 }), code)
        assert.equal(2, bad.asked)
        bad.stop()
      end
    end
  end)

  it("reports how a server failed", function()
    for code, words in pairs({ "FORMERR", "SERVFAIL", [4] = "NOTIMP", [9] = "code 9" }) do
      local server = fake(function() return code end)
      assert.equal("a.test: the name server failed: " .. words, select(3, refusal(dns.addresses,
        "a.test.", { server = server.address })))
      server.stop()
    end
  end)

  it("fails when the rest of a truncated response cannot be fetched", function()
    local cut = fake(function(_, _, question) return whole(question, 0x8380) end)
    assert.equal("a.test: the name server cannot be reached: Connection refused",
      select(3, refusal(dns.addresses, "a.test.", { server = cut.address, timeout = 30 })))
    cut.stop()
  end)

  it("reads a response by TCP in pieces, and refuses one that ends early", function()
    for _, ends in ipairs({ false, true }) do
      local listener = assert(socket.bind("127.0.0.1", 0))
      local _, port = listener:getsockname()
      listener:settimeout(0)
      local worker = task.start(function()
        while true do
          local peer = listener:accept()
          if peer then
            peer:settimeout(0)
            local bytes = ""
            repeat
              local got, _, part = peer:receive(100)
              bytes = bytes .. (got or part or "")
              task.sleep(0.002)
            until #bytes >= 2 and #bytes == 2 + string.unpack(">I2", bytes)
            local question = bytes:sub(3)
            local kind = string.unpack(">I2", question, #question - 3)
            local answer = string.pack(">s2", kind ~= A and whole(question, 0x8180) or
              whole(question, 0x8180, record(A, 5, "\10\0\0\1"):rep(3000), 3000))
            local last = ends and #answer - 1 or #answer
            for at = 1, last, 9000 do
              assert(peer:send(answer:sub(at, math.min(at + 8999, last))))
              task.sleep(0.001)
            end
            peer:close()
          end
          task.sleep(0.002)
        end
      end)
      local script = world:write("script.lua", ([[
        local list, err = require("host.dns").addresses("a.test.", { server = "%s", timeout = 60 })
        print(list and #list or err.message)
      ]]):format("127.0.0.1:" .. port))
      local run = world:run({ "run", script }, { env = { "RES_OPTIONS=use-vc" } })
      assert.equal(not ends and "3000\n" or
        "a.test: the name server cannot be reached: Connection reset by peer\n", run.out)
      worker:cancel()
      listener:close()
    end
  end)

  it("counts dots as resolv.conf has it", function()
    local server = fake(function() return 3 end)
    local script = world:write("script.lua", ([[
      local dns = require("host.dns")
      for _, name in ipairs({ "a", "a.b", "a.b.c", "a.b." }) do
        dns.addresses(name, { server = "%s", timeout = 60 })
      end
    ]]):format(server.address))
    world:run({ "run", script }, { env = { "LOCALDOMAIN=one.test .", "RES_OPTIONS=ndots:2" } })
    local asked, order = {}, {}
    for _, name in ipairs(server.names) do
      if not asked[name] then order[#order + 1] = name end
      asked[name] = true
    end
    assert.same({ "a.one.test", "a", "a.b.one.test", "a.b", "a.b.c", "a.b.c.one.test" }, order)
    server.stop()
  end)

  it("raises for misuse, and refuses invalid names", function()
    for name, expected in pairs({
      [""] = "dns: the name is empty", ["."] = "dns: the name is empty",
      ["a..b"] = "dns: a..b: a part of the name is empty",
      [".a"] = "dns: .a: a part of the name is empty",
      ["a\0b"] = "dns: a name has letters, digits, '-', '_' and dots only, not byte 0 at 2",
      ["a b"] = "dns: a name has letters, digits, '-', '_' and dots only, not byte 32 at 2",
      ["a\\.b"] = "dns: a name has letters, digits, '-', '_' and dots only, not byte 92 at 2",
      ["ü"] = "dns: a name has letters, digits, '-', '_' and dots only, not byte 195 at 1",
      [("a"):rep(64)] = "dns: " .. ("a"):rep(64) .. ": a part is longer than 63 bytes",
      [("a."):rep(127) .. "a"] = "dns: the name is longer than 253 bytes",
    }) do
      for _, lookup in ipairs({ dns.addresses, dns.services }) do
        assert.same({ "usage", nil, expected }, { refusal(lookup, name) })
      end
    end
    for _, server in ipairs({ "", "name:53", "10.0.0.1:0", "10.0.0.1:x", "10.0.0.1:", "1:2:3:4",
      "[10.0.0.1", "10.0.0.1:65536", "[fd00::1]:53x" }) do
      local kind, _, message = refusal(dns.addresses, "a.test", { server = server })
      assert.equal("usage", kind, server)
      assert.matches("is not the address of a name server", message)
    end
    for _, options in ipairs({ { server = {} }, { server = 1 }, { server = { 1 } }, { timeout = 0 },
      { timeout = "1" }, { tries = 0 }, { tries = 1.5 }, { tries = 11 }, 1 }) do
      assert.error(function() dns.addresses("a.test", options) end)
    end
    assert.error(function() dns.addresses() end)
  end)

  it("is cancelled with its task", function()
    local silent = fake(function() end)
    local other = world:dnsmasq({ "--host-record=a.test,10.0.0.1,9" })
    for _, delay in ipairs({ 0, 0.01, 0.1 }) do
      local children = {}
      for i = 1, 20 do
        children[i] = task.start(dns.addresses, "a.test.",
          { server = i % 2 == 0 and silent.address or other.address, timeout = 60 })
      end
      if delay == 0 then task.yield() else task.sleep(delay) end
      for _, each in ipairs(children) do each:cancel() end
    end
    silent.stop()
  end)

  it("asks many at once", function()
    local server = world:dnsmasq({ "--host-record=a.test,10.0.0.1,9" })
    local children = {}
    for i = 1, 100 do
      children[i] = task.start(dns.addresses, "a.test.", { server = server.address, timeout = 60 })
    end
    for i = 1, 100 do
      local ok, list = children[i]:join()
      assert.is_true(ok)
      assert.same({ { address = "10.0.0.1", ttl = 9 } }, list)
    end
  end)
end)

describe("dns.services", function()
  it("returns targets, and their addresses from the additional section", function()
    local server = world:dnsmasq({
      "--srv-host=_fleet._tcp.test,one.test,5440,1,10", "--host-record=one.test,10.0.0.1,fd00::1",
      "--srv-host=_fleet._tcp.test,two.elsewhere,5441,2,20", "--local-ttl=4",
    })
    local list = assert(dns.services("_fleet._tcp.test", { server = server.address }))
    table.sort(list, function(a, b) return a.port < b.port end)
    assert.equal(2, #list)
    sorted(list[1].addresses)
    local ttl = list[1].ttl
    assert.same({
      {
        target = "one.test", port = 5440, priority = 1, weight = 10, ttl = ttl,
        addresses = {
          { address = "10.0.0.1", ttl = list[1].addresses[1].ttl },
          { address = "fd00::1", ttl = list[1].addresses[2].ttl },
        },
      },
      { target = "two.elsewhere", port = 5441, priority = 2, weight = 20, ttl = ttl },
    }, list)
  end)

  it("takes the root as target for no service", function()
    local server = fake(function() return 0, record(SRV, 5, "\0\0\0\0\0\0\0"), 1 end)
    assert.equal("no_data", select(2, refusal(dns.services, "_s._tcp.test.",
      { server = server.address })))
    server.stop()
    server = fake(function()
      return 0, record(SRV, 0, "\0\1\0\2\0\3\1a\4test\0") .. record(SRV, 6, "\0\0\0\0\0\0\0"), 2
    end)
    assert.same({ { target = "a.test", port = 3, priority = 1, weight = 2, ttl = 0 } },
      dns.services("_s._tcp.test.", { server = server.address }))
    server.stop()
  end)

  it("refuses truncated services", function()
    local port = "\0\0\0\0\0\1"
    for _, data in ipairs({ "\0\0\0\0\0", port, port .. "\60a", port .. "\xc0\xff" }) do
      local server = fake(function() return 0, record(SRV, 5, data), 1 end)
      assert.equal("failed", select(2, refusal(dns.services, "_s._tcp.test.",
        { server = server.address })))
      server.stop()
    end
  end)
end)
