-- SPDX-License-Identifier: MIT
local address = require("fleet.httpd.address")

describe("httpd.address", function()
  it("tells addresses from names", function()
    for _, ip in ipairs({ "127.0.0.1", "10.255.0.1", "::1", "fe80::1" }) do
      assert.is_true(address.is_ip(ip), ip)
    end
    for _, name in ipairs({ "a", "127.0.0", "1.2.3.4.5", "1.2.3.256", "1.2..4", "127.0.0.1.", "",
      "localhost", "127.example.org", "0x7f.0.0.1" }) do
      assert.is_false(address.is_ip(name), name)
    end
  end)

  it("knows which addresses only this machine reaches", function()
    for _, host in ipairs({ "127.0.0.1", "127.9.9.9", "::1", "localhost" }) do
      assert.is_true(address.is_loopback(host), host)
    end
    for _, host in ipairs({ "0.0.0.0", "::", "10.0.0.1", "127.example.org" }) do
      assert.is_false(address.is_loopback(host), host)
    end
  end)

  it("reads the header Host", function()
    assert.equal("a.example", address.name("A.Example:80"))
    assert.equal("::1", address.name("[::1]:8440"))
    assert.equal("127.0.0.1", address.name("127.0.0.1"))
    for _, header in ipairs({ "", "a b", "a:b", "http://a", "a@b", "[::1", "a/b", "::1" }) do
      assert.is_nil(address.name(header), header)
    end
  end)

  it("reads flags, and says what they take", function()
    assert.same({ "127.0.0.1", 80 }, { address.read("--x", "80", 1) })
    assert.same({ "127.0.0.1", 80 }, { address.read("--x", "localhost:80", 1) })
    assert.same({ "::1", 80 }, { address.read("--x", "[::1]:80", 1) })
    assert.same({ "0.0.0.0", 80 }, { address.read("--x", "0.0.0.0:80", 1) })
    for _, value in ipairs({ "", "a:80", "80:", "::1:80", "1.2.3:80", "tcp://127.0.0.1:80" }) do
      local host, err = address.read("--x", value, 7)
      assert.is_nil(host, value)
      assert.matches("^%-%-x takes an address such as 127.0.0.1:7", err.message)
    end
    for _, value in ipairs({ "0", "65536", "127.0.0.1:999999" }) do
      assert.matches("a port from 1 to 65535", select(2, address.read("--x", value, 7)).message)
    end
    assert.equal("http://[::1]:8440/", address.url("::1", 8440))
  end)
end)
