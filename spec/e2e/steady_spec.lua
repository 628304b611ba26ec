-- SPDX-License-Identifier: MIT
-- A driver that calls and maps thousands of times: neither the driver nor its node may grow.

local e2e = require("spec.support.e2e")

local ROUNDS = e2e.sanitized and 400 or 2000
-- Bytes by which memory may vary.
local PLAY = 4 << 20

local SCRIPT = [[
local driver = require("fleet.driver")
local fleet = require("fleet")
local task = require("host.task")

local rounds = ...

local function count(t)
  local n = 0
  for _ in pairs(t) do n = n + 1 end
  return n
end

local function round(i)
  -- a different function each time, because it captures another value
  local results = fleet.pmap(function(x) return x + i end, { 1, 2, 3 })
  assert(results[3] == i + 3)
  assert(fleet.call(fleet.any, function(x) print(x) return x + i end, 1) == i + 1)
  if i % 10 == 0 then
    for item in fleet.each(function(x) return x * i end, { 1, 2, 3 }) do
      if item == 2 then break end
    end
    local f = fleet.send(fleet.any, function() require("fleet").sleep(3600) end)
    f:cancel()
    f:wait()
    assert(fleet.call(fleet.any, function()
      local inner = require("fleet")
      return inner.pmap(function(x) return x end, { 1, 2 })[2]
    end) == 2)
    assert(not fleet.call(fleet.any, function() error({ code = 3 }) end))
  end
end

-- Sizes of everything that might not be released, when all is done.
local function sizes()
  fleet.sleep(0.5)
  collectgarbage()
  collectgarbage()
  local d = driver.get()
  local c, list = d.calls, {}
  for session in pairs(d.cluster.sessions) do
    list[#list + 1] = ("users=%d forgotten=%d unconfirmed=%d touched=%d"):format(
      count(session.users), count(session.forgotten), count(session.unconfirmed),
      count(session.touched))
    assert(count(session.blobs.held) <= 300, count(session.blobs.held))
    assert(count(session.blobs.unused) <= 300)
    for _, worker in pairs(session.workers) do
      list[#list + 1] = ("upcalls=%d load=%d"):format(count(worker.upcalls or {}),
        session:load(worker))
    end
  end
  table.sort(list)
  list[#list + 1] = ("counts=%d cancelling=%d jobs=%d calls=%d"):format(count(c.counts),
    count(c.cancelling), #d.cluster.jobs, count(c.by_id))
  for _, line in pairs(c.queues) do assert(count(line) <= 3) end
  return table.concat(list, " "), collectgarbage("count") * 1024
end

local function report(name)
  local text, bytes = sizes()
  print(("%s %d %s"):format(name, bytes // 1, text))
  io.stdout:flush()
  -- lets the spec examine the processes
  while not io.open(arg[2] .. "." .. name) do task.sleep(0.02) end
end

for i = 1, rounds // 2 do round(i) end
report("half")
for i = rounds // 2 + 1, rounds do round(i) end
report("whole")
]]

describe("thousands of maps and calls", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("leave memory and tables as they were", function()
    local node = world:node({ workers = 1 })
    local marker = world:path("seen")
    local program = world:program({
      "run", "--peers", node.address, world:write("steady.lua", SCRIPT), tostring(ROUNDS), marker,
    })
    local function rss(pid)
      return tonumber(e2e.read(("/proc/%d/status"):format(pid)):match("VmRSS:%s*(%d+)")) * 1024
    end
    local seen = {}
    for i, name in ipairs({ "half", "whole" }) do
      local bytes, text = table.unpack(e2e.wait_until(name .. " of it", function()
        if not program:alive() then error(program:err()) end
        local bytes, text = program:out():match(name .. " (%d+) ([^\n]+)\n")
        return bytes and { bytes, text }
      end, 300))
      seen[i] = {
        text = text, lua = tonumber(bytes), driver = rss(program.pid), node = rss(node.pid),
        worker = rss(e2e.children(node.pid)[1]),
      }
      world:write("seen." .. name, "")
    end
    assert.equal(0, program:wait().code)
    assert.equal(seen[1].text, seen[2].text)
    assert.matches("jobs=1 calls=0$", seen[2].text)
    assert.is_true(seen[2].lua < seen[1].lua + (1 << 20), seen[2].lua - seen[1].lua)
    if e2e.sanitized then return end -- what is freed stays for a while
    for _, who in ipairs({ "driver", "node", "worker" }) do
      local more = seen[2][who] - seen[1][who]
      assert.is_true(more < PLAY, ("%s: %d bytes more"):format(who, more))
    end
  end)
end)
