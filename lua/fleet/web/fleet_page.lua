-- SPDX-License-Identifier: MIT
-- The page Fleet: the nodes, what they do, and why one is not used.

local html = require("fleet.web.html")
local json = require("fleet.json")
local layout = require("fleet.web.layout")
local summary = require("fleet.run.summary")
local text = require("fleet.base.text")

local fleet_page = {}

local PAGE = [[
<h1>Fleet</h1>
<p id="state" role="status">{words}</p>
<p id="problem" class="problem" role="alert">{problem}</p>
<div class="scroll" tabindex="0" role="region" aria-label="Nodes">
<table>
<thead><tr><th scope="col">Node</th><th scope="col">State</th><th scope="col">Release</th>
<th scope="col">Zone</th><th scope="col" class="number">Workers</th>
<th scope="col" class="number">Running</th><th scope="col" class="number">Queued</th>
<th scope="col" class="number">Answer</th></tr></thead>
<tbody id="nodes">
{rows}
</tbody>
</table>
</div>
<h2>Results per second</h2>
<figure>
<svg class="plot" viewBox="0 0 720 120" role="img" aria-labelledby="plot-words"
preserveAspectRatio="none"><polyline id="plot" points="{points}"/></svg>
<figcaption id="plot-words">{plot_words}</figcaption>
</figure>
<h2>Events</h2>
<ul id="events" class="events">{events}</ul>
]]

local PLOT_WIDTH, PLOT_HEIGHT = 720, 116

local ROW = [[<tr class="{class}"><th scope="row">{name}<span class="hint">{address}</span></th>
<td>{state}<span class="fault">{error}</span></td><td>{release}</td><td>{zone}</td>
<td class="number">{workers}</td><td class="number">{running}</td>
<td class="number">{queued}</td><td class="number">{rtt}</td></tr>]]

-- What is shown of a node: text.
local function cells(n)
  return {
    class = n.state == "ready" and "ok" or "failed", name = text.escape(n.name),
    address = n.address ~= n.name and text.escape(n.address) or "", state = n.state,
    error = text.escape(n.error or ""), release = text.escape(n.release or ""),
    zone = text.escape(n.zone or ""), workers = n.workers,
    -- of a node that does not answer these would be old
    running = n.rtt and n.running or "", queued = n.rtt and n.queued or "",
    rtt = n.rtt and summary.duration(n.rtt) or "",
  }
end

local function words_of(nodes)
  local ready, workers = 0, 0
  for _, n in ipairs(nodes) do
    if n.state == "ready" then ready, workers = ready + 1, workers + n.workers end
  end
  return ("%d of %s ready, with %s."):format(ready, text.count(#nodes, "node"),
    text.count(workers, "worker"))
end

local function plot_of(past)
  local points, most = past:points(PLOT_WIDTH, PLOT_HEIGHT)
  local now = past.samples[#past.samples] or 0
  return points, ("The last hour, of this program's runs: at most %s, now %s."):format(
    summary.rate(most), summary.rate(now))
end

local function event_words(event)
  return ("%s %s"):format(os.date("!%H:%M:%S UTC", event.time), text.escape(event.words))
end

--- Returns the page.
---@param nodes table[] as of fleet.nodes
---@param fault fleet.Error|nil why there are none
---@param past fleet.WebHistory
---@return table
function fleet_page.show(nodes, fault, past)
  local rows, events = {}, {}
  local points, plot_words = plot_of(past)
  for i, event in ipairs(past.events) do
    events[i] = html.fill("<li>{words}</li>", { words = event_words(event) })
  end
  for i, n in ipairs(nodes) do rows[i] = html.fill(ROW, cells(n)) end
  return layout.page({
    title = "Fleet", path = "/fleet",
    head = html.join({
      html.raw('<noscript><meta http-equiv="refresh" content="5"></noscript>'),
      html.fill('<script type="module" src="{src}"></script>',
        { src = layout.asset("fleet.js") }),
    }),
    body = html.fill(PAGE, {
      words = words_of(nodes), rows = html.join(rows), problem = fault and fault.message or "",
      points = points, plot_words = plot_words, events = html.join(events),
    }),
  })
end

--- Returns an event with what the page shows.
---@param nodes table[]
---@param fault fleet.Error|nil
---@param past fleet.WebHistory
---@return string
function fleet_page.event(nodes, fault, past)
  local rows, events = {}, {}
  local points, plot_words = plot_of(past)
  for i, n in ipairs(nodes) do rows[i] = cells(n) end
  for i, event in ipairs(past.events) do events[i] = event_words(event) end
  return ("event: nodes\ndata: %s\n\n"):format(json.encode({
    rows = rows, events = events, points = points, plot_words = plot_words,
    words = words_of(nodes), problem = fault and text.escape(fault.message) or "",
  }))
end

return fleet_page
