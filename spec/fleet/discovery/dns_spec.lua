-- SPDX-License-Identifier: MIT
local dns = require("host.dns")
local source = require("fleet.discovery.dns")

describe("fleet.discovery.dns", function()
  local addresses, services = dns.addresses, dns.services
  local names, records, asked
  before_each(function()
    names, records, asked = {}, {}, {}
    local function answer(kind, from)
      return function(name, options)
        asked[#asked + 1] = { kind, name, options.server and table.concat(options.server, " ") }
        local list = from[name] or "no_name"
        if type(list) == "table" then return list end
        return nil, { kind = "dns", message = name .. ": " .. list, reason = list }
      end
    end
    dns.addresses = function(...) return answer("A", names)(...) end
    dns.services = function(...) return answer("SRV", records)(...) end
  end)
  after_each(function() dns.addresses, dns.services = addresses, services end)

  local function members(answer)
    local list = {}
    for i, m in ipairs(answer.members) do list[i] = m.address end
    return table.concat(list, " ")
  end

  it("asks for the addresses of a name", function()
    names.fleet = { { address = "10.0.0.1", ttl = 30 }, { address = "fd00::1", ttl = 20 },
      { address = "10.0.0.1", ttl = 25 } }
    local answer = assert(source.new({ name = "fleet" }):poll())
    assert.equal("10.0.0.1:5440 [fd00::1]:5440", members(answer))
    assert.equal(20, answer.wait)
    answer = assert(source.new({ name = "fleet", port = 7, servers = { "a:1", "b" } }):poll())
    assert.equal("10.0.0.1:7 [fd00::1]:7", members(answer))
    assert.same({ "A", "fleet", "a:1 b" }, asked[2])
  end)

  it("asks for the services of a name that begins with _", function()
    records["_f._tcp.x"] = {
      { target = "a.x", port = 1, ttl = 9, addresses = { { address = "10.0.0.1", ttl = 8 } } },
      { target = "b.x", port = 2, ttl = 9 }, { target = "gone.x", port = 3, ttl = 9 },
    }
    names["b.x"] = { { address = "10.0.0.2", ttl = 50 } }
    local answer = assert(source.new({ name = "_f._tcp.x" }):poll())
    assert.equal("10.0.0.1:1 10.0.0.2:2", members(answer))
    assert.equal(8, answer.wait)
    assert.same({ { "SRV", "_f._tcp.x" }, { "A", "b.x" }, { "A", "gone.x" } }, asked)
  end)

  it("takes no node from a record with port 0", function()
    local at = { { address = "10.0.0.1", ttl = 8 } }
    records["_f"] = {
      { target = "a.x", port = 0, ttl = 9, addresses = at }, { target = "b.x", port = 0, ttl = 7 },
    }
    local answer = assert(source.new({ name = "_f" }):poll())
    assert.equal("", members(answer))
    assert.equal(7, answer.wait)
    assert.equal(1, #asked)
    table.insert(records["_f"], { target = "a.x", port = 65535, ttl = 9, addresses = at })
    assert.equal("10.0.0.1:65535", members(source.new({ name = "_f" }):poll()))
  end)

  it("takes a name that is not there for empty, and a failure for none", function()
    local fleet = source.new({ name = "fleet" })
    for _, reason in ipairs({ "no_name", "no_data" }) do
      names.fleet = reason
      assert.same({}, fleet:poll().members)
      assert.equal(10, fleet:poll().wait)
    end
    for _, reason in ipairs({ "failed", "refused", "unreachable", "timeout" }) do
      names.fleet = reason
      local answer, err = fleet:poll()
      assert.is_nil(answer)
      assert.equal("fleet: " .. reason, err.message)
    end
    records["_f"] = { { target = "a.x", port = 1, ttl = 9 } }
    names["a.x"] = "timeout"
    assert.is_nil(source.new({ name = "_f" }):poll())
    records["_f"] = "failed"
    assert.is_nil(source.new({ name = "_f" }):poll())
  end)

  it("says when it is a part only", function()
    names.fleet = { { address = "10.0.0.1", ttl = 30 }, partial = true }
    assert.is_true(source.new({ name = "fleet" }):poll().partial)
  end)

  it("keeps times within bounds, unless it is told one", function()
    for ttl, wait in pairs({ [0] = 2, [5] = 5, [86400] = 60 }) do
      names.fleet = { { address = "10.0.0.1", ttl = ttl } }
      assert.equal(wait, source.new({ name = "fleet" }):poll().wait)
      assert.equal(3, source.new({ name = "fleet", interval = 3 }):poll().wait)
    end
  end)

  it("says what there is none of", function()
    assert.equal("fleet has no A or AAAA records", source.new({ name = "fleet" }):why_empty())
    assert.equal("_f has no SRV records with addresses", source.new({ name = "_f" }):why_empty())
    assert.equal("dns fleet by a, b", source.new({ name = "fleet", servers = { "a", "b" } }).name)
  end)
end)
