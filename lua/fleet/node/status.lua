-- SPDX-License-Identifier: MIT
-- What a node tells those who watch it, over `serve --http`: its health, its metrics, its status.
-- Nothing can be changed there, and no job code runs.

local address_of = require("fleet.httpd.address")
local httpd = require("fleet.httpd")
local json = require("fleet.json")
local log = require("fleet.log")
local metrics = require("fleet.metrics")

local status = {}

-- Connections at once: probes and scrapes are few.
local MAX_CONNECTIONS = 64

local function plain(code, words)
  return { status = code, type = "text/plain; charset=utf-8", body = words .. "\n" }
end

local function by_label(name, counts)
  local samples, keys = {}, {}
  for key in pairs(counts) do keys[#keys + 1] = key end
  table.sort(keys)
  for i, key in ipairs(keys) do samples[i] = { { [name] = key }, counts[key] } end
  return samples
end

--- Returns the families of a node's metrics.
---@param s table as of host.node.status
---@return table[]
function status.families(s)
  local families = {
    { "moonfleet_build_info", "gauge", "Version and release of the node; always 1.",
      { { { version = s.version, release = s.release }, 1 } } },
    { "moonfleet_ready", "gauge", "Whether the node accepts work: 0 while it starts or drains.",
      { { nil, s.state == "ready" and 1 or 0 } } },
    { "moonfleet_workers", "gauge", "Worker processes: those that are to be, and those that are.",
      { { { state = "wanted" }, s.workers }, { { state = "alive" }, s.alive } } },
    { "moonfleet_worker_deaths_total", "counter", "Ends of worker processes, by cause.",
      by_label("cause", s.deaths) },
    { "moonfleet_sessions", "gauge", "Drivers with a session.", { { nil, s.sessions } } },
    { "moonfleet_tasks_running", "gauge", "Tasks that have begun and not ended.",
      { { nil, s.running } } },
    { "moonfleet_tasks_queued", "gauge", "Tasks that have not begun.",
      { { nil, math.max(0, s.outstanding - s.running) } } },
    { "moonfleet_results_unacknowledged_bytes", "gauge",
      "Results that drivers have not yet acknowledged.", { { nil, s.unacknowledged } } },
    { "moonfleet_tasks_total", "counter", "Tasks that have ended, by outcome.",
      by_label("outcome", s.tasks) },
    { "moonfleet_task_cpu_seconds_total", "counter", "Processor time of tasks.",
      { { nil, s.cpu } } },
    { "moonfleet_task_duration_seconds", "histogram", "Time of tasks, from begin to end.",
      { { nil, s.task_seconds } } },
    { "moonfleet_fetches_total", "counter", "Requests over HTTP by tasks, by outcome.",
      by_label("outcome", s.fetches) },
    { "moonfleet_fetch_duration_seconds", "histogram", "Time of requests that had a response.",
      { { nil, s.fetch_seconds } } },
    { "moonfleet_fetch_size_bytes", "histogram", "Bytes of the bodies of these responses.",
      { { nil, s.fetch_bytes } } },
  }
  local own = metrics.process()
  return table.move(own, 1, #own, #families + 1, families)
end

-- What /status.json has of the metrics.
local SHOWN = {
  "version", "name", "release", "state", "uptime", "workers", "alive", "sessions", "running",
  "outstanding", "tasks", "fetches", "deaths",
}

local function status_page(s)
  local fields = {}
  for _, name in ipairs(SHOWN) do table.move({ name, s[name] }, 1, 2, #fields + 1, fields) end
  return { type = "application/json", body = json.encode_record(table.unpack(fields)) .. "\n" }
end

--- Makes the site of a node.
---@param node {status: fun(): table} see host/node/node_status.h
---@return fleet.HttpSite
function status.site(node)
  return httpd.new({
    names = { node.status().hostname }, max_connections = MAX_CONNECTIONS,
    routes = {
      { "GET", "/healthz", function() return plain(200, "ok") end },
      { "GET", "/readyz", function()
        local state = node.status().state
        return plain(state == "ready" and 200 or 503, state)
      end },
      { "GET", "/metrics", function(request)
        return metrics.response(status.families(node.status()), request.headers.accept)
      end },
      { "GET", "/status.json", function() return status_page(node.status()) end },
      { "GET", "/", function()
        return plain(200, "This is the node " .. node.status().name
          .. ". See /healthz, /readyz, /metrics and /status.json.")
      end },
    },
  })
end

--- Serves until the node ends. Returns nil and an error when it cannot listen.
---@param node table as for `status.site`
---@param host string an IP address
---@param port integer
---@return nil
---@return fleet.Error|nil
function status.serve(node, host, port)
  local site = status.site(node)
  local bound, err = site:listen(host, port)
  if not bound then return nil, err end
  log.info("health and metrics", { url = address_of.url(host, bound) })
  site:run()
end

return status
