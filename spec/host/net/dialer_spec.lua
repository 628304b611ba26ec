-- SPDX-License-Identifier: MIT
-- channel.dial (host/net/dialer.c) without a node at the other end.

local channel = require("host.channel")
local socket = require("socket")

describe("channel.dial", function()
  local server

  before_each(function()
    server = assert(socket.tcp())
    assert(server:bind("127.0.0.1", 0))
  end)
  after_each(function() server:close() end)

  local function fails(seconds)
    local _, port = server:getsockname()
    local found, err = channel.dial({ url = "tcp://127.0.0.1:" .. port, timeout = seconds })
    assert.is_nil(found)
    return err
  end

  it("reports that nothing listens", function()
    local err = fails(60)
    assert.equal("connect", err.kind)
    assert.matches("connection refused", err.message, 1, true)
  end)

  it("reports that nothing answered in time", function()
    assert(server:listen(0))
    local _, port = server:getsockname()
    local others, unanswered = {}, 0
    repeat -- what is more than the backlog is not answered
      local other = socket.tcp()
      others[#others + 1] = other
      other:settimeout(0.2)
      unanswered = other:connect("127.0.0.1", port) and 0 or unanswered + 1
    until unanswered == 3
    local err = fails(0.5)
    for _, other in ipairs(others) do other:close() end
    assert.equal("timeout", err.kind, err.message)
  end)

  it("reports that another program answered", function()
    assert(server:listen(32))
    local err = fails(2)
    assert.equal("connect", err.kind)
    assert.matches("no moonfleet node answers there", err.message, 1, true)
  end)
end)
