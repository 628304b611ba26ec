-- SPDX-License-Identifier: MIT
-- Keys in Parameter Store, played by moto, which checks signatures and permissions: keygen stores
-- them, a node and drivers read them, and take up new ones.
-- Patient: moto is slow.

local aws = require("spec.support.aws")
local e2e = require("spec.support.e2e")

describe("keys in a store", function()
  local world, moto, folder
  local moto_world -- one for all

  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)
  teardown(function()
    if moto_world then moto_world:close() end
  end)

  -- The environment of somebody who has these credentials.
  local function of(credentials, more)
    local env = {
      "AWS_ENDPOINT_URL=" .. moto.url, "AWS_REGION=eu-west-1", "AWS_EC2_METADATA_DISABLED=true",
      "AWS_ACCESS_KEY_ID=" .. credentials.key, "AWS_SECRET_ACCESS_KEY=" .. credentials.secret,
      "HOME=" .. world.dir, "AWS_CA_BUNDLE=",
    }
    if credentials.token then env[#env + 1] = "AWS_SESSION_TOKEN=" .. credentials.token end
    return table.move(more or {}, 1, #(more or {}), #env + 1, env)
  end

  local function run(credentials, words)
    return world:run(words, { env = of(credentials) })
  end

  local function keygen(words)
    local done = run(moto.admin, { "keygen", folder, table.unpack(words) })
    assert.equal(0, done.code, done.err)
    return done.out
  end

  local function begin(pending)
    if not moto then
      moto_world = e2e.new()
      moto = aws.moto(moto_world, pending)
      folder = moto_world:path("keys")
      assert.matches("ssm:/moonfleet/search/node +%S+/node +version 1\n",
        keygen({ "--fleet", "search", "--store", "ssm:" }))
    end
  end

  local function says(process, pattern)
    e2e.wait_until(pattern, function() return process:err():find(pattern) end, 30)
  end

  local function serve(more)
    return world:node({
      workers = 1, env = of(moto.session),
      flags = { "--tls", "ssm:/moonfleet/search/node", "--tls-interval", "0.5",
        table.unpack(more or {}) },
    })
  end

  local function use(node, driver)
    return run(moto.admin, { "eval", "--peers", node.address, "--tls", driver
      or "ssm:/moonfleet/search/driver", "'hello'" })
  end

  it("are those of the node and its drivers, and new ones are taken up", function()
    begin(pending)
    local node = serve()
    local done = use(node)
    assert.same({ 0, "hello\n" }, { done.code, done.out }, done.err)
    assert.matches("ssm:/moonfleet/search/node +%S+/node%-2 +version 2\n",
      keygen({ "--node", "--store", "ssm:/moonfleet/search" }))
    says(node, 'msg="new keys" folder=ssm:/moonfleet/search/node')
    assert.equal("hello\n", use(node).out)

    -- alice has a parameter of her own, until she loses her laptop
    keygen({ "--driver", "alice", "--store", "ssm:" })
    assert.equal("hello\n", use(node, "ssm:/moonfleet/search/driver-alice").out)
    local driver = world:program({ "run", "--peers", node.address, "--tls",
      "ssm:/moonfleet/search/driver", "--tls-interval", "0.5", "--log-level", "info",
      world:write("wait.lua", [[
        local fleet = require("fleet")
        fleet.call(fleet.any, function() end)
        fleet.sleep(60)
      ]]) },
      { env = of(moto.admin) })
    says(node, "session opened")
    local laptop = world:path("laptop")
    assert(os.execute(("cp -r '%s/driver-alice' '%s'"):format(folder, laptop)))
    keygen({ "--revoke", folder .. "/driver-alice", "--store", "ssm:" })
    e2e.wait_until("the list", function()
      return select(2, node:err():gsub('msg="new keys"', "")) >= 2
    end, 30)
    done = use(node, laptop)
    assert.equal(3, done.code)
    assert.matches("revoked", done.err)
    e2e.wait_until("new keys of the driver", function()
      return driver:err():find('msg="new keys"') or not driver:alive() and error(driver:err())
    end, 30)
    driver:kill("TERM")
    node:kill("TERM")
    assert.equal(0, node:wait().code)
  end)

  it("are nowhere else: not in a log, on a command line, in the environment", function()
    begin(pending)
    local node = serve({ "--log-level", "debug" })
    local done = run(moto.admin, { "eval", "--log-level", "debug", "--peers", node.address, "--tls",
      "ssm:/moonfleet/search/driver", "1" })
    assert.equal(0, done.code, done.err)
    local all = node:err() .. done.err .. e2e.read(("/proc/%d/environ"):format(node.pid))
      .. e2e.read(("/proc/%d/cmdline"):format(node.pid))
    local private = e2e.read(folder .. "/driver/key.pem") .. e2e.read(folder .. "/node/key.pem")
    for line in private:gmatch("[%w+/=]+") do
      if #line > 40 then assert.is_nil(all:find(line, 1, true)) end
    end
    assert.is_nil(all:find("BEGIN", 1, true))
  end)

  it("can be read by no other role", function()
    begin(pending)
    local done = run(moto.session, { "nodes", "--peers", "127.0.0.1:1", "--tls",
      "ssm:/moonfleet/search/driver" })
    assert.equal(3, done.code)
    assert.matches('the role moonfleet lacks ssm:GetParameter: allow it in its policy: {"Effect": '
      .. '"Allow", "Action": "ssm:GetParameter", "Resource": "arn:aws:ssm:%*:%*:parameter/'
      .. 'moonfleet/search/driver"}', done.err)
    done = run(moto.session, { "keygen", folder, "--driver", "eve", "--store", "ssm:" })
    assert.equal(1, done.code)
    assert.matches("lacks ssm:DescribeParameters", done.err)
    assert.is_false(e2e.exists(folder .. "/driver-eve")) -- nothing was made
  end)

  it("are waited for, and their lack is explained", function()
    begin(pending)
    local done = run(moto.admin, { "nodes", "--peers", "127.0.0.1:1", "--tls",
      "ssm:/moonfleet/other/driver" })
    assert.equal(3, done.code)
    assert.matches("there is no parameter /moonfleet/other/driver in eu%-west%-1 .*; `moonfleet "
      .. "keygen DIR %-%-store ssm:/moonfleet/other` stores the keys of a fleet", done.err)
    local late = world:path("late")
    local node = world:start({ e2e.program, "serve", "--listen", "127.0.0.1:" .. e2e.free_port(),
      "--workers", "1", "--tls", "ssm:/moonfleet/late/node" }, { env = of(moto.admin) })
    says(node, 'msg="waiting for the keys" .*there is no parameter /moonfleet/late/node')
    assert.not_matches("node ready", node:err())
    assert.equal(0, run(moto.admin, { "keygen", late, "--fleet", "late", "--store", "ssm:" }).code)
    says(node, "node ready")
    node:kill("TERM")
    assert.equal(0, node:wait().code)
    node = world:start({ e2e.program, "serve", "--tls", "ssm:/moonfleet/search/driver" },
      { env = of(moto.admin) })
    assert.equal(1, node:wait(30).code)
    assert.matches("moonfleet: ssm:/moonfleet/search/driver/cert.pem is a driver certificate; "
      .. "serve needs a node certificate\n$", node:err())
  end)

  it("have rows in doctor", function()
    begin(pending)
    local done = run(moto.admin, { "doctor", "--peers", "127.0.0.1:1", "--tls",
      "ssm:/moonfleet/search/driver" })
    assert.matches("ok    key store     ssm:/moonfleet/search/driver in eu%-west%-1, version %d+ "
      .. "of 20%d%d%-%S+ %S+ UTC, read with the credentials from the environment\n", done.out)
    done = run(moto.session, { "doctor", "--peers", "127.0.0.1:1", "--tls",
      "ssm:/moonfleet/search/driver" })
    assert.equal(1, done.code)
    assert.matches("fail  keys          ssm GetParameter: the role moonfleet lacks", done.out)
  end)
end)
