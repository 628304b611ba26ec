-- SPDX-License-Identifier: MIT
-- The web page: a driver that browsers talk to.

local address_of = require("fleet.httpd.address")
local checksums = require("fleet.web.checksums")
local csrf = require("fleet.web.csrf")
local driver = require("fleet.driver")
local fleet_page = require("fleet.web.fleet_page")
local history = require("fleet.web.history")
local httpd = require("fleet.httpd")
local jobs = require("fleet.web.jobs")
local json = require("fleet.json")
local layout = require("fleet.web.layout")
local metrics = require("fleet.metrics")
local runs = require("fleet.web.runs")
local singleflight = require("fleet.base.singleflight")
local store = require("fleet.web.store")
local sys = require("host.sys")
local task = require("host.task")

local web = {}

-- Connections at once, and streams of events among them.
local MAX_CONNECTIONS, MAX_STREAMS = 512, 256
-- Seconds between two looks at the nodes by one that watches.
local FLEET_INTERVAL = 2
-- Seconds that the end of the program leaves for running items, and for responses.
local STOP_TIMEOUT, CLOSE_TIMEOUT = 10, 2

--- @class fleet.WebApp
--- @field store fleet.WebStore
--- @field csrf fleet.Csrf
--- @field open fun(): fleet.Driver|nil, fleet.Error|nil gives the driver; may wait
--- @field sleep fun(seconds: number)
--- @field now fun(): number
--- @field scripts string[] folders of job scripts
--- @field streams integer of events
--- @field closing boolean
--- @field past fleet.WebHistory
local App = {}
App.__index = App

local function plain(code, words)
  return { status = code, type = "text/plain; charset=utf-8", body = words .. "\n" }
end

local function nodes_of()
  local opened, err = driver.get()
  if not opened then return {}, err end
  return opened:nodes()
end

--- Runs what sends a stream of events, within their limit.
---@param send fun()
function App:stream(send)
  if self.streams >= MAX_STREAMS then
    httpd.refuse(503, "There are too many live pages; this one can be loaded again to see more.")
  end
  self.streams = self.streams + 1
  local ok, err = pcall(send)
  self.streams = self.streams - 1
  if not ok then error(err, 0) end
end

--- Polls the nodes. Returns them, and why there are none.
---@return table[]
---@return fleet.Error|nil
function App:nodes()
  local nodes, err = nodes_of()
  self.past:see(nodes, os.time())
  return nodes, err
end

--- Returns an event with what the page Fleet shows, the same for all that want one at the time.
---@return string
function App:fleet_event()
  if self.now() - self.polled_at >= FLEET_INTERVAL / 2 then self.polling:run() end
  return self.last_event
end

local function poll(app)
  local nodes, err = app:nodes()
  app.last_event, app.polled_at = fleet_page.event(nodes, err, app.past), app.now()
end

-- Counts results, and polls the nodes in use also when nobody looks at them.
local function keep_history(app)
  local before, due = 0, app.now() + history.INTERVAL
  while not app.closing do
    app.sleep(1)
    local rows = app.store.results
    app.past:count(rows - before)
    before = rows
    if app.now() >= due then
      due = due + history.INTERVAL
      app.past:sample()
      if driver.is_open() and not app.closing then app:nodes() end
    end
  end
end

local function watch_fleet(app, request)
  if not request:stream("text/event-stream", { "X-Accel-Buffering", "no" }) then return end
  while not app.closing and request:send(app:fleet_event()) do
    app.sleep(FLEET_INTERVAL)
  end
end

local NODE_STATES = { "ready", "draining", "suspect", "full", "connecting", "skew", "down" }

local function node_samples()
  local counts, samples = {}, {}
  local opened = driver.is_open() and driver.get()
  for _, n in ipairs(opened and opened:nodes(true) or {}) do
    counts[n.state] = (counts[n.state] or 0) + 1
  end
  for i, state in ipairs(NODE_STATES) do samples[i] = { { state = state }, counts[state] or 0 } end
  return samples
end

local function request_samples(app)
  local samples = {}
  for class = 2, 5 do samples[class - 1] = { { status = class .. "xx" }, app.requests[class] } end
  return samples
end

local function families(app)
  local rows, failed, running = 0, 0, 0
  for _, r in ipairs(app.store.runs) do
    rows, failed = rows + r.ok, failed + r.failed
    if r.state == "running" then running = running + 1 end
  end
  local list = {
    { "moonfleet_build_info", "gauge", "Version of the program; always 1.",
      { { { version = sys.version }, 1 } } },
    { "moonfleet_nodes", "gauge", "Nodes of the fleet by state.", node_samples() },
    { "moonfleet_runs", "gauge", "Runs that are kept, and those that are under way.",
      { { { state = "kept" }, #app.store.runs }, { { state = "running" }, running } } },
    { "moonfleet_run_items", "gauge", "Items with a result, of the runs that are kept.",
      { { { outcome = "ok" }, rows }, { { outcome = "failed" }, failed } } },
    { "moonfleet_event_streams", "gauge", "Pages that show rows as they come.",
      { { nil, app.streams } } },
    { "moonfleet_http_requests_total", "counter", "Requests to the page, by class of status.",
      request_samples(app) },
  }
  local own = metrics.process()
  return table.move(own, 1, #own, #list + 1, list)
end

local function routes(app)
  local list = {}
  for _, part in ipairs({ checksums, jobs, runs }) do
    local own = part.routes(app)
    table.move(own, 1, #own, #list + 1, list)
  end
  local function add(method, path, handler) list[#list + 1] = { method, path, handler } end
  add("GET", "/", function()
    return { status = 303, headers = { "Location", "/checksums" } }
  end)
  add("GET", "/fleet", function()
    local nodes, err = app:nodes()
    return fleet_page.show(nodes, err, app.past)
  end)
  add("GET", "/fleet/events", function(request)
    app:stream(function() watch_fleet(app, request) end)
  end)
  add("GET", "/assets/{name}", function(request)
    local response = layout.asset_response(request.params[1])
    if not response then httpd.refuse(404, "There is no such file.") end
    return response
  end)
  add("GET", "/healthz", function() return plain(200, "ok") end)
  add("GET", "/readyz", function()
    return plain(app.closing and 503 or 200, app.closing and "ending" or "ready")
  end)
  add("GET", "/metrics", function(request)
    return metrics.response(families(app), request.headers.accept)
  end)
  add("GET", "/status.json", function()
    local nodes, err = nodes_of()
    return { type = "application/json", body = json.encode({
      version = sys.version, nodes = nodes, error = err and err.message, runs = #app.store.runs,
    }) .. "\n" }
  end)
  return list
end

--- Opens the folder of the runs and listens. Returns the app and its URL, or nil and an error.
---@param options {host: string, port: integer, names: string[]|nil, state: string,
---scripts: string[]} folders of job scripts
---@return fleet.WebApp|nil
---@return string|fleet.Error
function web.open(options)
  local kept, err = store.open(options.state)
  if not kept then return nil, err end
  local self = setmetatable({
    store = kept, csrf = csrf.new(), sleep = task.sleep, now = sys.now, open = driver.get,
    scripts = options.scripts, past = history.new(), polled_at = -math.huge,
    streams = 0, requests = { 0, 0, 0, 0, 0 }, closing = false,
  }, App)
  self.polling = singleflight.new(function() poll(self) end)
  self.site = httpd.new({
    routes = routes(self), names = options.names, error_page = layout.error_page,
    max_connections = MAX_CONNECTIONS,
    on_request = function(_, response)
      local class = (response and response.status or 200) // 100
      self.requests[class] = self.requests[class] + 1
    end,
  })
  local port, why = self.site:listen(options.host, options.port)
  if not port then
    kept:close()
    return nil, why
  end
  return self, address_of.url(options.host, port)
end

--- Answers requests until `close`. Waits.
function App:run()
  task.spawn(keep_history, self)
  self.site:run()
end

local function is_running(self)
  for _, r in ipairs(self.store.runs) do
    if r.state == "running" then return true end
  end
  return false
end

-- Waits for the runs to end, but not for long.
local function wait_for_runs(self, seconds)
  local deadline = sys.now() + seconds
  while is_running(self) and sys.now() < deadline do task.sleep(0.05) end
end

--- Ends in order: items that run are finished, unless that takes long, what was begun is kept, and
--- can be resumed. Waits.
function App:close()
  self.closing = true
  for _, r in ipairs(self.store.runs) do r:stop("interrupted") end
  wait_for_runs(self, STOP_TIMEOUT)
  for _, r in ipairs(self.store.runs) do
    if r.state == "running" then r:abort() end
    r.changed:notify() -- its live pages end
  end
  wait_for_runs(self, CLOSE_TIMEOUT)
  self.site:shut_down(CLOSE_TIMEOUT)
  self.store:close()
end

return web
