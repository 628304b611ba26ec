-- SPDX-License-Identifier: MIT
-- Faults on purpose (host/base/fault.h), at both ends of a connection.

local codec = require("host.codec")
local e2e = require("spec.support.e2e")
local session = require("spec.support.session")
local sys = require("host.sys")
local task = require("host.task")

-- What the scripts below begin with: a connection, and one request over it. The first send of a
-- driver is the preface, the second the first request.
local HEAD = [[
local channel = require("host.channel")
local codec = require("host.codec")
local task = require("host.task")
local function dial() return channel.dial({ url = "tcp://%s", timeout = 30 }) end
local peer, why = dial()
local function ask(seconds)
  local bytes, err = peer:call(codec.encode({ "status" }), seconds or 60)
  return bytes and codec.decode(bytes)[1] or err.kind
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

  describe("at a driver", function()
    local function driver(faults, script)
      local node = world:node({ workers = 1 })
      local result = run(faults, HEAD:format(node.address) .. script)
      assert.equal(0, result.code, result.err)
      return result.lines
    end

    for _, fault in ipairs({ "send:break@3", "send:truncate@3", "receive:break@3" }) do
      it("ends a connection (" .. fault .. "), and not the next one", function()
        assert.same({ "status", "lost", "lost", "status" }, driver(fault, [[
          for _ = 1, 3 do print(ask()) end
          peer = assert(dial())
          print(ask())
        ]]))
      end)
    end

    it("ends a connection before it is made", function()
      for _, fault in ipairs({ "send:break@1", "send:truncate@1", "receive:break@1" }) do
        assert.same({ "true", "status" }, driver(fault, [[
          print(peer == nil and why.kind ~= nil)
          peer = assert(dial())
          print(ask())
        ]]), fault)
      end
    end)

    it("delays a request, and all that follows", function()
      assert.same({ "timeout", "timeout", "status" }, driver("send:delay=1000@2", [[
        print(ask(0.1))
        print(ask(0.1))
        print(ask())
      ]]))
    end)

    it("delays a request, and its connection can be closed meanwhile", function()
      assert.same({ "lost" }, driver("send:delay=60000@2", [[
        local over
        task.spawn(function() print(ask(0)) over = true end)
        task.sleep(0.05)
        peer:close()
        while not over do task.sleep(0.01) end
      ]]))
    end)
  end)

  describe("at a node", function()
    local peer

    local function node_with(faults)
      local node = world:node({ workers = 1, env = { "MOONFLEET_FAULT=" .. faults } })
      peer = session.dial("tcp://" .. node.address)
      return node
    end
    after_each(function() peer:close() end)

    local function status(seconds)
      local bytes, err = peer:call(codec.encode({ "status" }), seconds or 60)
      return bytes and codec.decode(bytes)[1] or err.kind
    end

    for _, fault in ipairs({ "send:break@3", "send:truncate@3", "receive:break@3" }) do
      it("ends a connection (" .. fault .. "), and not the next one", function()
        local node = node_with(fault)
        assert.equal("status", status())
        assert.equal("lost", status())
        peer = session.dial("tcp://" .. node.address)
        assert.equal("status", status())
      end)
    end

    it("delays a reply, and all that follows", function()
      node_with("send:delay=1000@2")
      assert.equal("timeout", status(0.1))
      assert.equal("timeout", status(0.1))
      assert.equal("status", status())
    end)

    it("delays a reply, and the node can end meanwhile", function()
      local node = node_with("send:delay=60000@2")
      task.spawn(status)
      task.sleep(0.05)
      node:kill("TERM")
      assert.equal(0, node:wait().code)
    end)

    for _, fault in ipairs({ "send:die@3", "receive:die@3" }) do
      it("ends the node (" .. fault .. ")", function()
        local node = node_with(fault)
        assert.equal("status", status())
        assert.equal("lost", status())
        assert.equal(9, node:wait().signal)
      end)
    end
  end)

  describe("at a point of its own", function()
    local STEPS = [[
      for i = 1, 200 do io.write(i, " ", require("host.sys").fault("step") or "none", "\n") end
    ]]

    it("is said where it is asked for", function()
      local lines = run("other:break,step:truncate@2,step:delay=1@3", STEPS).lines
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
        return select(2, result.out:gsub("break", "")), result.out
      end
      local n, out = count("step:break%50")
      assert.is_true(n > 50 and n < 150)
      assert.equal(out, select(2, count("step:break%50", "1")))
      assert.not_equal(out, select(2, count("step:break%50", "2")))
      assert.equal(0, (count("step:break%0")))
      assert.equal(200, (count("step:break%100")))
    end)

    it("is refused when it is not understood", function()
      for _, faults in ipairs({
        "x", ":break", "send:", "send:explode", "send:break=1", "send:delay",
        "send:delay=", "send:delay=0", "send:delay=x", "send:break@", "send:break@0",
        "send:break%101", "send:break%x", "send:break%nan", "send:break@1%2",
        "send:break@1 ", ",", "send:break,,send:break", ("x"):rep(32) .. ":break",
        ("send:break,"):rep(17), "send:break@99999999999999999999",
        "send:drop", "send:duplicate", "receive:delay=1", "receive:truncate", "records:break",
        "records:delay=1",
      }) do
        local result = run(faults, STEPS)
        assert.equal(2, result.code, faults)
        assert.matches("MOONFLEET_FAULT", result.err, 1, true)
      end
      assert.equal(2, run("step:break", STEPS, "seven").code)
      assert.equal(0, run(("other:break,"):rep(16), STEPS).code)
    end)
  end)
end)
