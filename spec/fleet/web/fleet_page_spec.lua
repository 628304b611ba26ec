-- SPDX-License-Identifier: MIT

local e2e = require("spec.support.e2e")
local json = require("fleet.json")
local socket = require("socket")
local web_page = require("spec.support.web_page")

-- The first event of the stream, which does not end by itself.
local function first_event(port)
  local client = assert(socket.connect("127.0.0.1", port))
  client:settimeout(0)
  client:send("GET /fleet/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
  local received = ""
  e2e.wait_until("an event", function()
    local bytes, _, part = client:receive(65536)
    received = received .. (bytes or part)
    return received:find("\n\n", 1, true)
  end)
  client:close()
  return received:match("\r\n\r\n%x+\r\n(.*)$")
end

describe("the page Fleet", function()
  local world, page
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("shows the nodes, and why one is not used", function()
    local node = world:node({ name = "only" })
    page = web_page.start(world, "--peers", node.address .. ",127.0.0.1:1")
    local body = page:get("/fleet").body
    assert.matches("1 of 2 nodes ready, with 2 workers", body)
    assert.matches("connection refused", body)
    assert.matches("^event: nodes\ndata: {.*1 of 2 nodes ready", first_event(page.port))
    local status = json.decode(page:get("/status.json").body)
    assert.same({ "ready", "down" }, { status.nodes[1].state, status.nodes[2].state })
    local metrics = page:get("/metrics").body
    assert.matches('moonfleet_nodes{state="ready"} 1\n', metrics)
    assert.matches('moonfleet_nodes{state="down"} 1\n', metrics)
  end)
end)
