-- SPDX-License-Identifier: MIT
-- Clients of the HTTP server that send or read slowly, or are too many.
-- Patient: a head may take 10 s, a body 20 s, and a client that does not read has 30 s.

local e2e = require("spec.support.e2e")
local http = require("fleet.http")
local socket = require("socket")
local sys = require("host.sys")
local task = require("host.task")
local web_page = require("spec.support.web_page")

describe("the HTTP server", function()
  local world, page, clients
  before_each(function()
    world = e2e.new()
    page = web_page.start(world)
    clients = {}
  end)
  after_each(function()
    for _, client in ipairs(clients) do client.socket:close() end
    world:close()
  end)

  local function connect(bytes)
    local client = { socket = assert(socket.connect("127.0.0.1", page.port)), received = "" }
    client.socket:settimeout(0)
    assert(client.socket:send(bytes))
    clients[#clients + 1] = client
    return client
  end

  -- Reads what has come. Returns whether the connection has ended.
  local function read(client)
    local bytes, err, part = client.socket:receive(65536)
    client.received = client.received .. (bytes or part or "")
    return err == "closed"
  end

  local function wait_for_end(client, seconds)
    e2e.wait_until("the end of the connection", function() return read(client) end, seconds)
  end

  it("ends those that are slow", function()
    local head = connect("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
    local silent = connect("")
    local body = connect("POST /checksums HTTP/1.1\r\nHost: 127.0.0.1\r\n"
      .. "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\na=")
    -- more responses than its socket has room for
    local deaf = connect(("GET /assets/style.css HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"):rep(3000))
    local began = sys.now()
    e2e.wait_until("the end of the head", function()
      head.socket:send("a") -- which does not prolong it
      return read(head)
    end, 40)
    assert.is_true(sys.now() - began > 9)
    assert.matches("^HTTP/1.1 408 Request Timeout\r\n", head.received)
    wait_for_end(silent, 30)
    assert.equal("", silent.received)
    wait_for_end(body, 60)
    assert.is_true(sys.now() - began > 19)
    assert.matches("^HTTP/1.1 408 Request Timeout\r\n", body.received)
    assert.matches("The body of the request did not come in time", body.received)
    task.sleep(math.max(0, began + 33 - sys.now()))
    wait_for_end(deaf, 60)
    local _, count = deaf.received:gsub("HTTP/1.1 200 OK\r\n", "")
    assert.is_true(count > 10 and count < 3000)
  end)

  it("tells those who are too many, and keeps answering the others", function()
    local request = "GET /fleet/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    for _ = 1, 300 do connect(request) end
    local counts = {}
    e2e.wait_until("an answer to each", function()
      counts = {}
      for _, client in ipairs(clients) do
        read(client)
        local status = client.received:match("^HTTP/1.1 (%d+)") or "none"
        counts[status] = (counts[status] or 0) + 1
      end
      return not counts.none
    end, 60)
    assert.same({ ["200"] = 256, ["503"] = 44 }, counts)
    assert.equal(200, http.get(page.base .. "/healthz").status)
    assert.is_true(e2e.peak_rss(page.process.pid) < 96)
  end)
end)
