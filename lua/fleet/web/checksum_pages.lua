-- SPDX-License-Identifier: MIT
-- The HTML of the page Checksums: a form and the runs that are kept, and one run with its rows.

local html = require("fleet.web.html")
local layout = require("fleet.web.layout")
local run = require("fleet.web.run")
local summary = require("fleet.run.summary")
local text = require("fleet.base.text")

local pages = {}

local FORM = [[
<h1>Checksums</h1>
<p>The fleet fetches every URL and computes the SHA-256 of what it gets.</p>
{problem}
<form method="post" action="/checksums" enctype="multipart/form-data">
<input type="hidden" name="code" value="{code}">
<label for="urls">URLs, one per line</label>
<textarea id="urls" name="urls" rows="8" spellcheck="false" autocomplete="off" autofocus
aria-describedby="urls-hint">{urls}</textarea>
<p class="hint" id="urls-hint">Such as https://www.lua.org/ftp/lua-5.4.7.tar.gz. Empty lines, and
lines that begin with #, are left out.</p>
<label for="file">Or a file with such lines</label>
<input type="file" id="file" name="file" accept=".txt,text/plain">
<label for="sitemap">Or the pages of a sitemap</label>
<input type="url" id="sitemap" name="sitemap" value="{sitemap}" autocomplete="off"
placeholder="https://example.org/sitemap.xml">
<p><button type="submit">Compute checksums</button></p>
</form>
{runs}
]]

local RUNS = [[
<h2>Runs</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Runs">
<table>
<thead><tr><th scope="col">Run</th><th scope="col">State</th>
<th scope="col" class="number">URLs</th>
<th scope="col" class="number">Failed</th><th scope="col">Begun</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</div>
]]

local RUN_ROW = [[<tr><td><a href="/checksums/{id}">{title}</a></td><td>{state}</td>
<td class="number">{total}</td><td class="number">{failed}</td><td>{created}</td></tr>]]

local RUN = [[
<h1>{title}</h1>
<p id="state" role="status">{words}</p>
<div class="progress"><progress id="progress" max="{total}" value="{rows}"
aria-label="URLs that are done"></progress>
<span id="counts">{counts}</span></div>
{problem}
<div class="actions">
{actions}
<a href="/checksums/{id}/results.csv" download>Download CSV</a>
<a href="/checksums/{id}/results.jsonl" download>Download JSON Lines</a>
</div>
<p class="hint">This page has the address of the run: it can be opened again as long as the run is
kept.</p>
<ul id="failures" class="failures">{failures}</ul>
<h2>{heading}</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Results">
<table id="rows" data-run="{id}" data-live="{live}" data-after="{rows}" data-max="{recent}">
<thead><tr><th scope="col" class="number">No.</th><th scope="col">URL</th>
<th scope="col" class="number">Status</th><th scope="col" class="number">Bytes</th>
<th scope="col">SHA-256, or what went wrong</th><th scope="col" class="number">Time</th>
<th scope="col">Node</th></tr></thead>
<tbody>
{list}
</tbody>
</table>
</div>
]]

local ROW = [[<tr class="{class}"><td class="number" data-label="No.">{n}</td>
<td class="url" data-label="URL">{item}</td><td class="number" data-label="Status">{status}</td>
<td class="number" data-label="Bytes">{bytes}</td>
<td class="{outcome}" data-label="{label}">{result}</td>
<td class="number" data-label="Time">{time}</td><td data-label="Node">{node}</td></tr>]]

local ACTION = [[
<form method="post" action="/checksums/{id}/{action}">
<input type="hidden" name="code" value="{code}">
<button type="submit" class="{class}">{label}</button>
</form>]]

local STATES = {
  running = "running", done = "done", stopped = "stopped", failed = "failed",
  interrupted = "interrupted",
}

local WORDS = {
  running = "The run is under way.",
  done = "The run is done.",
  stopped = "The run was stopped. The URLs without a result can be run now.",
  interrupted = "The program ended during the run. The URLs without a result can be run now.",
  failed = "The run could not go on. The URLs without a result can be run again.",
}

local function problem(message)
  return message and html.fill('<p class="problem" role="alert">{message}</p>',
    { message = message }) or ""
end

--- Returns the page with the form.
---@param options {code: string, headers: string[], runs: fleet.WebRun[], problem: string|nil,
---urls: string|nil, sitemap: string|nil, status: integer|nil}
---@return table
function pages.form(options)
  local rows = {}
  for i, r in ipairs(options.runs) do
    rows[i] = html.fill(RUN_ROW, {
      id = r.id, title = r.title, state = STATES[r.state], total = r.total, failed = r.failed,
      created = os.date("!%Y-%m-%d %H:%M UTC", r.created),
    })
  end
  local response = layout.page({
    title = "Checksums", path = "/checksums", headers = options.headers,
    body = html.fill(FORM, {
      code = options.code, problem = problem(options.problem),
      -- lines stay lines; what else is no text is shown as in other places
      urls = html.raw((html.escape((options.urls or ""):gsub("\n", "\1")):gsub("\\x01", "\n"))),
      sitemap = options.sitemap or "",
      runs = rows[1] and html.fill(RUNS, { rows = html.join(rows) }) or "",
    }),
  })
  response.status = options.status
  return response
end

--- Returns what is shown of a row: strings only.
---@param row fleet.WebRow
---@return table<string, any>
function pages.cells(row)
  local value, err = row.value or {}, row.error
  local words = err and ("%s: %s"):format(err.kind or "error", err.message or "")
  return {
    n = row.n, item = text.escape(row.item), status = value.status or err and err.status or "",
    bytes = value.bytes or "", result = text.escape(words or value.sha256 or ""),
    time = value.elapsed and summary.duration(value.elapsed) or "",
    node = text.escape(row.node or ""), failed = err ~= nil,
  }
end

local function row_of(row)
  local cells = pages.cells(row)
  cells.class = cells.failed and "failed" or "ok"
  cells.outcome = cells.failed and "fault" or "digest"
  cells.label = cells.failed and "Error" or "SHA-256"
  return html.fill(ROW, cells)
end

--- Returns how far a run is, in words.
---@param r fleet.WebRun
---@return string
function pages.counts(r)
  local words = ("%d of %d done, %d failed"):format(r.rows, r.total, r.failed)
  if r.elapsed < 1 or r.rows == 0 then return words end
  words = words .. (", %s, %s"):format(summary.duration(r.elapsed),
    summary.rate(r.rows / r.elapsed))
  local left = r.total - r.rows
  if r.state == "running" and left > 0 then
    words = words .. (", about %s left"):format(summary.duration(left * r.elapsed / r.rows))
  end
  return words
end

--- Returns the sentence about the state of a run.
---@param r fleet.WebRun
---@return string
function pages.words(r) return WORDS[r.state] end

local function actions_of(r, code)
  local list = {}
  local function add(action, label, class)
    list[#list + 1] = html.fill(ACTION, {
      id = r.id, action = action, label = label, code = code, class = class,
    })
  end
  if r.state == "running" then
    add("stop", r.stopping and "Stopping" or "Stop", "stop")
  else
    if r.rows < r.total then add("resume", "Run the rest", "resume") end
    add("remove", "Remove", "remove")
  end
  return html.join(list)
end

--- Returns the page of a run.
---@param r fleet.WebRun
---@param options {code: string, headers: string[]}
---@return table
function pages.run(r, options)
  local list, failures, first = {}, {}, math.max(1, r.rows - run.RECENT + 1)
  for n = r.rows, first, -1 do list[#list + 1] = row_of(r.recent[n]) end
  for i, line in ipairs(r:failures()) do
    failures[i] = html.fill("<li>{line}</li>", { line = line })
  end
  local live = r.state == "running"
  return layout.page({
    title = r.title, path = "/checksums", headers = options.headers,
    head = live and html.join({
      html.raw('<noscript><meta http-equiv="refresh" content="2"></noscript>'),
      html.fill('<script type="module" src="{src}"></script>', { src = layout.asset("live.js") }),
    }) or "",
    body = html.fill(RUN, {
      id = r.id, title = r.title, words = pages.words(r), total = r.total, rows = r.rows,
      counts = pages.counts(r), problem = problem(r.message), failures = html.join(failures),
      actions = actions_of(r, options.code), list = html.join(list), recent = run.RECENT,
      live = live and "yes" or "no",
      heading = first > 1 and ("The last %d results"):format(run.RECENT) or "Results",
    }),
  })
end

return pages
