-- SPDX-License-Identifier: MIT
-- Patient: changes of keys while nodes and drivers run. Nodes look every 10 s, and at SIGHUP;
-- drivers before each connection, and every 10 s. ROTATION_SECONDS sets how long the map lasts
-- during which keys and CA change (default: 30, the shortest).

local counted = require("spec.support.counted")
local e2e = require("spec.support.e2e")
local fleet_keys = require("spec.support.fleet_keys")
local sys = require("host.sys")
local task = require("host.task")

local SECONDS = math.max(30, tonumber(os.getenv("ROTATION_SECONDS")) or 30)

describe("keys that change", function()
  local world, keys
  before_each(function() world, keys = fleet_keys.world() end)
  after_each(function() world:close() end)

  local function says(process, pattern, seconds)
    e2e.wait_until(pattern, function() return process:err():find(pattern) end, seconds or 20)
  end

  local function count(process, pattern)
    return select(2, process:err():gsub(pattern, ""))
  end

  local function node(folder)
    return keys:serve({ workers = 2, folder = folder })
  end

  it("lose and repeat nothing of a map: new pairs, then another CA", function()
    -- what is in use, in folders of its own
    local of_node, of_driver = keys:copy(keys.node, "live-node"), keys:copy(keys.driver, "live")
    local own = node(of_node)
    local map = counted.start(world, {
      items = SECONDS * 200, seconds = 0.04, result = "item * 2",
      flags = { "--tls", of_driver, "--peers", own.address, "--concurrency", "4" },
    })
    local program, began = map.program, sys.now()
    e2e.wait_until("results", function() return program:lines() >= 200 end)
    local function change(from_node, from_driver, times)
      keys:replace(from_node, of_node)
      keys:replace(from_driver, of_driver)
      own:kill("HUP")
      e2e.wait_until("new keys of the node", function()
        return count(own, 'msg="new keys"') >= times
      end, 15)
      e2e.wait_until("new keys of the driver", function()
        return count(program, 'msg="new keys"') >= times
      end, 15)
    end
    change(keys:pair("node"), keys:pair("driver", "carol"), 1)

    -- a new CA: both trust both; then the new pairs; then the new CA alone
    local new = fleet_keys.new(world)
    local function trust(folder, ...)
      local texts = {}
      for i, made in ipairs({ ... }) do texts[i] = e2e.read(made.dir .. "/ca.crt") end
      local to = new:copy(folder, "step-" .. folder:match("[^/]+$") .. #texts)
      local file = assert(io.open(to .. "/ca.crt", "wb"))
      file:write(table.concat(texts))
      file:close()
      return to
    end
    change(trust(of_node, keys, new), trust(of_driver, keys, new), 2)
    change(trust(new.node, new, keys), trust(new.driver, new, keys), 3)
    assert.equal(0, count(own, "a connection is closed"))
    change(trust(new.node, new), trust(new.driver, new), 4)
    -- the standing connection began with the old CA
    e2e.wait_until("its end", function()
      return count(own, "a connection is closed") + count(program, "connection closed") > 0
    end, 15)
    local times = 4
    while sys.now() - began < SECONDS - 20 do
      times = times + 1
      change(new:pair("node"), new:pair("driver", "carol" .. times), times)
    end
    map:check(function(item) return item * 2 end, SECONDS + 170)
    assert.is_true(sys.now() - began >= SECONDS)
  end)

  it("close the connection of a driver that is revoked, within 11 s", function()
    local own = node()
    local bob = keys:pair("driver", "bob")
    local running = world:write("job.lua", [[
      local fleet = require("fleet")
      return { items = function() return { 1, 2, 3, 4 } end,
        map = function() fleet.sleep(60) end }]])
    local program = world:program({ "run", "--tls", bob, "--peers", own.address, running })
    local other = world:program({ "run", "--tls", keys.driver, "--peers", own.address, running })
    e2e.wait_until("sessions", function() return count(own, "job submitted") == 2 end)
    local crl = bob .. "/crl.pem"
    keys:revoke(bob)
    os.remove(crl) -- with it, the driver itself would refuse to go on
    local began = sys.now()
    says(own, 'msg="new keys"[^\n]* revoked=1\n', 12)
    says(own, 'msg="a connection is closed" peer=[%d.:]+ cn=bob role=driver serial=%x+ '
      .. 'why="its certificate is revoked %(serial number %x+%)"', 12)
    assert.is_true(sys.now() - began < 11)
    says(program, "rejected our certificate %(revoked%)", 10)
    assert.is_nil(other:err():find("certificate", 1, true))
    assert.is_true(other:alive())
    -- what it had submitted ends with its lease
    says(own, "session expired: its driver is silent", 30)
  end)

  it("close connections to a node that is revoked", function()
    local own = node()
    local program = world:program({ "run", "--tls", keys.driver, "--peers", own.address,
      world:write("job.lua", [[
      local fleet = require("fleet")
      return { items = function() return { 1 } end, map = function() fleet.sleep(60) end }]]) })
    e2e.wait_until("the job", function() return count(own, "job submitted") == 1 end)
    keys:revoke(keys.node)
    os.remove(keys.node .. "/crl.pem")
    says(program, 'msg="connection closed" error="its certificate is revoked', 15)
    says(program, 'msg="cannot go on with a node yet"[^\n]*its certificate is revoked', 15)
  end)

  it("close connections when a certificate expires, whichever side has it", function()
    local short_node = keys:forge({ role = "node", to = os.time() + 6 })
    local short_driver = keys:forge({ role = "driver", to = os.time() + 6 })
    local good, ending = node(), node(short_node)
    local job = world:write("job.lua", [[
      local fleet = require("fleet")
      return { items = function() return { 1 } end, map = function() fleet.sleep(60) end }]])
    local to_ending = world:program({ "run", "--tls", keys.driver, "--peers", ending.address, job })
    local by_ending = world:program({ "run", "--tls", short_driver, "--peers", good.address, job })
    says(to_ending, 'msg="connection closed" error="its certificate expired on 20', 25)
    says(good, 'msg="a connection is closed" peer=[%d.:]+ cn=mallory role=driver serial=%x+ '
      .. 'why="its certificate expired on 20', 25)
    says(by_ending, "rejected our certificate %(expired%)", 25)
  end)

  it("are not taken when they cannot be used, which is logged once", function()
    local own = node()
    local good = e2e.read(keys.node .. "/cert.pem")
    local function write(text)
      local file = assert(io.open(keys.node .. "/cert.pem", "wb"))
      file:write(text)
      file:close()
      own:kill("HUP")
    end
    write("nonsense\n")
    says(own, 'msg="the keys in use stay, since the new ones cannot be used" why="[^"]*/cert.pem '
      .. 'has no certificate in PEM format"')
    own:kill("HUP")
    task.sleep(0.5)
    assert.equal(1, count(own, "the keys in use stay"))
    local run = world:run({ "eval", "--tls", keys.driver, "--peers", own.address, "6 * 7" })
    assert.same({ 0, "42\n" }, { run.code, run.out }, run.err)
    write(e2e.read(keys.driver .. "/cert.pem"))
    says(own, "cannot be used[^\n]*cert.pem is a driver certificate; serve needs a node")
    write(good)
    task.sleep(0.5)
    run = world:run({ "eval", "--tls", keys.driver, "--peers", own.address, "6 * 7" })
    assert.same({ 0, "42\n" }, { run.code, run.out }, run.err)
  end)

  it("are taken by time alone, without SIGHUP", function()
    local own = node()
    keys:replace(keys:pair("node"), keys.node)
    says(own, 'msg="new keys"', 12)
    assert.is_nil(own:err():find("SIGHUP", 1, true))
  end)

  it("are warned of before they expire", function()
    local short = keys:pair("node", nil, 20)
    local own = node(short)
    says(own, "level=warn [^\n]*node%-2/cert.pem expires on 20[%d%- :]+ UTC, in %d+ days; "
      .. "`moonfleet keygen DIR %-%-node` makes another pair")
    local driver = keys:pair("driver", "carol", 20)
    local run = world:run({ "nodes", "--tls", driver, "--peers", own.address })
    assert.equal(0, run.code)
    assert.matches("^moonfleet: [^\n]*driver%-carol/cert.pem expires on 20", run.err)
    run = world:run({ "doctor", "--tls", driver, "--peers", own.address })
    assert.equal(0, run.code, run.out)
    assert.matches("\nwarn  keys +[^\n]*driver%-carol/cert.pem expires on 20", run.out)
    assert.matches("\nok    tls +1 of 1 nodes accept our certificate, and we theirs\n", run.out)
    assert.matches("\nok    clocks +the nodes' differ from ours by at most", run.out)
    assert.is_nil(world:run({ "eval", "--tls", driver, "--peers", own.address, "1" }).err
      :find("expires", 1, true))
  end)

  it("are looked at by doctor, also when they cannot be used", function()
    local run = world:run({ "doctor", "--tls", keys.node })
    assert.equal(1, run.code)
    assert.matches("\nfail  keys +[^\n]*/cert.pem is a node certificate; doctor needs a driver "
      .. "certificate\n", run.out)
    local own = node()
    run = world:run({ "doctor", "--tls", keys:pair("observer", "bob"), "--peers", own.address })
    assert.equal(0, run.code, run.out)
    assert.matches("\nok    work +not tried: our certificate may observe only\n", run.out)
    local stranger = fleet_keys.new(world)
    run = world:run({ "doctor", "--tls", stranger.driver, "--peers", own.address })
    assert.equal(1, run.code)
    assert.matches("\nfail  node +tcp://" .. own.address:gsub("%p", "%%%0")
      .. ": [^\n]*not signed by our CA[^\n]*\n +%-> give both sides keys of one fleet", run.out)
  end)
end)
