-- SPDX-License-Identifier: MIT
local access = require("fleet.cluster.access")
local e2e = require("spec.support.e2e")
local fleet_keys = require("spec.support.fleet_keys")

describe("fleet.cluster.access", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function message(...)
    local made, err = access.new(...)
    assert.is_nil(made)
    assert.equal("usage", err.kind)
    return err.message
  end

  it("reaches other machines with keys, or when that is asked for", function()
    local keys = fleet_keys.new(world)
    local urls = { "tcp://127.0.0.1:1", "tcp://[::1]:1", "ipc:///x", "tcp://10.0.1.5:5440",
      "tcp://build1:5440", "tcp://127.example.org:1" }
    local function faults(a)
      local list = {}
      for i, url in ipairs(urls) do list[i] = (a:fault(url) or {}).message or "" end
      return list
    end
    local none = { "", "", "", "", "", "" }
    assert.same({ "", "", "", "10.0.1.5:5440: reachable only with --tls DIR or --ssh",
      "build1:5440: reachable only with --tls DIR or --ssh",
      "127.example.org:1: reachable only with --tls DIR or --ssh" }, faults(access.new()))
    assert.same(none, faults(access.new(nil, true)))
    assert.same(none, faults(access.new(keys.driver, false, "run")))
  end)

  it("says what is wrong with a folder", function()
    local keys = fleet_keys.new(world)
    local dir = keys.driver
    assert.matches("^" .. world.dir:gsub("%W", "%%%0") .. "/none", message(world:path("none"), nil,
      "run"))
    assert.equal(keys.node .. "/cert.pem is a node certificate; run needs a driver certificate",
      message(keys.node, nil, "run"))
    assert(os.execute("chmod 644 " .. dir .. "/key.pem"))
    assert.equal(dir .. "/key.pem is readable by others (0644): chmod 600",
      message(dir, nil, "run"))
    assert(os.execute("chmod 600 " .. dir .. "/key.pem"))
    assert(os.execute(("cp %s/key.pem %s/key.pem"):format(keys.node, dir)))
    assert.matches("key.pem does not match", message(dir, nil, "run"), 1, true)
    local expired = keys:forge({ role = "driver", to = os.time() - 60 })
    assert.matches(expired .. "/cert.pem expired on 20", message(expired, nil, "run"), 1, true)
    local future = keys:forge({ role = "driver", from = os.time() + 3600 })
    assert.matches(future .. "/cert.pem is not valid before 20", message(future, nil, "run"), 1,
      true)
  end)

  it("takes new files, and keeps the old ones when those cannot be used", function()
    local keys = fleet_keys.new(world)
    local dir = keys.driver
    local a = assert(access.new(dir, nil, "run"))
    a:refresh()
    assert.equal(0, a.changes)
    local serial = a.identity:facts().serial
    world:write("bad", "nonsense")
    assert(os.execute(("cp %s/cert.pem %s && cp %s %s/cert.pem"):format(dir, world:path("old"),
      world:path("bad"), dir)))
    a:refresh()
    assert.same({ serial, 0 }, { a.identity:facts().serial, a.changes })
    keys:replace(keys:pair("driver", "carol"), dir)
    for _ = 1, 2 do
      a:refresh()
      assert.same({ "carol", 1 }, { a.identity:facts().name, a.changes })
    end
  end)

  it("connects with the files that are there", function()
    local keys = fleet_keys.new(world)
    local node = keys:serve()
    local a = assert(access.new(keys.driver, nil, "run"))
    keys:replace(keys:pair("driver", "carol"), keys.driver)
    local open = assert(a:dial("tcp://" .. node.address, 30))
    assert.is_nil(a:refusal(open, true))
    assert.is_true(open:expires() > os.time() + 300 * 86400)
    e2e.wait_until("the log", function() return node:err():find("cn=carol", 1, true) end)
    keys:revoke(keys.node)
    a:refresh()
    assert.equal(2, a.changes)
    assert.is_nil(a:refusal(open, false))
    local err = a:refusal(open, true)
    assert.equal("tls", err.kind)
    assert.matches("^its certificate is revoked %(serial number %x+%)$", err.message)
    open:close()
    local refused
    refused, err = a:dial("tcp://" .. node.address, 30)
    assert.is_nil(refused)
    assert.matches(": its certificate is revoked", err.message, 1, true)
  end)

  it("submits nothing as an observer", function()
    local keys = fleet_keys.new(world)
    local observer = assert(access.new(keys:pair("observer", "bob"), nil, "run"))
    local err = observer:observer_fault()
    assert.equal("connect", err.kind)
    assert.matches("refused: this certificate may observe only", err.message, 1, true)
    assert.is_nil(access.new(keys.driver, nil, "run"):observer_fault())
    assert.is_nil(access.new():observer_fault())
  end)
end)
