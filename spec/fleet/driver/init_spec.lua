-- SPDX-License-Identifier: MIT
-- What fleet's own spec (init_spec) does not see: how the cluster comes and goes.

local driver = require("fleet.driver")
local e2e = require("spec.support.e2e")
local cluster = require("fleet.cluster")
local sys = require("host.sys")
local task = require("host.task")

describe("fleet.driver", function()
  after_each(function() driver.close() end)

  it("opens the cluster of the command line at its first use, once", function()
    driver.configure({ release = sys.version })
    local open, count = cluster.open, 0
    finally(function() cluster.open = open end)
    cluster.open = function(...) -- luacheck: ignore 122
      count = count + 1
      return open(...)
    end
    local seen, left, done = {}, 3, task.event()
    for i = 1, 3 do
      task.spawn(function()
        seen[i] = driver.get()
        left = left - 1
        if left == 0 then done:notify() end
      end)
    end
    done:wait()
    assert.equal(1, count)
    assert.is_true(seen[1] ~= nil and seen[1] == seen[2] and seen[2] == seen[3])
    local pid = seen[1].cluster.child:pid()
    driver.close()
    assert.is_false(e2e.alive(pid))
  end)

  it("continues to open the cluster when the caller is cancelled", function()
    driver.configure({ release = sys.version })
    local open, gate = cluster.open, task.event()
    finally(function() cluster.open = open end)
    cluster.open = function(...)
      gate:wait()
      return open(...)
    end
    local first = task.start(driver.get)
    task.yield()
    first:cancel()
    task.spawn(function() gate:notify() end)
    assert.is_table((driver.get()))
  end)

  describe("cancelled", function()
    local fleet, d
    before_each(function()
      fleet = require("fleet")
      driver.configure({ release = sys.version })
      d = assert(driver.get())
    end)

    local function running()
      return d.cluster.nodes[1]:request_status(5).running
    end

    local function cancelled(f)
      local jobs = #d.cluster.jobs
      local c = task.start(f)
      e2e.wait_until("it to run", function() return running() > 0 end)
      c:cancel()
      assert.equal("cancelled", select(2, c:join()).kind)
      e2e.wait_until("its end there", function() return running() == 0 end)
      return #d.cluster.jobs - jobs
    end

    local function for_ever() require("fleet").sleep(1000) end

    it("leaves nothing of a map", function()
      local asked = 0
      local function source()
        asked = asked + 1
        return asked
      end
      assert.equal(0, cancelled(function() fleet.pmap(for_ever, source) end))
      local before = asked
      task.sleep(0.05)
      assert.equal(before, asked)
    end)

    it("leaves the journal of a map to others", function()
      local path = os.tmpname()
      finally(function() os.remove(path) end)
      os.remove(path)
      cancelled(function() fleet.pmap(for_ever, { 1 }, { journal = path }) end)
      local results = fleet.pmap(function(x) return x + 1 end, { 1 }, { journal = path })
      assert.same({ n = 1, 2 }, results)
    end)

    it("cancels what multicall runs", function()
      cancelled(function() fleet.multicall(for_ever) end)
    end)

    it("cancels what everywhere runs", function()
      assert.equal(0, cancelled(function() fleet.everywhere(for_ever) end) - 1)
      d.setups = {}
    end)
  end)

  it("knows the nodes of a map by name and by address", function()
    local world = e2e.new()
    finally(function() world:close() end)
    local port = e2e.free_port()
    local up, away = world:node({ workers = 1 }), "127.0.0.1:" .. port
    driver.configure({ peers = { up.address, away }, release = sys.version })
    local fleet = require("fleet")
    local function here() return require("fleet").self().node end
    local results, err = fleet.pmap(here, { 1 }, { nodes = {}, on_no_workers = "return" })
    assert.is_nil(results)
    assert.same({ "connect", "the option 'nodes' of the map selects no node" },
      { err.kind, err.message })
    assert.same({ up.name }, { fleet.pmap(here, { 1 }, { nodes = { up.name } })[1] })
    local back
    task.spawn(function() back = world:node({ workers = 1, port = port }) end)
    results = fleet.pmap(here, { 1 }, { nodes = { away } })
    assert.same({ back.name }, { results[1] })
  end)

  it("tells why there is no node, and tries again at the next call", function()
    driver.configure({ peers = { "127.0.0.1:" .. e2e.free_port() }, release = sys.version })
    for _ = 1, 2 do
      local d, err = driver.get()
      assert.is_nil(d)
      assert.equal("connect", err.kind)
      assert.matches("connection refused", err.message, 1, true)
    end
  end)

  it("opens the cluster as the flags say", function()
    local open, given = cluster.open, nil
    finally(function() cluster.open = open end)
    cluster.open = function(...)
      given = { ... }
      return {}
    end
    local times = { heartbeat = 2, suspect_after = 3, dead_after = 4 }
    driver.configure(setmetatable({ workers = 5, peers = { "a" }, release = "r" },
      { __index = times }))
    driver.open_cluster()
    assert.same({ { members = { { id = "a", address = "a" } }, discoveries = {},
      access = { changes = 0 } }, "r", times }, given)
    driver.configure({ discover = "b", release = "r" })
    local opened, err = driver.open_cluster()
    assert.is_nil(opened)
    assert.equal("usage", err.kind)
  end)

  it("keeps its sessions while the script computes", function()
    local world = e2e.new()
    finally(function() world:close() end)
    local node = world:node({ workers = 1, flags = { "--lease", "6" } })
    local run = world:run({ "run", "--heartbeat", "0.2", "--peers", node.address,
      world:write("busy.lua", [[
        local fleet, now = require("fleet"), require("host.sys").now
        local f = assert(fleet.send(fleet.any, function()
          require("fleet").sleep(8)
          return "done"
        end))
        local n, start = 0, now()
        while now() - start < 9 do n = n + 1 end
        print((f:wait(60)))
      ]]) })
    assert.equal("done\n", run.out, run.err)
  end)

  it("packs functions with the texts of their modules", function()
    local packed, blobs = driver.pack(function() return 1 end)
    assert.is_table(packed)
    assert.same({}, blobs)
    local scheduling = require("spec.support.driving")
    packed, blobs = driver.pack(function() return scheduling end)
    assert.is_table(packed)
    local found
    for _, blob in ipairs(blobs) do
      found = found or blob.bytes:find("Helpers for specs of the scheduler", 1, true)
      assert.equal(packed.modules["spec.support.driving"] == blob.key,
        blob.bytes:find("Helpers for specs", 1, true) ~= nil)
    end
    assert.is_truthy(found)
    local none, err = driver.pack(function() return io.stdout, coroutine.running, task end)
    assert.is_nil(none)
    assert.equal("encode", err.kind)
  end)
end)
