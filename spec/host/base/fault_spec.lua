-- SPDX-License-Identifier: MIT
-- Faults on purpose (host/base/fault.h), each kind at both ends of a connection.

local codec = require("host.codec")
local e2e = require("spec.support.e2e")
local rpc = require("host.rpc")
local sys = require("host.sys")
local task = require("host.task")

-- What the scripts below begin with: a peer, and one call to it.
local HEAD = [[
local codec = require("host.codec")
local sys = require("host.sys")
local task = require("host.task")
local session = require("spec.support.session")
local peer = assert(require("host.rpc").dial("tcp://%s", 30))
local function ask(seconds, ...)
  local bytes, err = peer:call(codec.encode({ ... }), seconds)
  if not bytes then return { err.kind } end
  return codec.decode(bytes)
end
]]

describe("a fault", function()
  local world

  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  -- Lines that a script prints with this in MOONFLEET_FAULT.
  local function run(faults, script, seed)
    local path = world:write("script.lua", "package.path = './?.lua;./lua/?.lua;' .. package.path\n"
      .. script)
    local result = world:run({ "run", path }, {
      env = { "MOONFLEET_FAULT=" .. faults, "MOONFLEET_FAULT_SEED=" .. (seed or "") },
    })
    result.lines = e2e.lines(result.out)
    return result
  end

  describe("of a request", function()
    local function driver(faults, script)
      local node = world:node({ workers = 1 })
      local result = run(faults, HEAD:format(node.address) .. script)
      assert.equal(0, result.code, result.err)
      return result.lines
    end

    it("drops it", function()
      assert.same({ "status", "timeout", "status" }, driver("request:drop@2", [[
        for i = 1, 3 do print(ask(i == 2 and 0.5 or 60, "status", sys.protocol)[1]) end
      ]]))
    end)

    it("drops it, and its peer can be closed", function()
      assert.same({ "lost" }, driver("request:drop", [[
        local over
        task.spawn(function() print(ask(0, "status", sys.protocol)[1]) over = true end)
        task.sleep(0.05)
        peer:close()
        while not over do task.sleep(0.01) end
      ]]))
    end)

    it("delays it, and no other", function()
      assert.same({ "2", "1" }, driver("request:delay=2000@1", [[
        local n = 0
        for i = 1, 2 do
          task.spawn(function()
            if ask(60, "status", sys.protocol)[1] == "status" then print(i) end
            n = n + 1
          end)
        end
        while n < 2 do task.sleep(0.01) end
      ]]))
    end)

    it("delays it, and an answer that is missing is missed as ever", function()
      local node = world:node({ workers = 1, env = { "MOONFLEET_FAULT=reply:drop@2" } })
      local result = run("request:delay=50@1", HEAD:format(node.address) .. [[
        for i = 1, 3 do print(ask(i == 2 and 0.5 or 60, "status", sys.protocol)[1]) end
      ]])
      assert.same({ "status", "timeout", "status" }, result.lines, result.err)
    end)

    it("delays it longer than its caller waits", function()
      assert.same({ "timeout", "status" }, driver("request:delay=60000@1", [[
        print(ask(0.2, "status", sys.protocol)[1])
        print(ask(60, "status", sys.protocol)[1])
      ]]))
    end)

    it("sends it twice, and each reply finds its own caller", function()
      -- the second "end" has nothing left to end; messages that come twice run once
      assert.same({ "once", "0 running", "status" }, driver("request:duplicate", [[
        local s = session.open(peer, "twice")
        local counts = session.job("n = n + 1 return n", "local n = 0")
        s:post({ blobs = { { "job", counts } }, batches = { s:batch(1, { 1 }) } })
        while s.ended < 1 do s:ask(s:message({}, s.seq), 0.2) end
        s:post({ batches = { s:batch(2, { 1 }) } })
        while s.ended < 2 do s:ask(s:message({}, s.seq), 0.2) end
        print(s.results[1] == 1 and s.results[2] == 2 and "once" or "more than once")
        print(s:close()[2].running .. " running")
        print(ask(60, "status", sys.protocol)[1])
      ]]))
    end)

    it("cuts it", function()
      assert.same({ "error", "status" }, driver("request:truncate@1", [[
        for _ = 1, 2 do print(ask(60, "status", sys.protocol)[1]) end
      ]]))
    end)
  end)

  describe("of a reply", function()
    local peer

    local function node_with(faults)
      local node = world:node({ workers = 1, env = { "MOONFLEET_FAULT=" .. faults } })
      peer = assert(rpc.dial("tcp://" .. node.address, 30))
      return node
    end
    after_each(function() peer:close() end)

    local function status(seconds)
      return peer:call(codec.encode({ "status", sys.protocol }), seconds or 60)
    end

    it("drops it", function()
      node_with("reply:drop@2")
      assert.is_truthy(status())
      local reply, err = status(0.5)
      assert.is_nil(reply)
      assert.equal("timeout", err.kind)
      assert.is_truthy(status())
    end)

    it("delays it, and no other", function()
      node_with("reply:delay=2000@1")
      local order = {}
      for i = 1, 2 do
        task.spawn(function()
          if status() then order[#order + 1] = i end
        end)
        task.yield() -- for the requests to be sent in this order
      end
      e2e.wait_until("both", function() return #order == 2 end)
      assert.same({ 2, 1 }, order)
    end)

    it("delays it, and the node can end meanwhile", function()
      local node = node_with("reply:delay=60000")
      task.spawn(status)
      task.sleep(0.05)
      node:kill("TERM")
      assert.equal(0, node:wait().code)
    end)

    it("cuts it", function()
      node_with("reply:truncate@1")
      local whole, err = codec.decode(assert(status()))
      assert.is_nil(whole)
      assert.equal("decode", err.kind)
      assert.equal("status", codec.decode(assert(status()))[1])
    end)

    it("ends the node", function()
      local node = node_with("reply:die@2")
      assert.is_truthy(status())
      local reply, err = status()
      assert.is_nil(reply)
      assert.equal("lost", err.kind)
      assert.equal(9, node:wait().signal)
    end)
  end)

  describe("at a point of its own", function()
    local STEPS = [[
      for i = 1, 200 do io.write(i, " ", require("host.sys").fault("step") or "none", "\n") end
    ]]

    it("is said where it is asked for", function()
      local lines = run("other:drop,step:truncate@2,step:delay=1@3", STEPS).lines
      assert.same({ "1 none", "2 truncate", "3 delay", "4 none" }, { table.unpack(lines, 1, 4) })
      assert.is_nil(sys.fault("step"))
    end)

    it("ends the process there", function()
      local result = run("step:die@3", "io.stdout:setvbuf('no')" .. STEPS)
      assert.equal(9, result.signal)
      assert.same({ "1 none", "2 none" }, result.lines)
    end)

    it("happens as often as it is to, by the seed", function()
      local function count(faults, seed)
        local result = run(faults, STEPS, seed)
        return select(2, result.out:gsub("drop", "")), result.out
      end
      local n, out = count("step:drop%50")
      assert.is_true(n > 50 and n < 150)
      assert.equal(out, select(2, count("step:drop%50", "1")))
      assert.not_equal(out, select(2, count("step:drop%50", "2")))
      assert.equal(0, (count("step:drop%0")))
      assert.equal(200, (count("step:drop%100")))
    end)

    it("is refused when it is not understood", function()
      for _, faults in ipairs({
        "x", ":drop", "request:", "request:explode", "request:drop=1", "request:delay",
        "request:delay=", "request:delay=0", "request:delay=x", "request:drop@", "request:drop@0",
        "request:drop%101", "request:drop%x", "request:drop%nan", "request:drop@1%2",
        "request:drop@1 ", ",", "request:drop,,request:drop", ("x"):rep(32) .. ":drop",
        ("request:drop,"):rep(17), "request:drop@99999999999999999999",
      }) do
        local result = run(faults, STEPS)
        assert.equal(2, result.code, faults)
        assert.matches("MOONFLEET_FAULT", result.err, 1, true)
      end
      assert.equal(2, run("step:drop", STEPS, "seven").code)
      assert.equal(0, run(("request:drop,"):rep(16), STEPS).code)
    end)
  end)
end)
