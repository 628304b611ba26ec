-- SPDX-License-Identifier: MIT
-- What a node that serves tells those who watch it.

local e2e = require("spec.support.e2e")
local http = require("fleet.http")
local json = require("fleet.json")

local JOB = [[
local fleet, http = require("fleet"), require("fleet.http")
return { map = function(item)
  if item == "fail" then error("no") end
  if item == "wait" then fleet.sleep(2) end
  if item:find("^http") then return http.get(item).status end
  return item
end }
]]

describe("serve --http", function()
  local world, node, base
  before_each(function()
    world = e2e.new()
    local port = e2e.free_port()
    base = "http://127.0.0.1:" .. port
    node = world:node({ workers = 2, flags = { "--http", "127.0.0.1:" .. port } })
    e2e.wait_until("the address of --http", function() return http.get(base .. "/healthz") end)
  end)
  after_each(function() world:close() end)

  local function get(path, headers)
    return assert(http.get(base .. path, { headers = headers }))
  end

  -- The value of a sample.
  local function sample(name)
    local pattern = "\n" .. name:gsub("%p", "%%%0") .. " (%S+)\n"
    return tonumber(("\n" .. get("/metrics").body):match(pattern))
  end

  local function run(...)
    return world:program({ "run", "--peers", node.address, "--items",
      world:write("job.lua", JOB), ... })
  end

  it("counts tasks, their time and what they fetch", function()
    assert.equal(0, sample('moonfleet_tasks_total{outcome="ok"}'))
    run("a", "b", "fail", base .. "/healthz", "http://127.0.0.1:1/"):wait()
    assert.equal(3, sample('moonfleet_tasks_total{outcome="ok"}'))
    assert.equal(2, sample('moonfleet_tasks_total{outcome="failed"}'))
    assert.equal(5, sample("moonfleet_task_duration_seconds_count"))
    assert.equal(5, sample('moonfleet_task_duration_seconds_bucket{le="+Inf"}'))
    assert.equal(1, sample('moonfleet_fetches_total{outcome="ok"}'))
    assert.equal(1, sample('moonfleet_fetches_total{outcome="failed"}'))
    assert.equal(3, sample("moonfleet_fetch_size_bytes_sum")) -- "ok\n"
    assert.equal(1, sample("moonfleet_fetch_duration_seconds_count"))
    assert.equal(2, sample('moonfleet_workers{state="alive"}'))
    assert.is_true(sample("process_resident_memory_bytes") > 1e6)
  end)

  it("keeps the counts of workers that die", function()
    run("a", "b", "c"):wait()
    for _, pid in ipairs(e2e.children(node.pid)) do e2e.kill(pid, 9) end
    e2e.wait_until("the deaths", function()
      return sample('moonfleet_worker_deaths_total{cause="crash"}') == 2
    end)
    assert.equal(3, sample('moonfleet_tasks_total{outcome="ok"}'))
  end)

  it("is accepted by promtool", function()
    if not os.execute("command -v promtool >/dev/null") then
      pending("promtool is not installed (Debian's package prometheus)")
      return
    end
    local path = world:write("metrics", get("/metrics").body)
    assert.is_true(os.execute(("promtool check metrics < %s > %s.out 2>&1"):format(path, path)),
      e2e.read(path .. ".out"))
  end)

  it("is ready until it drains", function()
    local function is_ready() return get("/readyz").status end
    assert.same({ 200, "ok\n" }, { get("/healthz").status, get("/healthz").body })
    assert.equal(200, is_ready())
    local waiting = run("wait")
    e2e.wait_until("the task", function() return sample("moonfleet_tasks_running") == 1 end)
    e2e.kill(node.pid, 15)
    e2e.wait_until("the node to drain", function() return is_ready() == 503 end)
    assert.equal("draining\n", get("/readyz").body)
    assert.equal(0, sample("moonfleet_ready"))
    assert.equal(200, get("/healthz").status)
    assert.equal(0, waiting:wait().code)
    assert.equal(0, node:wait().code)
  end)

  it("shows its status as JSON", function()
    local status = json.decode(get("/status.json").body)
    assert.same({ "ready", 2, 2 }, { status.state, status.workers, status.alive })
    assert.same({ ok = 0, failed = 0, cancelled = 0 }, status.tasks)
  end)

  it("answers nothing else, and nobody else", function()
    assert.equal(404, get("/etc/passwd").status)
    assert.equal(404, get("/../../etc/passwd").status)
    assert.equal(421, get("/metrics", { Host = "evil.example" }).status)
    assert.equal(405, http.request("POST", base .. "/metrics").status)
  end)
end)

describe("serve --http", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function refusal(...)
    local port = e2e.free_port()
    local run = world:run({ "serve", "--listen", "127.0.0.1:" .. port, ... })
    assert.equal(2, run.code)
    return run.err
  end

  it("says what is wrong with its address", function()
    local server = assert(require("host.http_server").listen({ host = "127.0.0.1" }))
    assert.matches("cannot listen on 127.0.0.1 port %d+: another program does",
      refusal("--http", "127.0.0.1:" .. server:port()))
    server:close()
    assert.matches("takes an address such as 127.0.0.1:9440", refusal("--http", "here"))
    assert.matches("can be reached from other machines: with %-%-http%-public",
      refusal("--http", "0.0.0.0:9440"))
  end)
end)
