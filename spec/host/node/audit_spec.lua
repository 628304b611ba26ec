-- SPDX-License-Identifier: MIT
-- What a node says of who submitted what: host/node/audit.c.

local digest = require("fleet.digest")
local e2e = require("spec.support.e2e")
local frames = require("spec.support.frames")
local json = require("fleet.json")
local session = require("spec.support.session")

describe("serve --audit", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function lines(path)
    local list = e2e.lines(e2e.read(path) or "")
    for i, line in ipairs(list) do list[i] = assert(json.decode(line)) end
    return list
  end

  it("writes a line for each session and each job, as in the log", function()
    local path = world:path("audit")
    local node = world:node({ workers = 1, flags = { "--audit", path, "--release", "r-7" } })
    local job = world:write("count.lua", "return { map = function(x) return x end }")
    local run = world:run({ "run", "--peers", node.address, "--release", "r-7", job, "--items",
      "a", "b" })
    assert.equal(0, run.code, run.err)
    local opened, submitted = table.unpack(lines(path))
    assert.equal(2, #lines(path))
    local peer = opened.peer
    for _, line in ipairs({ opened, submitted }) do
      assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$", line.time)
      assert.matches("^127%.0%.0%.1:%d+$", line.peer)
      assert.equal(peer, line.peer)
      line.time, line.peer = nil, nil
    end
    assert.same({ event = "session", session = 1, role = "driver", release = "r-7" }, opened)
    assert.matches("^%x+$", submitted.definition)
    assert.equal(64, #submitted.definition)
    submitted.definition = nil
    assert.same({ event = "job", session = 1, role = "driver", job = 1, name = job }, submitted)
    assert.matches('level=info [^\n]*msg="session opened" session=1 peer=127%.0%.0%.1:%d+ '
      .. 'cn="" role=driver serial="" release=r%-7\n', node:err())
    assert.matches('level=info [^\n]*msg="job submitted" session=1 peer=[%d.:]+ cn="" role=driver '
      .. 'serial="" job=1 definition=%x+ name=' .. job:gsub("[%-.]", "%%%0") .. "\n", node:err())
  end)

  it("tells each job once, and one that comes again after its end", function()
    local path = world:path("audit")
    local node = world:node({ workers = 1, flags = { "--audit", path } })
    local s = session.open(session.dial("tcp://" .. node.address), "jobs")
    local definition = session.job("return x")
    local key = digest.sha256(definition)
    s:post({ blobs = { { key, definition } } })
    for i, job in ipairs({ 5, 3, 5, 9, 3 }) do
      s:post({ batches = { s:batch(i, { 1 }, { job = job, keys = { key } }) } })
    end
    s:wait(5)
    s:post({ closes = { 5 }, batches = { s:batch(6, { 1 }, { job = 5, keys = { key } }) } })
    s:wait(6)
    local jobs = {}
    for i, line in ipairs(lines(path)) do
      jobs[i] = line.job or line.event
      assert.is_true(line.event == "session" or line.definition == key)
    end
    assert.same({ "session", 5, 3, 9, 5 }, jobs)
    s.peer:close()
  end)

  it("shows texts of drivers, whatever they are, as one line", function()
    local path = world:path("audit")
    local node = world:node({ workers = 1, flags = { "--audit", path } })
    local raw = frames.connect(node.port)
    local release = "a\nb\0\xff\u{85}" .. ("x"):rep(1000)
    assert.equal("opened", raw:ask("open", ("k"):rep(16), 0, 1, release)[1])
    raw:close()
    local line = lines(path)[1]
    assert.equal("a?b????" .. ("x"):rep(248), line.release)
  end)

  it("goes on in a new file after SIGHUP, and appends to one that is there", function()
    local path = world:path("audit")
    world:write("audit", '{"old":true}\n')
    local node = world:node({ workers = 1, flags = { "--audit", path } })
    local function submit()
      assert.equal(0, world:run({ "eval", "--peers", node.address, "1" }).code)
    end
    submit()
    assert.is_true(lines(path)[1].old)
    assert.equal("session", lines(path)[2].event)
    os.rename(path, path .. ".1")
    submit()
    assert.is_false(e2e.exists(path))
    node:kill("HUP")
    e2e.wait_until("the new file", function() return e2e.exists(path) end)
    submit()
    assert.equal("session", lines(path)[1].event)
  end)

  it("refuses a file that it cannot open, and survives one that it cannot write", function()
    local run = world:run({ "serve", "--listen", "127.0.0.1:" .. e2e.free_port(), "--audit",
      world:path("none/audit") })
    assert.equal(2, run.code)
    assert.equal(("moonfleet: --audit: cannot open %s: No such file or directory\n"):format(
      world:path("none/audit")), run.err)
    local node = world:node({ workers = 1, flags = { "--audit", "/dev/full" } })
    for _ = 1, 2 do
      assert.equal("42\n", world:run({ "eval", "--peers", node.address, "6 * 7" }).out)
    end
    local _, count = node:err():gsub("%-%-audit: cannot write to /dev/full: No space left", "")
    assert.equal(1, count)
  end)
end)
