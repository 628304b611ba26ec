-- SPDX-License-Identifier: MIT
local address = require("fleet.discovery.address")

describe("fleet.discovery.address", function()
  it("takes apart what people write", function()
    for text, parts in pairs({
      ["host"] = { "host" }, ["host:1"] = { "host", 1 }, ["10.0.0.1:65535"] = { "10.0.0.1", 65535 },
      ["a-b.c:5440"] = { "a-b.c", 5440 },
      ["[::1]:80"] = { "::1", 80 }, ["[fd00::2]"] = { "fd00::2" },
      ["fd00::2"] = { "fd00::2" }, ["::"] = { "::" },
    }) do
      assert.same(parts, { address.split(text) }, text)
    end
  end)

  it("says what is wrong with the rest", function()
    for _, text in ipairs({ "", ":", ":80", "a:", "a b:1", "a:b", "[::1", "[x]:1", "a:1:2", "[]:1",
      "tcp://a:1", "::1]:5" }) do
      local host, why = address.split(text)
      assert.is_nil(host, text)
      assert.equal("is not HOST, HOST:PORT or [IPV6]:PORT", why)
    end
    for _, text in ipairs({ "a:0", "a:65536", "[::1]:99999999999999999999" }) do
      assert.same({ n = 2, nil, "has a port outside 1 to 65535" },
        table.pack(address.split(text)), text)
    end
  end)

  it("puts together what split takes apart", function()
    assert.equal("10.0.0.1:5440", address.join("10.0.0.1", 5440))
    assert.equal("[fd00::2]:1", address.join("fd00::2", 1))
  end)
end)
