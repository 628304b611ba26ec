-- SPDX-License-Identifier: MIT
-- The files in deploy/prometheus/, with Debian's Prometheus: the rules, and a server that scrapes
-- three nodes and evaluates what the dashboard shows.
-- Patient: a scrape comes once a second.

local e2e = require("spec.support.e2e")
local http = require("fleet.http")
local json = require("fleet.json")

local FOLDER = "deploy/prometheus/"

local function has(program)
  return os.execute(("command -v %s >/dev/null"):format(program)) == true
end

describe("deploy/prometheus", function()
  local world
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  local function promtool(...)
    if not has("promtool") then
      pending("promtool is not installed (Debian's package prometheus)")
      return
    end
    local words = { "promtool", ... }
    local run = world:start(words):wait()
    assert(run.code == 0, run.out .. run.err)
  end

  it("has rules that promtool accepts", function()
    promtool("check", "rules", FOLDER .. "moonfleet.rules.yml")
  end)

  it("has a configuration that promtool accepts", function()
    promtool("check", "config", FOLDER .. "prometheus.yml")
  end)

  it("has alerts that fire when they should", function()
    promtool("test", "rules", FOLDER .. "rules_test.yml")
  end)

  -- Every query of the dashboard, with its variables replaced.
  local function queries()
    local list = {}
    for _, panel in ipairs(json.decode(e2e.read(FOLDER .. "grafana.json")).panels) do
      for _, target in ipairs(panel.targets) do
        list[#list + 1] = target.expr:gsub("%$job", "moonfleet"):gsub("%$instance", ".*")
          :gsub("%$__rate_interval", "1m")
      end
    end
    return list
  end

  local function start_prometheus(targets)
    local port = e2e.free_port()
    local quoted = {}
    for i, target in ipairs(targets) do quoted[i] = ("%q"):format(target) end
    local config = world:write("prometheus.yml", ([[
global: {scrape_interval: 1s}
rule_files: [%s/%smoonfleet.rules.yml]
scrape_configs:
  - job_name: moonfleet
    static_configs: [{targets: [%s]}]
]]):format(require("lfs").currentdir(), FOLDER, table.concat(quoted, ", ")))
    local server = world:start({ "prometheus", "--config.file=" .. config,
      "--storage.tsdb.path=" .. world:path("data"),
      "--web.listen-address=127.0.0.1:" .. port })
    local base = "http://127.0.0.1:" .. port
    e2e.wait_until("Prometheus", function()
      if not server:alive() then error(server:err()) end
      local ready = http.get(base .. "/-/ready")
      return ready and ready.status == 200
    end, 60)
    return function(query)
      local escaped = query:gsub("[^%w]", function(c) return ("%%%02X"):format(c:byte()) end)
      local reply = json.decode(http.get(base .. "/api/v1/query?query=" .. escaped).body)
      assert(reply.status == "success", query .. ": " .. tostring(reply.error))
      return reply.data.result
    end
  end

  it("counts a run on three nodes exactly, and fills the dashboard", function()
    if not has("prometheus") then
      pending("prometheus is not installed (Debian's package)")
      return
    end
    local nodes, targets = {}, {}
    for i = 1, 3 do
      targets[i] = "127.0.0.1:" .. e2e.free_port()
      nodes[i] = world:node({ workers = 1, name = "node" .. i, flags = { "--http", targets[i] } })
        .address
    end
    local query = start_prometheus(targets)
    local items = {}
    for i = 1, 1234 do items[i] = tostring(i) end
    local url = "http://" .. targets[1] .. "/healthz"
    local job = world:write("job.lua", ([[
      local http = require("fleet.http")
      return { map = function(item)
        if item == "7" then http.get(%q) end
        if item == "13" then error("unlucky") end
        return item
      end }
    ]]):format(url))
    world:run({ "run", "--peers", table.concat(nodes, ","), job, world:items(items) })
    local function value(q)
      local result = query(q)
      return result[1] and tonumber(result[1].value[2])
    end
    e2e.wait_until("the scrape after the run", function()
      return value('sum(moonfleet_tasks_total{outcome="ok"})') == 1233
    end, 30)
    assert.equal(1, value('sum(moonfleet_tasks_total{outcome="failed"})'))
    assert.equal(1234, value("sum(moonfleet_task_duration_seconds_count)"))
    assert.equal(1, value("sum(moonfleet_fetch_size_bytes_count)"))
    assert.equal(3, value("sum(moonfleet_ready)"))
    for _, q in ipairs(queries()) do
      e2e.wait_until("an answer to " .. q, function() return query(q)[1] end, 30) -- two scrapes
    end
  end)
end)
