-- SPDX-License-Identifier: MIT

local errors = require("fleet.errors")
local file = require("host.file")
local fleet_keys = require("spec.support.fleet_keys")
local json = require("fleet.json")
local keys = require("fleet.keys")
local publish = require("fleet.keys.publish")

describe("fleet.keys.publish", function()
  local world, folder, parameters, view, put
  before_each(function()
    world, folder = fleet_keys.folder()
    assert(keys.create(folder, "search", {
      { role = "node", name = "node", folder = "node" },
      { role = "driver", name = "driver", folder = "driver" },
    }))
    parameters, put = {}, {}
    view = {}
    function view:json(_, _, action, params)
      if action == "DescribeParameters" then
        local list = {}
        for name, each in pairs(parameters) do
          list[#list + 1] = { Name = name, Version = each.version, KeyId = each.KeyId }
        end
        return json.encode({ Parameters = list })
      end
      assert.equal("PutParameter", action)
      if self.refuses == params.Name then
        return nil, errors.new({ kind = "service", message = "refused" })
      end
      local before = parameters[params.Name]
      assert.equal(before ~= nil, params.Overwrite)
      assert.is_true(not (params.Overwrite and params.Tags))
      params.version = before and before.version + 1 or 1
      parameters[params.Name] = params
      put[#put + 1] = params.Name
      return json.encode({ Version = params.version })
    end
  end)
  after_each(function() world:close() end)

  local function run(made, where, key)
    local plan, err = publish.plan(view, where or "ssm:", "search", key)
    if not plan then return nil, err end
    return publish.run(plan, folder, made)
  end

  local function issue(role, name)
    local pair = assert(keys.pair(folder, role, name))
    assert(keys.issue(folder, { pair }))
    return pair.folder
  end

  it("makes a parameter of each pair, with the CA and never with its key", function()
    local done = run()
    assert.same({ "ssm:/moonfleet/search/driver", "ssm:/moonfleet/search/node" },
      { done[1].where, done[2].where })
    local node = parameters["/moonfleet/search/node"]
    assert.same({ "SecureString", "Intelligent-Tiering", "moonfleet: keys of fleet search (node)" },
      { node.Type, node.Tier, node.Description })
    assert.same({ { Key = "moonfleet:fleet", Value = "search" } }, node.Tags)
    local function read(name)
      local handle = assert(io.open(folder .. "/" .. name, "rb"))
      local text = handle:read("a")
      handle:close()
      return text
    end
    assert.equal("# ca.crt\n" .. read("ca.crt") .. "# cert.pem\n" .. read("node/cert.pem")
      .. "# key.pem\n" .. read("node/key.pem"), node.Value)
    assert.is_true(#node.Value < 4096, #node.Value)
    assert.is_nil(node.Value:find(read("ca.key"), 1, true))
  end)

  it("renews under the same name, with the KMS key in use", function()
    run(nil, "ssm:/a/b", "alias/mine")
    assert.equal("alias/mine", parameters["/a/b/node"].KeyId)
    assert.equal("node-2", issue("node"))
    local done = run({ "node-2" }, "ssm:/a/b")
    assert.same({ {
      bytes = done[1].bytes, folder = "node-2", version = 2, where = "ssm:/a/b/node",
    } }, done)
    assert.equal("alias/mine", parameters["/a/b/node"].KeyId)
    assert.equal("driver-2", issue("driver", "2"))
    done = run({ "driver-2" }, "ssm:/a/b")
    assert.equal("ssm:/a/b/driver", done[1].where)
    assert.equal("driver-alice", issue("driver", "alice"))
    done = run({ "driver-alice" }, "ssm:/a/b")
    assert.equal("ssm:/a/b/driver-alice", done[1].where)
  end)

  it("stores again what is stored: after a revocation all learn of it", function()
    run()
    run({ issue("driver", "alice") })
    issue("driver", "bob") -- who has a folder only
    assert(keys.revoke(folder, folder .. "/driver-alice"))
    parameters["/moonfleet/search/driver-gone"] = { version = 1 }
    put = {}
    local done, err, others = run()
    assert.is_nil(err)
    assert.same({ "/moonfleet/search/driver", "/moonfleet/search/driver-alice",
      "/moonfleet/search/node" }, put)
    assert.same({ "ssm:/moonfleet/search/driver-gone" }, others)
    for _, each in ipairs(done) do
      assert.matches("# crl.pem\n%-%-%-%-%-BEGIN X509 CRL", parameters[each.where:sub(5)].Value)
    end
  end)

  it("says what it cannot store, and what it has stored until then", function()
    view.refuses = "/moonfleet/search/node"
    local done, err = run()
    assert.equal("refused", err.message)
    assert.same({ "ssm:/moonfleet/search/driver" }, { done[1].where, done[2] })
    os.remove(folder .. "/node/key.pem")
    done, err = run({ "node" })
    assert.same({ 0, "config" }, { #done, err.kind })
    assert.matches("cannot read .*/node/key.pem", err.message)
    assert(file.create(folder .. "/node/key.pem", ("x"):rep(8000)))
    err = select(2, run({ "node" }))
    assert.matches("/node has %d+ bytes, and a parameter takes 8192: remove old CAs", err.message)
    os.remove(folder .. "/node/cert.pem")
    os.remove(folder .. "/driver/cert.pem")
    assert.matches("has no pair of keys to store", select(2, run()).message)
    assert.equal("usage", select(2, run(nil, "here")).kind)
  end)
end)
