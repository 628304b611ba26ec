-- SPDX-License-Identifier: MIT
-- What fleet's own spec (init_spec) does not see: how the pool comes and goes.

local driver = require("fleet.driver")
local e2e = require("spec.support.e2e")
local pool = require("fleet.pool")
local sys = require("host.sys")
local task = require("host.task")

describe("fleet.driver", function()
  after_each(function() driver.close() end)

  it("opens the pool of the command line at its first use, once", function()
    driver.configure({ release = sys.version })
    local open, count = pool.open, 0
    finally(function() pool.open = open end)
    pool.open = function(...) -- luacheck: ignore 122
      count = count + 1
      return open(...)
    end
    local seen, left, done = {}, 3, task.signal()
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
    local pid = seen[1].pool.child:pid()
    driver.close()
    assert.is_false(e2e.alive(pid))
  end)

  it("says why there is none, and tries again when it is asked again", function()
    driver.configure({ peers = { "127.0.0.1:" .. e2e.free_port() }, release = sys.version })
    for _ = 1, 2 do
      local d, err = driver.get()
      assert.is_nil(d)
      assert.equal("connect", err.kind)
      assert.matches("connection refused", err.message, 1, true)
    end
  end)

  it("opens the pool as the flags say", function()
    local open, given = pool.open, nil
    finally(function() pool.open = open end)
    pool.open = function(...)
      given = { ... }
      return {}
    end
    local times = { heartbeat = 2, suspect_after = 3, dead_after = 4, reply_after = 6 }
    driver.configure(setmetatable({ workers = 5, peers = { "a" }, release = "r" },
      { __index = times }))
    driver.open_pool()
    assert.same({ { "a" }, "r", times }, given)
    driver.configure({ peers = { "a" }, discover = "file:b", release = "r" })
    local opened, err = driver.open_pool()
    assert.is_nil(opened)
    assert.equal("usage", err.kind)
  end)

  it("keeps its sessions while the script computes", function()
    local world = e2e.new()
    finally(function() world:close() end)
    local node = world:node({ workers = 1, flags = { "--lease", "3" } })
    local run = world:run({ "run", "--heartbeat", "0.2", "--peers", node.address,
      world:write("busy.lua", [[
        local fleet = require("fleet")
        local f = assert(fleet.send(fleet.any, function()
          require("fleet").sleep(5)
          return "done"
        end))
        local n, start = 0, os.clock()
        while os.clock() - start < 6 do n = n + 1 end
        print((f:wait(20)))
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
      found = found or blob.bytes:find("Shorthands for specs of the scheduler", 1, true)
      assert.equal(packed.modules["spec.support.driving"] == blob.key,
        blob.bytes:find("Shorthands", 1, true) ~= nil)
    end
    assert.is_truthy(found)
    local none, err = driver.pack(function() return io.stdout, coroutine.running, task end)
    assert.is_nil(none)
    assert.equal("encode", err.kind)
  end)
end)
