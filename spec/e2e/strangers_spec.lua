-- SPDX-License-Identifier: MIT
-- A node keeps working whatever connects to its address.

local codec = require("host.codec")
local e2e = require("spec.support.e2e")
local json = require("fleet.json")
local socket = require("socket")
local unix = require("socket.unix")

local PREFACE = "moonfleet/5\n"
local RESET = { on = true, timeout = 0 }

-- Ways to disconnect before the handshake is complete.
local MANNERS = {
  ["at once"] = function() end,
  ["with a reset"] = function(c) c:setoption("linger", RESET) end,
  ["with a reset after the end"] = function(c)
    c:setoption("linger", RESET)
    c:shutdown("send")
  end,
  ["after another protocol's words"] = function(c) c:send("GET / HTTP/1.0\r\n\r\n") end,
  ["after half a preface"] = function(c) c:send("moonfl") end,
  ["after the preface"] = function(c) c:send(PREFACE) end,
  ["within a frame"] = function(c) c:send(PREFACE .. "\64\0\0\1half") end,
  ["after the preface of another version"] = function(c) c:send("moonfleet/99\n") end,
  ["after half a greeting of protocol 4"] = function(c) c:send("\0SP") end,
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

  it("bounds messages that do not come to their end, and connections", function()
    local node = world:node({ workers = 1, within = { "prlimit", "--nofile=256" } })
    local list = {}
    for i = 1, 300 do -- each the half of a frame
      local c = assert(socket.connect("127.0.0.1", node.port))
      list[i] = c
      assert(c:send(PREFACE .. string.pack("<I3B", 256 << 10, 5)))
      c:send(("x"):rep(200 << 10))
      if i % 100 == 0 then
        local run = world:run({ "eval", "--peers", node.address, "return 'served'" })
        assert.equal("served\n", run.out, run.err)
      end
    end
    assert.is_true(e2e.peak_rss(node.pid) < (e2e.sanitized and 1000 or 150))
    assert.matches("too many connections without a session, closing the quietest", node:err(), 1,
      true)
    for _, c in ipairs(list) do c:close() end
    assert.equal(0, world:run({ "nodes", "--peers", node.address }).code)
  end)

  it("bounds the large messages of all drivers that do not come to their end", function()
    local node = world:node({ workers = 1 })
    local part = string.pack("<I3B", 256 << 10, 4) .. ("x"):rep(256 << 10)
    local list = {}
    for i = 1, 8 do -- each the first 60 MiB of a message
      local c = assert(socket.connect("127.0.0.1", node.port))
      local open = codec.encode({ "open", ("%016d"):format(i), 0, 16 << 20 })
      list[i] = c
      assert(c:send(PREFACE .. string.pack("<I3BI4", 4 + #open, 1, 1) .. open))
      for _ = 1, 240 do assert(c:send(part)) end
    end
    local run = world:run({ "eval", "--peers", node.address, "return 'served'" })
    assert.equal("served\n", run.out, run.err)
    if not e2e.sanitized then assert.is_true(e2e.peak_rss(node.pid) < 256 + 100) end
    assert.matches("messages of others need the room of its unfinished one", node:err(), 1, true)
    for _, c in ipairs(list) do c:close() end
  end)

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
