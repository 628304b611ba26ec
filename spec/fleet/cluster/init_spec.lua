-- SPDX-License-Identifier: MIT
local driver = require("fleet.driver")
local e2e = require("spec.support.e2e")
local host_driver = require("host.driver")
local cluster = require("fleet.cluster")
local sys = require("host.sys")
local task = require("host.task")

local function open(where, release)
  local p = assert(cluster.open(where, release or sys.version))
  finally(function() p:close() end)
  return p
end

describe("a private cluster", function()
  it("is one node of this machine, with a worker for each core", function()
    for _, where in ipairs({ false, e2e.sources({}) }) do
      local p = open(where or nil, "any release")
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
    local pid = p.child:pid()
    local workers = e2e.children(pid)
    assert.equal(sys.cores(), #workers)
    p:close()
    p:close()
    assert.is_false(e2e.alive(pid))
    e2e.wait_until("the workers to go", function()
      for _, worker in ipairs(workers) do
        if e2e.alive(worker) then return false end
      end
      return true
    end)
  end)

  it("restarts its node when that was lost", function()
    local p = open()
    local n, pid = p.nodes[1], p.child:pid()
    e2e.kill(pid, "KILL")
    assert.is_true(p:reconnect(n))
    assert.are_not.equal(pid, p.child:pid())
    assert.same({ "ready", "local" }, { n.state, n.address })
    assert.equal(p.child:pid(), n:request_status(5).pid)
  end)

  it("whose node was lost cannot be used, and needs no keys", function()
    local p = open()
    e2e.kill(p.child:pid(), "KILL")
    local _, why = p.nodes[1]:request_status(5)
    assert.equal("lost", why.kind)
    p.nodes[1].error = why
    local err = p:no_workers()
    assert.same({ "connect", "no node can be used: " .. why.message }, { err.kind, err.message })
  end)

  it("stays closed when it is closed while its node restarts", function()
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
    assert.equal("lost", select(2, p.nodes[1]:request_status(1)).kind)
  end)

  describe("whose node does not start", function()
    local local_node = host_driver.local_node
    local err = { kind = "connect", message = "it does not start" }
    before_each(function() host_driver.local_node = function() return nil, err end end)
    after_each(function() host_driver.local_node = local_node end)

    it("fails to open", function()
      assert.same({ n = 2, nil, err }, table.pack(cluster.open(nil, "1")))
    end)

    it("keeps the error at a later attempt", function()
      host_driver.local_node = local_node
      local p = open()
      host_driver.local_node = function() return nil, err end
      assert.same({ n = 2, nil, err }, table.pack(p:reconnect(p.nodes[1])))
    end)
  end)
end)

describe("a cluster of peers", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("has all of them in their order, with their states", function()
    local good = world:nodes(2, { workers = 1 })
    local skewed = world:node({ workers = 1, flags = { "--release", "another" } })
    local nobody = "127.0.0.1:" .. e2e.free_port()
    local p = open(e2e.sources({ good[1].address, nobody, skewed.address, good[2].address }))
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
    local p = open(e2e.sources({ n.address, "localhost:" .. n.port, n.address }))
    assert.equal(1, #p.nodes)
    assert.same({ n.address, "ready" }, { p.nodes[1].address, p.nodes[1].state })
    assert.is_true(p.nodes[1]:request_status(5).pid == n.pid)
  end)

  it("adds the address to the name of a second node with the same name", function()
    local a = world:node({ workers = 1, name = "same" })
    local b = world:node({ workers = 1, name = "same" })
    local p = open(e2e.sources({ a.address, b.address }))
    local other = "same@" .. b.address
    assert.same({ "same", other }, { p.nodes[1].name, p.nodes[2].name })
    p.nodes[2]:request_status(5)
    assert.equal(other, p.nodes[2].name)
  end)

  it("tells why each node cannot be used", function()
    local skewed = world:node({ workers = 1, flags = { "--release", "another" } })
    local nobody = "127.0.0.1:" .. e2e.free_port()
    local p = open(e2e.sources({ nobody, skewed.address }))
    local err = p:no_workers()
    assert.equal("connect", err.kind)
    assert.matches(nobody .. ": connection refused", err.message, 1, true)
    assert.matches(skewed.address .. " runs release another", err.message, 1, true)
    p.nodes[1].error, p.nodes[1].state = nil, "draining"
    assert.matches(nobody .. " is draining", p:no_workers().message, 1, true)
  end)

  it("has a node once that returns at two addresses", function()
    local port = e2e.free_port()
    local p = open(e2e.sources({ "localhost:" .. port, "127.0.0.1:" .. port }))
    local d, options = driver.new(p), { timeout = 9 }
    local _, err = d:send({}, function() end, options):wait()
    assert.equal("connect", err.kind)
    local n = world:node({ workers = 1, port = port })
    e2e.wait_until("the double to go", function() return #p.nodes == 1 and next(p.sessions) end)
    assert.equal(1, (d:send({ node = n.name }, function() return 1 end, options):wait()))
    assert.is_nil(next(p.sessions, next(p.sessions)))
  end)

  it("uses a restarted node again", function()
    local first = world:node({ workers = 1 })
    local p = open(e2e.sources({ first.address }))
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

describe("a cluster of a discovery", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  -- Sources with what fleet.discovery is to a cluster, by hand.
  local function scripted(members)
    local found = { pokes = 0 }
    function found.open() return members end
    function found.follow(_, added, removed, is_live)
      found.added, found.removed, found.is_live = added, removed, is_live
    end
    function found.refresh() found.pokes = found.pokes + 1 end
    function found.why_empty() return "there is nobody" end
    function found.close() found.closed = true end
    return { members = {}, discoveries = { found } }
  end
  local function member(n) return { id = "i-" .. n.port, address = n.address, zone = "a" } end
  local function names(p)
    local list = {}
    for i, n in ipairs(p.nodes) do list[i] = n.name end
    return list
  end

  it("begins with the members and their zones", function()
    local n = world:node({ workers = 1 })
    local p = open(scripted({ member(n), { id = "i-0", address = "127.0.0.1:1" } }))
    assert.same({ n.name, "127.0.0.1:1" }, names(p))
    assert.same({ "a", "ready" }, { p.nodes[1]:describe().zone, p.nodes[1].state })
    assert.is_true(p.discoveries[1].is_live("i-" .. n.port))
    assert.is_false(p.discoveries[1].is_live("i-0"))
    assert.is_false(p.discoveries[1].is_live("i-?"))
  end)

  it("returns the error of a discovery that found nothing", function()
    local where, err = scripted(), { kind = "connect", message = "no list" }
    where.discoveries[1].open = function() return nil, err end
    assert.same({ n = 2, nil, err }, table.pack(cluster.open(where, sys.version)))
    assert.is_true(where.discoveries[1].closed)
  end)

  it("tells why the discovery found no node", function()
    local p = open(scripted({}))
    assert.equal("no node can be used: there is nobody", p:no_workers().message)
    p:close()
    assert.is_true(p.discoveries[1].closed)
  end)

  it("adds and releases nodes that join and leave, before and after its first job", function()
    local list = world:nodes(3, { workers = 1 })
    local p = open(scripted({ member(list[1]) }))
    p.discoveries[1].added(member(list[2]))
    e2e.wait_until("the second", function() return #p:ready() == 2 end)
    p.discoveries[1].removed(member(list[1]))
    assert.same({ list[2].name }, names(p))
    local d, options = driver.new(p), { timeout = 9 }
    assert.equal(1, (d:send({}, function() return 1 end, options):wait()))
    p.discoveries[1].added(member(list[3]))
    e2e.wait_until("the third", function()
      local sessions = 0
      for _ in pairs(p.sessions) do sessions = sessions + 1 end
      return sessions == 2
    end)
    assert.is_true(p.discoveries[1].is_live("i-" .. list[3].port))
    -- what runs is finished where it is
    local f = d:send({ node = list[2].name },
      function() require("fleet").sleep(1) return "done" end, options)
    task.sleep(0.3)
    p.discoveries[1].removed(member(list[2]))
    assert.equal("done", (f:wait()))
    e2e.wait_until("its end", function() return #p.nodes == 1 end)
    local _, err = d:send({ node = list[2].name }, function() end, options):wait()
    assert.equal("connect", err.kind)
    assert.same({ list[3].name }, names(p))
  end)

  it("connects once to a node that joins while the first job begins", function()
    local list = world:nodes(2, { workers = 1 })
    local p = open(scripted({ member(list[1]) }))
    local d, options = driver.new(p), { timeout = 9 }
    p.discoveries[1].added(member(list[2]))
    assert.equal(1, (d:send({}, function() return 1 end, options):wait()))
    e2e.wait_until("the second", function()
      return p.discoveries[1].is_live("i-" .. list[2].port)
    end)
    local sessions = {}
    for l in pairs(p.sessions) do sessions[l] = true end
    task.sleep(1) -- somebody else who dials would have by now
    assert.same(sessions, p.sessions)
    assert.equal(2, (d:send({ node = list[2].name }, function() return 2 end, options)
      :wait()))
  end)

  it("has a node again that returns while it finishes its tasks", function()
    local n = world:node({ workers = 1 })
    local p = open(scripted({ member(n) }))
    local d, options = driver.new(p), { timeout = 9 }
    local f = d:send({}, function() require("fleet").sleep(1) return "done" end, options)
    e2e.wait_until("the call", function() return p.nodes[1]:request_status(5).running == 1 end)
    p.discoveries[1].removed(member(n))
    p.discoveries[1].added(member(n))
    e2e.wait_until("the new one", function() return p.discoveries[1].is_live("i-" .. n.port) end)
    assert.equal("again", (d:send({ node = n.name }, function() return "again" end,
      options):wait()))
    assert.equal("done", (f:wait()))
    e2e.wait_until("the old one to go", function() return #p.nodes == 1 end)
    assert.is_true(p.discoveries[1].is_live("i-" .. n.port))
  end)

  it("has a node once that joins at two addresses", function()
    local n = world:node({ workers = 1 })
    local p = open(scripted({ member(n) }))
    p.discoveries[1].added({ id = "twin", address = "localhost:" .. n.port })
    e2e.wait_until("the double to go", function() return #p.nodes == 1 end)
    task.sleep(0.1)
    assert.same({ n.name }, names(p))
    p.discoveries[1].removed({ id = "twin" })
    assert.same({ n.name }, names(p))
  end)

  it("refreshes the discovery when all nodes are lost", function()
    local n = world:node({ workers = 1 })
    local p = open(scripted({ member(n) }))
    local d = driver.new(p)
    d:send({}, function() end, { timeout = 9 }):wait()
    assert.equal(0, p.discoveries[1].pokes)
    n:kill("KILL")
    e2e.wait_until("a poke", function() return p.discoveries[1].pokes == 1 end)
    assert.is_false(p.discoveries[1].is_live("i-" .. n.port))
    p.discoveries[1].removed(member(n))
    assert.same({}, names(p))
  end)
end)
