-- SPDX-License-Identifier: MIT
-- The page of a run: its live rows, its buttons, and the downloads.

local httpd = require("fleet.httpd")
local json = require("fleet.json")
local output = require("fleet.run.output")
local pages = require("fleet.web.run_pages")
local run = require("fleet.web.run")

local runs = {}

-- Seconds between two signs of life.
local HEARTBEAT = 15
local CSV_COLUMNS = { "status", "bytes", "sha256", "elapsed", "node" }

local function see(address)
  return { status = 303, headers = { "Location", address } }
end

-- ---- a run ----

local function find(app, request)
  local found = app.store:find(request.params[1])
  if not found then
    httpd.refuse(404, "There is no such run: it was removed, or made room for newer ones.")
  end
  return found
end

local function show(app, request)
  local r = find(app, request)
  local code, headers = app.csrf:issue(request)
  return pages.run(r, { code = code, headers = headers })
end

-- What a form with one button does.
local function action(app, request, act)
  local r = find(app, request)
  app.csrf:check(request, request:form().fields)
  return act(r) or see("/runs/" .. r.id)
end

local function resume(app, r)
  local ok, err = r:start(app.open)
  if not ok then httpd.refuse(503, "%s", err.message) end
end

local function remove(app, r)
  if not app.store:remove(r) then httpd.refuse(409, "The run is under way; stop it first.") end
  return see(r.kind == "job" and "/jobs" or "/checksums")
end

-- ---- live rows ----

-- Returns the event with the rows after number `after`: the last ones, if there are more than are
-- shown. Most pages are sent the same one, so it is kept until there is something new.
local function event_of(r, after)
  local kept = r.event
  if not kept or kept.after ~= after or kept.rows ~= r.rows or kept.state ~= r.state then
    local rows = {}
    for n = math.max(after + 1, r.rows - run.RECENT + 1), r.rows do
      rows[#rows + 1] = pages.cells(r.kind, r.recent[n])
    end
    kept = { after = after, rows = r.rows, state = r.state }
    kept.text = ("id: %d\nevent: rows\ndata: %s\n\n"):format(r.rows, json.encode({
      rows = rows, counts = pages.counts(r), value = r.rows, failures = r:failures(),
      words = pages.words(r), live = r.state == "running",
    }))
    r.event = kept
  end
  return kept.text
end

local function stream_events(app, request, r)
  local sent, state = tonumber(request.headers["last-event-id"] or request.query.after) or 0, nil
  if not request:stream("text/event-stream", { "X-Accel-Buffering", "no" }) then return end
  while not app.closing do
    local deadline = app.now() + HEARTBEAT
    while r.rows == sent and r.state == state and app.now() < deadline and not app.closing do
      r.changed:wait(math.max(0.001, deadline - app.now()))
    end
    local event = ": still here\n\n"
    if r.rows ~= sent or r.state ~= state then event = event_of(r, sent) end
    sent, state = r.rows, r.state
    if not request:send(event) or state ~= "running" then return end
    if r.rows ~= sent then r.changed:wait(HEARTBEAT) end -- with the others
  end
end

local function events(app, request)
  local r = find(app, request)
  app:stream(function() stream_events(app, request, r) end)
end

-- ---- downloads ----

local function begin_download(request, r, type, extension)
  return request:stream(type, {
    "Content-Disposition", ('attachment; filename="%s-%s.%s"'):format(r.kind, r.id, extension),
  })
end

local function download_jsonl(app, request)
  local r = find(app, request)
  if not begin_download(request, r, "application/jsonl", "jsonl") then return end
  local lines = json.lines()
  for row in r:results() do
    local size = row.error
      and lines:add("n", row.n, "item", row.item, "error", row.error, "node", row.node)
      or lines:add("n", row.n, "item", row.item, "value", row.value, "node", row.node)
    if size and size > 32768 and not request:send(lines:take()) then return end
  end
  request:send(lines:take())
end

local function download_csv(app, request)
  local r = find(app, request)
  if not begin_download(request, r, "text/csv; charset=utf-8", "csv") then return end
  local out = output.new({
    format = "csv", json = json, columns = r.kind == "checksums" and CSV_COLUMNS or nil,
    write = function(bytes) return request:send(bytes) end,
  })
  for row in r:results() do
    local value = row.value
    if value and r.kind == "checksums" then value.node, value.url = row.node, nil end
    if not out:row(row.item, row.error == nil, value or row.error) and out.err then return end
  end
  out:finish()
end

--- Returns the routes of runs.
---@param app fleet.WebApp
---@return table[]
function runs.routes(app)
  local function with(handler)
    return function(request) return handler(app, request) end
  end
  local function acting(act)
    return function(request) return action(app, request, act) end
  end
  return {
    { "GET", "/runs/{id}", with(show) },
    { "GET", "/runs/{id}/events", with(events) },
    { "GET", "/runs/{id}/results.jsonl", with(download_jsonl) },
    { "GET", "/runs/{id}/results.csv", with(download_csv) },
    { "POST", "/runs/{id}/stop", acting(function(r) r:stop("stopped") end) },
    { "POST", "/runs/{id}/resume", acting(function(r) return resume(app, r) end) },
    { "POST", "/runs/{id}/remove", acting(function(r) return remove(app, r) end) },
  }
end

return runs
