-- SPDX-License-Identifier: MIT
-- Discovered fleets: real nodes come and go while commands run.
-- Patient: sources are polled every few seconds.

local e2e = require("spec.support.e2e")
local json = require("fleet.json")

describe("a fleet in a file", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function list(nodes)
    local lines = { "# our fleet" }
    for _, n in ipairs(nodes) do lines[#lines + 1] = n.address .. " zone-a" end
    return world:write("fleet", table.concat(lines, "\n") .. "\n")
  end

  it("is listed with the zone, and what was asked and when", function()
    local node = world:node({ workers = 1 })
    local path = list({ node, { address = "127.0.0.1:1" } })
    local run = world:run({ "nodes", "--json", "--discover", "file:" .. path })
    assert.same({ 0, "" }, { run.code, run.err })
    local rows = json.decode(run.out)
    assert.same({ "zone-a", "ready", node.name }, { rows[2].zone, rows[2].state, rows[2].name })
    assert.same({ "127.0.0.1:1", "down" }, { rows[1].address, rows[1].state })
    run = world:run({ "nodes", "--discover", "file:" .. path })
    assert.matches(("found by file %s: 2 nodes, as of "):format(path), run.err, 1, true)
    assert.matches("as of %d+ s ago", run.err)
  end)

  it("may be edited while a map runs: nothing is lost, nothing runs twice", function()
    local nodes = world:nodes(3, { workers = 1 })
    local path = list({ nodes[1], nodes[2] })
    local count = 1000
    local items = {}
    for i = 1, count do items[i] = i end
    local job = world:write("job.lua", [[
      local fleet = require("fleet")
      return {
        map = function(n) fleet.sleep(0.01) return fleet.self().node end,
        options = { concurrency = 1, batch = 1, retries = 0 },
      }
    ]])
    local run = world:program({ "run", "--discover", "file:" .. path, job, world:items(items) })
    e2e.wait_until("results", function() return run:lines() > count // 10 end)
    list({ nodes[2], nodes[3] }) -- the first leaves, the third comes
    local done = run:wait()
    assert.equal(0, done.code, done.err)
    local seen, rows = {}, e2e.results(done.out)
    assert.equal(count, #rows)
    for i, row in ipairs(rows) do
      assert.equal(tostring(i), row.item)
      seen[row.value] = (seen[row.value] or 0) + 1
      assert.is_false(i > count * 0.9 and row.value == nodes[1].name, "the first had left")
    end
    for _, n in ipairs(nodes) do assert.is_true((seen[n.name] or 0) > 0, n.name) end
    assert.equal(seen[nodes[1].name], (e2e.share(done, nodes[1])))
  end)

  it("that cannot be read, or is empty, or is wrong: one line says why", function()
    local function run(path)
      local done = world:run({ "run", "--discover", "file:" .. path, "--items",
        "scripts/primes.lua", 1 })
      assert.equal("", done.out)
      assert.equal(1, #e2e.lines(done.err), done.err)
      return done.code, done.err
    end
    local code, err = run(world:path("none"))
    assert.equal(2, code)
    assert.matches("none: No such file or directory", err, 1, true)
    code, err = run(world:write("empty", "\n"))
    assert.equal(3, code)
    assert.matches("there is no node in ", err, 1, true)
    code, err = run(world:write("wrong", "a:b\n"))
    assert.equal(2, code)
    assert.matches("wrong:1: 'a:b' is not HOST", err, 1, true)
  end)
end)

describe("a fleet on EC2", function()
  local world, ec2, port
  before_each(function()
    world = e2e.new()
    port = e2e.free_port()
    local server = world:start({ "lua5.4", "spec/support/fake_ec2.lua", world.dir },
      { pipe = true })
    ec2 = {
      server = server,
      port = e2e.wait_until("EC2", function() return server:out():match("^port (%d+)\n") end),
    }
  end)
  after_each(function() world:close() end)

  -- Sets the instances of the fake EC2: {node=, state=, release=}, each at its own address.
  local function instances(list)
    local lines = {}
    for i, entry in ipairs(list) do
      lines[i] = ("%s %s %s eu-west-1a moonfleet:release=%s"):format(entry.id,
        entry.state or "running", entry.ip or "-", entry.release or "r1")
    end
    world:write("instances.new", table.concat(lines, "\n") .. "\n")
    os.rename(world:path("instances.new"), world:path("instances"))
  end
  local function mode(word) world:write("mode", word) end
  local function requests() return #e2e.lines(e2e.read(world:path("requests")) or "") end

  -- Instance n: a node at 127.0.1.n.
  local function instance(n, release)
    local ip = "127.0.1." .. n
    return {
      id = "i-" .. n, ip = ip, release = release,
      node = world:node({
        workers = 1, url = ("%s:%d"):format(ip, port), name = "n" .. n,
        flags = { "--release", release or "r1" },
      }),
    }
  end

  local function env(more)
    local list = {
      "AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret-of-the-spec",
      "AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=1", "HOME=" .. world.dir,
      "MOONFLEET_CACHE=" .. world:path("cache"), "MOONFLEET_DISCOVER=ec2",
      "MOONFLEET_REGION=eu-west-1", "MOONFLEET_PORT=" .. port, "MOONFLEET_POLL_INTERVAL=0.3",
      "MOONFLEET_ENDPOINT=http://127.0.0.1:" .. ec2.port,
    }
    return table.move(more or {}, 1, #(more or {}), #list + 1, list)
  end

  local function job(seconds)
    return world:write("job.lua", ([[
      local fleet = require("fleet")
      return {
        map = function(n) fleet.sleep(%g) return fleet.self().node end,
        options = { concurrency = 1, batch = 1 },
      }
    ]]):format(seconds))
  end

  local function items(count)
    local list = {}
    for i = 1, count do list[i] = i end
    return world:items(list)
  end

  it("is listed, each instance that carries the release, reachable or not", function()
    local one = instance(1)
    instances({
      one, { id = "i-2", ip = "127.0.1.2" }, { id = "i-3", ip = "127.0.1.3", state = "stopped" },
      { id = "i-4", ip = "127.0.1.4", release = "r2" },
    })
    local run = world:run({ "nodes", "--json", "--release", "r1" }, { env = env() })
    assert.same({ 0, "" }, { run.code, run.err })
    local list = json.decode(run.out)
    assert.equal(2, #list)
    assert.same({ "n1", "ready", "eu-west-1a", "r1", ("127.0.1.1:%d"):format(port) },
      { list[1].name, list[1].state, list[1].zone, list[1].release, list[1].address })
    assert.same({ "down", "eu-west-1a" }, { list[2].state, list[2].zone })
    assert.matches("connection refused", list[2].error, 1, true)
  end)

  it("has a tag of ClusterScrape's, too", function()
    world:write("instances", "i-1 running 127.0.1.1 z csrelease=abc123\n"
      .. "i-2 running 127.0.1.2 z moonfleet:release=abc123\n")
    local run = world:run({
      "nodes", "--tag-key", "csrelease", "--release", "abc123", "--json",
    }, { env = env() })
    assert.equal(3, run.code)
    local list = json.decode(run.out)
    assert.same({ 1, ("127.0.1.1:%d"):format(port) }, { #list, list[1].address })
  end)

  it("may change while a map runs: its own instances are used, and nothing is lost", function()
    local one, two, other = instance(1), instance(2), instance(4, "r2")
    instances({ one, two, other })
    local count = e2e.sanitized and 400 or 1200
    local run = world:program({ "run", "--release", "r1", job(0.01), items(count) },
      { env = env() })
    e2e.wait_until("results", function() return run:lines() > count // 10 end)
    one.node:kill("KILL")
    one.state = "terminated"
    local three = instance(3)
    instances({ one, two, three, other })
    local done = run:wait()
    assert.equal(0, done.code, done.err)
    local seen, rows = {}, e2e.results(done.out)
    assert.equal(count, #rows)
    for i, row in ipairs(rows) do
      assert.equal(tostring(i), row.item)
      seen[row.value] = (seen[row.value] or 0) + 1
    end
    assert.is_true(seen.n1 > 0 and seen.n2 > 0 and seen.n3 > 0, json.encode(seen))
    assert.is_nil(seen.n4)
  end)

  it("stays as it is known while EC2 does not answer, says why once, and recovers", function()
    local one = instance(1)
    instances({ one })
    local wrong = {
      throttled = "RequestLimitExceeded", broken = "InternalError", truncated = "",
      bomb = "", huge = "", html = "", loop = "the same page repeatedly",
      denied = "ec2:DescribeInstances",
    }
    local run = world:program({ "run", "--release", "r1", "--log-level", "info", job(600),
      items(1) }, { env = env() })
    e2e.wait_until("the map", function() return requests() > 1 end)
    local function count(text) return select(2, run:err():gsub(text, "")) end
    local failures = 0
    for word, what in pairs(wrong) do
      local from = #run:err()
      mode(word)
      local asked = requests()
      e2e.wait_until("looks at " .. word, function() return requests() >= asked + 3 end)
      failures = failures + 1
      assert.equal(failures, count("discovery failed; the known nodes stay"),
        word .. ": " .. run:err():sub(from))
      assert.is_truthy(run:err():find(what, from, true), word .. ": " .. run:err():sub(from))
      mode("ok")
      e2e.wait_until("recovery from " .. word, function()
        return count("discovery works again") == failures
      end)
    end
    assert.equal(0, count("node left the fleet"))
    assert.equal(0, count("node lost"))
    assert.is_nil(run:err():find("secret-of-the-spec", 1, true))
    run:kill("INT")
    run:kill("INT")
  end)

  it("is the one from before, with its age, when EC2 is silent, refuses or has no TLS", function()
    local one = instance(1)
    instances({ one })
    assert.equal(0, world:run({ "nodes", "--release", "r1" }, { env = env() }).code)
    mode("silent")
    local run = world:run({ "run", "--release", "r1", job(0), items(1) }, { env = env() })
    assert.equal(0, run.code, run.err)
    assert.matches('msg="using the cached list of nodes" age="%d+ s"', run.err)
    run = world:run({ "nodes", "--release", "r1", "--endpoint",
      "https://127.0.0.1:" .. world:fault_server().port }, { env = env() })
    assert.equal(3, run.code)
    assert.equal(1, #e2e.lines(run.err), run.err)
    assert.matches("SSL", run.err, 1, true)
    ec2.server:kill("KILL")
    run = world:run({ "nodes", "--release", "r1" }, { env = env() })
    assert.equal(0, run.code)
    assert.matches("moonfleet: found by ec2 eu%-west%-1 %(tag moonfleet:release = r1%): 1 node, "
      .. "as of %d+ s ago; the last poll failed: .*127.0.0.1", run.err)
    -- another query has no cached answer: here for another release, then another endpoint
    run = world:run({ "nodes", "--release", "r2" }, { env = env() })
    assert.equal(3, run.code)
    assert.equal(1, #e2e.lines(run.err), run.err)
  end)

  it("is looked at by doctor, from the credentials to work on a node", function()
    local one = instance(1)
    instances({ one, { id = "i-2", ip = "127.0.1.2", state = "stopped" } })
    local run = world:run({ "doctor", "--release", "r1" }, { env = env() })
    assert.equal(0, run.code, run.out)
    for _, line in ipairs({
      "ok    release       r1, from --release", "ok    region        eu-west-1, from flag",
      "ok    credentials   AKIDEXAMPLE, from the environment",
      "ok    API           ec2:DescribeInstances is allowed and works",
      "ok    instances     moonfleet:release = r1: 1 running, 1 stopped",
      "ok    nodes         1 of 1 can be used", "ok    work          64 KiB went through",
    }) do
      assert.is_truthy(run.out:find(line, 1, true), run.out)
    end
    assert.is_nil((run.out .. run.err):find("secret-of-the-spec", 1, true))
    run = world:run({ "doctor", "--release", "r9" }, { env = env() })
    assert.equal(1, run.code)
    assert.is_truthy(run.out:find("there are: r1 (1 running, 1 stopped)\n", 1, true), run.out)
    mode("denied")
    run = world:run({ "doctor", "--release", "r1" }, { env = env() })
    assert.equal(1, run.code)
    assert.is_truthy(run.out:find("lacks ec2:DescribeInstances", 1, true), run.out)
  end)

  it("of nobody: says what was looked for, and where", function()
    instances({ { id = "i-1", ip = "127.0.1.1", release = "r2" } })
    local run = world:run({ "run", "--release", "r1", job(0), items(1) }, { env = env() })
    assert.equal(3, run.code)
    assert.equal("moonfleet: no node can be used: EC2 has no running instance with tag "
      .. "moonfleet:release = r1 in eu-west-1; moonfleet doctor tells more\n", run.err)
  end)
end)

describe("a fleet of a name", function()
  local world, port, server
  before_each(function()
    world = e2e.new()
    port = e2e.free_port()
  end)
  after_each(function() world:close() end)

  -- Starts the name server with additional `words`; fleet.test has the addresses of these nodes.
  local function start_server(nodes, words)
    local lines = {}
    for i, n in ipairs(nodes) do lines[i] = n.ip .. " fleet.test\n" end
    world:write("hosts", table.concat(lines))
    server = world:dnsmasq({
      "--local-ttl=1", "--addn-hosts=" .. world:path("hosts"), table.unpack(words or {}),
    }, server and server.port)
  end
  before_each(function() server = nil end)

  local function node(n)
    local ip = "127.0.2." .. n
    local it = world:node({ workers = 1, url = ("%s:%d"):format(ip, port), name = "n" .. n })
    it.ip = ip
    return it
  end

  it("may change while a map runs, and its name server may be away", function()
    local one, two = node(1), node(2)
    start_server({ one, two })
    local count = 2000 -- some 20 s: a look at a name server that is away takes up to 10
    local list = {}
    for i = 1, count do list[i] = i end
    local run = world:program({
      "run", "--log-level", "info", "--discover", "dns:fleet.test:" .. port,
      "--dns-server", server.address, "--poll-interval", "0.3",
      world:write("job.lua", [[
        local fleet = require("fleet")
        return {
          map = function(n) fleet.sleep(0.02) return fleet.self().node end,
          options = { concurrency = 1, batch = 1 },
        }
      ]]), world:items(list),
    })
    e2e.wait_until("results", function() return run:lines() > count // 20 end)
    server:kill("KILL")
    server:wait()
    e2e.wait_until("a failure", function()
      return run:err():find("discovery failed; the known nodes stay", 1, true)
    end)
    local three = node(3)
    start_server({ two, three })
    e2e.wait_until("recovery", function()
      return run:err():find("discovery works again", 1, true)
    end)
    e2e.wait_until("the third", function() return run:err():find("node joined", 1, true) end)
    one:kill("KILL")
    local done = run:wait()
    assert.equal(0, done.code, done.err)
    local seen, rows = {}, e2e.results(done.out)
    assert.equal(count, #rows)
    for i, row in ipairs(rows) do
      assert.equal(tostring(i), row.item)
      seen[row.value] = (seen[row.value] or 0) + 1
    end
    assert.is_true(seen.n1 > 0 and seen.n2 > 0 and seen.n3 > 0, json.encode(seen))
    assert.equal(1, select(2, done.err:gsub("discovery failed", "")))
  end)

  it("of services has their ports, in states that nodes shows", function()
    local a, b = world:node({ workers = 1 }), world:node({ workers = 1 })
    start_server({}, {
      "--srv-host=_moonfleet._tcp.test,a.test," .. a.port,
      "--srv-host=_moonfleet._tcp.test,b.test," .. b.port,
      "--host-record=a.test,127.0.0.1", "--host-record=b.test,127.0.0.1",
    })
    local run = world:run({ "nodes", "--json", "--discover", "dns:_moonfleet._tcp.test",
      "--dns-server", server.address })
    assert.equal(0, run.code, run.err)
    local names = {}
    for i, row in ipairs(json.decode(run.out)) do names[i] = row.name end
    table.sort(names)
    local wanted = { a.name, b.name }
    table.sort(wanted)
    assert.same(wanted, names)
  end)

  it("that is not there, or whose server fails: one line says which", function()
    start_server({})
    local function run(name, by)
      local done = world:run({ "run", "--discover", "dns:" .. name, "--dns-server", by, "--items",
        "scripts/primes.lua", 1 })
      assert.equal(3, done.code, done.err)
      assert.equal(1, #e2e.lines(done.err), done.err)
      return done.err
    end
    assert.matches("no node can be used: none.test has no A or AAAA records",
      run("none.test", server.address), 1, true)
    assert.matches("other.example", run("other.example", server.address), 1, true)
    assert.matches("none.test", run("none.test", "127.0.0.1:" .. e2e.free_port()), 1, true)
  end)
end)
