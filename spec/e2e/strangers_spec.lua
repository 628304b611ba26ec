-- SPDX-License-Identifier: MIT
-- A node goes on serving whatever else connects to its address.

local e2e = require("spec.support.e2e")
local json = require("fleet.json")
local socket = require("socket")
local unix = require("socket.unix")

local RESET = { on = true, timeout = 0 }

-- Ways to leave before the greeting is over.
local MANNERS = {
  ["at once"] = function() end,
  ["with a reset"] = function(c) c:setoption("linger", RESET) end,
  ["with a reset after the end"] = function(c)
    c:setoption("linger", RESET)
    c:shutdown("send")
  end,
  ["after another protocol's words"] = function(c) c:send("GET / HTTP/1.0\r\n\r\n") end,
  ["after half a greeting"] = function(c) c:send("\0SP") end,
}

local KINDS = {
  tcp = {
    node = function(world) return world:node({ workers = 1 }) end,
    connect = function(node) return socket.connect("127.0.0.1", node.port) end,
  },
  ipc = {
    node = function(world)
      return world:node({ workers = 1, url = "ipc://" .. world:path("socket") })
    end,
    connect = function(node)
      local c = unix.stream()
      assert(c:connect((node.address:gsub("^ipc://", ""))))
      return c
    end,
  },
}

describe("a node", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  for kind, how in pairs(KINDS) do
    it("survives strangers on its " .. kind .. " address", function()
      local node = how.node(world)
      for manner, leave in pairs(MANNERS) do
        for _ = 1, 100 do
          local c = assert(how.connect(node))
          leave(c)
          c:close()
        end
        local run = world:run({ "nodes", "--json", "--peers", node.address })
        assert.equal(0, run.code, "those who leave " .. manner .. ": " .. run.err)
        assert.equal("ready", json.decode(run.out)[1].state)
      end
    end)
  end
end)
