-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local pool = require("fleet.pool")
local sys = require("host.sys")
local task = require("host.task")

local function open(peers, release)
  local p = assert(pool.open(peers, release or sys.version))
  finally(function() p:close() end)
  return p
end

describe("a private pool", function()
  it("is one node of this machine, with a worker for each core", function()
    for _, peers in ipairs({ false, {} }) do
      local p = open(peers or nil, "any release")
      assert.is_true(p.private)
      assert.equal(1, #p.nodes)
      local n = p.nodes[1]
      assert.same({ "local", "local", "ready" }, { n.address, n.name, n.state })
      assert.equal(sys.cores(), #n.status.workers)
      assert.same({ n }, p:ready())
      p:close()
    end
  end)

  it("leaves nothing behind when it is closed", function()
    local p = open()
    local pid, socket = p.child:pid(), p.child:url():match("^ipc://(.*)$")
    local workers = e2e.children(pid)
    assert.equal(sys.cores(), #workers)
    p:close()
    p:close()
    assert.is_false(e2e.alive(pid))
    assert.is_nil(io.open(socket))
    e2e.wait_until("the workers to go", function()
      for _, worker in ipairs(workers) do
        if e2e.alive(worker) then return false end
      end
      return true
    end)
  end)

  it("starts its node anew when that was lost", function()
    local p = open()
    local n, pid = p.nodes[1], p.child:pid()
    e2e.kill(pid, "KILL")
    assert.is_true(p:reconnect(n))
    assert.are_not.equal(pid, p.child:pid())
    assert.same({ "ready", "local" }, { n.state, n.address })
    assert.equal(p.child:pid(), n:ask_status(5).pid)
  end)

  it("closed while its node starts anew stays closed", function()
    local p = open()
    local done
    task.spawn(function()
      p:reconnect(p.nodes[1])
      done = true
    end)
    task.yield()
    p:close()
    e2e.wait_until("the end of it", function() return done end)
    assert.equal(0, p.child:pid())
    assert.equal("lost", select(2, p.nodes[1]:ask_status(1)).kind)
  end)

  describe("whose node does not start", function()
    local local_node, err = sys.local_node, { kind = "connect", message = "it does not start" }
    before_each(function() sys.local_node = function() return nil, err end end)
    after_each(function() sys.local_node = local_node end)

    it("is none", function()
      assert.same({ n = 2, nil, err }, table.pack(pool.open(nil, "1")))
    end)

    it("again keeps the error", function()
      sys.local_node = local_node
      local p = open()
      sys.local_node = function() return nil, err end
      assert.same({ n = 2, nil, err }, table.pack(p:reconnect(p.nodes[1])))
    end)
  end)
end)

describe("a pool of peers", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("has all of them in their order, and says which can be used", function()
    local good = world:nodes(2, { workers = 1 })
    local skewed = world:node({ workers = 1, flags = { "--release", "another" } })
    local nobody = "127.0.0.1:" .. e2e.free_port()
    local p = open({ good[1].address, nobody, skewed.address, good[2].address })
    assert.is_nil(p.private)
    local states = {}
    for i, n in ipairs(p.nodes) do states[i] = n.name .. " " .. n.state end
    assert.same({
      good[1].name .. " ready", nobody .. " down", skewed.name .. " skew", good[2].name .. " ready",
    }, states)
    assert.same({ p.nodes[1], p.nodes[4] }, p:ready())
    assert.equal("connect", p.nodes[2].error.kind)
  end)

  it("has a node once that is given twice", function()
    local n = world:node({ workers = 1 })
    local p = open({ n.address, "localhost:" .. n.port, n.address })
    assert.equal(1, #p.nodes)
    assert.same({ n.address, "ready" }, { p.nodes[1].address, p.nodes[1].state })
    assert.is_true(p.nodes[1]:ask_status(5).pid == n.pid)
  end)

  it("tells nodes of one name apart by their addresses", function()
    local a = world:node({ workers = 1, flags = { "--name", "same" } })
    local b = world:node({ workers = 1, flags = { "--name", "same" } })
    local p = open({ a.address, b.address })
    local other = "same@" .. b.address
    assert.same({ "same", other }, { p.nodes[1].name, p.nodes[2].name })
    p.nodes[2]:ask_status(5)
    assert.equal(other, p.nodes[2].name)
  end)

  it("says of each why it cannot be used", function()
    local skewed = world:node({ workers = 1, flags = { "--release", "another" } })
    local nobody = "127.0.0.1:" .. e2e.free_port()
    local p = open({ nobody, skewed.address })
    local err = p:no_workers()
    assert.equal("connect", err.kind)
    assert.matches(nobody .. ": connection refused", err.message, 1, true)
    assert.matches(skewed.address .. " runs release another", err.message, 1, true)
    p.nodes[1].error, p.nodes[1].state = nil, "draining"
    assert.matches(nobody .. " is draining", p:no_workers().message, 1, true)
  end)

  it("gets back a node that has started again", function()
    local first = world:node({ workers = 1 })
    local p = open({ first.address })
    local n = p.nodes[1]
    first:kill("KILL")
    first:wait()
    local ok, err = p:reconnect(n)
    assert.is_nil(ok)
    assert.same({ "down", err }, { n.state, n.error })
    local second = world:node({ workers = 1, port = first.port })
    assert.is_true(p:reconnect(n))
    assert.equal(second.pid, n.status.pid)
    assert.same({ n }, p:ready())
  end)
end)
