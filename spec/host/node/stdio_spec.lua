-- SPDX-License-Identifier: MIT
-- Nodes that have one channel over descriptors (host/node/serve.c): those that a launcher starts,
-- and that end with their standard input.

local channel = require("host.channel")
local codec = require("host.codec")
local e2e = require("spec.support.e2e")
local lfs = require("lfs")
local process = require("host.process")
local session = require("spec.support.session")
local sys = require("host.sys")
local task = require("host.task")

describe("serve --stdio", function()
  local node, peer, log, started, pipes

  local function target(pid, fd)
    return lfs.symlinkattributes(("/proc/%s/fd/%d"):format(pid, fd), "target")
  end

  -- Starts a node with these flags.
  local function launch(...)
    node = assert(process.start({
      e2e.program, "serve", "--stdio", "--workers", "1", "--name", "launched", ...,
    }, { duplex = true }))
    local output, input = node:descriptors()
    pipes = { [target("self", output)] = true, [target("self", input)] = true }
    peer = assert(channel.dial({ input = output, output = input, name = "launched" }))
    log, started = {}, sys.now()
    task.spawn(function()
      for text in function() return node:read() end do log[#log + 1] = text end
    end)
  end

  after_each(function()
    if peer then peer:close() end
    if node then node:kill() end
    node, peer = nil, nil
  end)

  local function worker()
    local pid = session.ask(peer, "status")[2].pid
    return e2e.wait_until("a worker", function() return e2e.children(pid)[1] end)
  end

  local function ends_within(seconds)
    local from = sys.now()
    local code, signal
    e2e.wait_until("its end", function()
      code, signal = node:ended()
      return code or signal
    end)
    assert.is_true(sys.now() - from < seconds * (e2e.sanitized and 5 or 1), sys.now() - from)
    return code
  end

  it("serves the driver at the other ends of its input and output", function()
    launch("--log-level", "info")
    local s = session.open(peer, "launched")
    s:post({
      blobs = { { "job", session.job("print('no frame') return x + 1") } },
      batches = { s:batch(1, { 41 }) },
    })
    s:wait(1)
    assert.same({ 42 }, s.results)
    e2e.wait_until("its log", function()
      return table.concat(log):find("node ready", 1, true)
    end)
  end)

  it("refuses an input or output that is neither a pipe nor a socket", function()
    local world = e2e.new()
    finally(function() world:close() end)
    for name, options in pairs({ input = {}, output = { pipe = true } }) do
      local result = world:program({ "serve", "--stdio" }, options):wait()
      assert.equal(2, result.code)
      assert.matches("moonfleet: --stdio: standard " .. name .. " is neither a pipe nor a socket",
        result.err, 1, true)
    end
  end)

  it("leaves its input and output to nobody else", function()
    launch()
    local pid = session.ask(peer, "status")[2].pid
    assert.equal("/dev/null", target(pid, 0))
    assert.equal(target(pid, 2), target(pid, 1))
    local function count(process_id)
      local n = 0
      for fd = 0, 40 do
        if pipes[target(process_id, fd) or "none"] then n = n + 1 end
      end
      return n
    end
    assert.equal(2, count(pid))
    assert.equal(0, count(worker()))
  end)

  it("ends within a second of its input, with its workers, whatever runs", function()
    launch()
    local s = session.open(peer, "ends")
    s:post({
      blobs = { { "job", session.job("table.sort({ 1, 2 }, function() while true do end end)") } },
      batches = { s:batch(1, { 1 }) },
    })
    local pid = worker()
    e2e.wait_until("the task", function() return session.ask(peer, "status")[2].queued == 1 end)
    peer:close()
    assert.equal(0, ends_within(1))
    assert.is_false(e2e.exists("/proc/" .. pid))
  end)

  it("ends when its driver says what no driver says", function()
    launch()
    local s = session.open(peer, "bad")
    s.native:add("nonsense")
    s.native:flush()
    ends_within(1)
  end)

  it("keeps a session whose driver is silent, until --lease-exit", function()
    launch("--lease-exit", e2e.sanitized and "8" or "2")
    local s = session.new("silent")
    assert.is_true(s:start(peer))
    s:post({ blobs = { { "job", session.job("require('fleet').sleep(600)") } },
      batches = { s:batch(1, { 1 }) } })
    local pid = worker()
    local heard = sys.now()
    ends_within(5)
    assert.is_true(sys.now() - heard >= (e2e.sanitized and 7.9 or 1.9))
    assert.is_false(e2e.exists("/proc/" .. pid))
    assert.matches("no driver has been heard for --lease-exit", table.concat(log), 1, true)
  end)

  it("does not leave while it hears a driver", function()
    launch("--lease-exit", e2e.sanitized and "8" or "1")
    while sys.now() - started < (e2e.sanitized and 20 or 3) do
      assert(peer:call(codec.encode({ "status" }), 10))
      task.sleep(0.2)
    end
    assert.is_nil(node:ended())
  end)

  it("drains on SIGTERM, and then ends", function()
    launch()
    local s = session.open(peer, "drains")
    s:post({ blobs = { { "job", session.job("require('fleet').sleep(0.5) return x") } },
      batches = { s:batch(1, { 7 }) } })
    e2e.wait_until("the task", function() return session.ask(peer, "status")[2].running == 1 end)
    node:terminate()
    s:wait(1)
    assert.equal(7, s.results[1])
    assert.equal(0, ends_within(5))
  end)
end)
