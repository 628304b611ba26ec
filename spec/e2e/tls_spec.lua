-- SPDX-License-Identifier: MIT
-- A fleet over TLS: what works, what can be seen on the wire, and who has the keys. Refusals are in
-- tls_refusal_spec.lua, changes of keys in tls_rotation_spec.lua.

local counted = require("spec.support.counted")
local e2e = require("spec.support.e2e")
local fleet_keys = require("spec.support.fleet_keys")
local json = require("fleet.json")
local lfs = require("lfs")

local SECRET = "the quick brown fox " -- in the job, in items and in results
local JOB = [[return { map = function(x) return "the quick brown fox " .. x end }]]

-- The number that is the private key, as OpenSSL keeps it in memory: the least byte first.
local function secret_number(world, path)
  local text = world:start({ "openssl", "pkey", "-in", path, "-noout", "-text" }):wait().out
  local hex = text:match("priv:(.-)pub:"):gsub("[^%x]", "")
  local bytes = hex:gsub("%x%x", function(byte) return string.char(tonumber(byte, 16)) end)
  return bytes:sub(-32):reverse()
end

-- Whether the memory of a process has these bytes; nil if it cannot be read.
local function memory_has(pid, bytes)
  local memory = io.open(("/proc/%d/mem"):format(pid), "rb")
  local maps = memory and e2e.read(("/proc/%d/maps"):format(pid))
  if not maps or maps == "" then return nil end
  local found, has_read = false, false
  for from, to in maps:gmatch("(%x+)%-(%x+) rw[^\n]*") do
    from, to = tonumber(from, 16), tonumber(to, 16)
    while from < to and not found do -- shadow memory of a sanitizer is far too large to read
      if to - from > 1 << 30 then break end
      local size = math.min(to - from, 1 << 22)
      local part = memory:seek("set", from) and memory:read(size)
      has_read = has_read or part ~= nil
      found = found or (part or ""):find(bytes, 1, true) ~= nil
      from = from + size
    end
  end
  memory:close()
  if not has_read then return nil end
  return found
end

describe("a fleet with keys", function()
  local world, keys
  before_each(function() world, keys = fleet_keys.world() end)
  after_each(function() world:close() end)

  it("lists, evaluates and maps, by flag, environment and configuration", function()
    local a, b = keys:serve(), keys:serve()
    local peers = a.address .. "," .. b.address
    local run = world:run({ "nodes", "--json", "--peers", peers, "--tls", keys.driver })
    assert.same({ 0, "" }, { run.code, run.err })
    for _, n in ipairs(assert(json.decode(run.out))) do assert.equal("ready", n.state) end
    run = world:run({ "eval", "--all", "--peers", peers, "6 * 7" },
      { env = { "MOONFLEET_TLS=" .. keys.driver } })
    assert.same({ 0, "" }, { run.code, run.err })
    local lines = e2e.lines(run.out)
    table.sort(lines)
    local expected = { a.name .. ": 42", b.name .. ": 42" }
    table.sort(expected)
    assert.same(expected, lines)
    local items = {}
    for i = 1, 10000 do items[i] = i end
    local config = world:write("config.lua", ("return { tls = %q, peers = %q }"):format(keys.driver,
      peers))
    run = world:run({ "run", "--config", config, world:write("job.lua", JOB), world:items(items) })
    assert.equal(0, run.code, run.err)
    local results = e2e.results(run.out)
    assert.equal(10000, #results)
    for i, result in ipairs(results) do assert.equal(SECRET .. i, result.value) end
    assert.is_true(e2e.share(run, a) > 0 and e2e.share(run, b) > 0, run.err)
  end)

  it("shows nothing of a job on the wire, which TCP without keys does", function()
    local function wire(own, flags)
      local path = world:path("wire-" .. own.name)
      local proxy = world:proxy(own, path)
      local words = { "run", "--peers", proxy.address, world:write("job.lua", JOB), "--items",
        SECRET .. "item" }
      local run = world:run(table.move(flags, 1, #flags, #words + 1, words))
      assert.equal(0, run.code, run.err)
      return e2e.read(path)
    end
    assert.truthy(wire(world:node({ workers = 1 }), {}):find("quick brown", 1, true))
    local seen = wire(keys:serve({ name = "hidden-name" }), { "--tls", keys.driver })
    assert.is_true(#seen > 2000)
    for _, word in ipairs({ "quick", "brown", "checksum", "status", "hidden-name", "alice" }) do
      assert.is_nil(seen:find(word, 1, true), word)
    end
  end)

  it("passes large values, both ways", function()
    local own = keys:serve({ workers = 2 })
    local run = world:run({ "run", "--peers", own.address, "--tls", keys.driver,
      world:write("job.lua", [[
        return {
          items = function() return { ("a"):rep(20 << 20), ("b"):rep(20 << 20), "c" } end,
          map = function(x) return x:rep(2) end,
          reduce = function(n, x) return n + #x end, init = 0,
        }]]) })
    assert.equal(0, run.code, run.err)
    assert.equal(tostring(2 * (40 << 20) + 2), run.out:match("%d+"))
  end)

  it("goes on in its session when a connection breaks, and runs nothing twice", function()
    local proxy = world:proxy(keys:serve({ workers = 2 }))
    local map = counted.start(world, {
      items = 2000, seconds = 0.02, result = "item * 2",
      flags = { "--tls", keys.driver, "--peers", proxy.address, "--concurrency", "8" },
    })
    map:break_connections(proxy, 3, 400)
    map:check(function(item) return item * 2 end)
  end)

  it("survives a node that is killed amid a map, and resumes what was interrupted", function()
    local a, b = keys:serve(), keys:serve()
    local items = {}
    for i = 1, 600 do items[i] = i end
    local words = { "run", "--tls", keys.driver, "--peers", a.address .. "," .. b.address,
      "--concurrency", "4", "--output", world:path("out"), "--journal", world:path("journal"),
      world:write("job.lua", [[
        local fleet = require("fleet")
        return { map = function(x) fleet.sleep(0.02) return x + 1 end }]]), world:items(items) }
    local program = world:program(words)
    e2e.wait_until("results", function() return #(e2e.read(world:path("journal")) or "") > 3000 end)
    a:kill("KILL")
    e2e.wait_until("more results", function()
      return #(e2e.read(world:path("journal")) or "") > 6000
    end)
    program:kill("KILL")
    program:wait()
    words[#words + 1] = "--resume"
    local run = world:run(words)
    assert.equal(0, run.code, run.err)
    local results = e2e.results(e2e.read(world:path("out")))
    assert.equal(600, #results)
    for i, result in ipairs(results) do assert.equal(i + 1, result.value) end
  end)

  it("keeps its keys from the workers", function()
    local variable = { "MOONFLEET_TLS=" .. keys.node }
    local own = world:node({ workers = 2, env = variable })
    local run = world:run({ "eval", "--peers", own.address, "--tls", keys.driver,
      "os.getenv and os.getenv('MOONFLEET_TLS')" })
    assert.same({ 0, "nil\n" }, { run.code, run.out }, run.err)
    local workers = own:children()
    assert.equal(2, #workers)
    local secret = e2e.read(keys.node .. "/key.pem"):match("\n(%S+)\n")
    for _, pid in ipairs(workers) do
      local proc = ("/proc/%d/"):format(pid)
      local environ = e2e.read(proc .. "environ")
      if environ then -- else it is hidden, and belongs to root
        assert.is_nil(environ:find("MOONFLEET_TLS", 1, true))
        assert.is_nil(environ:find(keys.dir, 1, true))
        for name in lfs.dir(proc .. "fd") do
          local target = lfs.symlinkattributes(proc .. "fd/" .. name, "target") or ""
          assert.is_nil(target:find(keys.dir, 1, true), target)
          assert.is_nil(target:find(".pem", 1, true), target)
        end
        assert.is_nil(e2e.read(proc .. "cmdline"):find(keys.dir, 1, true))
      end
    end
    -- nor does the node keep files of it open, or the text of the key in what it tells others
    for name in lfs.dir(("/proc/%d/fd"):format(own.pid)) do
      local target = lfs.symlinkattributes(("/proc/%d/fd/%s"):format(own.pid, name), "target") or ""
      assert.is_nil(target:find(".pem", 1, true), target)
    end
    assert.is_nil(own:err():find(secret, 1, true))
  end)

  it("keeps its keys out of the memory of the workers", function()
    local own = keys:serve({ workers = 2 })
    assert.equal(0, world:run({ "eval", "--peers", own.address, "--tls", keys.driver, "1" }).code)
    local secret = secret_number(world, keys.node .. "/key.pem")
    assert.equal(32, #secret)
    local node_has = memory_has(own.pid, secret)
    if node_has == nil then return pending("the memory of other processes cannot be read") end
    assert.is_true(node_has) -- so it would be found
    for _, pid in ipairs(own:children()) do assert.is_false(memory_has(pid, secret)) end
  end)

  it("needs none for descriptors and sockets of files, whatever the environment says", function()
    local variable = { "MOONFLEET_TLS=" .. keys.driver }
    local run = world:run({ "eval", "6 * 7" }, { env = variable })
    assert.same({ 0, "42\n", "" }, { run.code, run.out, run.err })
    run = world:run({ "eval", "--launch", e2e.program .. " serve --stdio --workers 1", "6 * 7" },
      { env = variable })
    assert.same({ 0, "42\n" }, { run.code, run.out }, run.err)
    local own = world:node({ workers = 1, url = "ipc://" .. world:path("socket"),
      env = { "MOONFLEET_TLS=" .. world:path("none") } })
    run = world:run({ "eval", "--peers", own.address, "6 * 7" }, { env = variable })
    assert.same({ 0, "42\n" }, { run.code, run.out }, run.err)
  end)

  it("writes names, roles and serial numbers to the log and the audit", function()
    local path = world:path("audit")
    local own = keys:serve({ flags = { "--audit", path } })
    assert.equal(0, world:run({ "eval", "--peers", own.address, "--tls", keys.driver, "1" }).code)
    local serial = require("host.tls").load(keys.driver, "run"):facts().serial
    assert.matches("msg=connected peer=127%.0%.0%.1:%d+ cn=alice role=driver serial=" .. serial,
      own:err())
    for _, line in ipairs(e2e.lines(e2e.read(path))) do
      line = assert(json.decode(line))
      assert.same({ "alice", "driver", serial }, { line.cn, line.role, line.serial })
    end
  end)
end)
