-- SPDX-License-Identifier: MIT
-- The HTML of runs: a list of them, and one with its rows.

local html = require("fleet.web.html")
local json = require("fleet.json")
local layout = require("fleet.web.layout")
local run = require("fleet.web.run")
local summary = require("fleet.run.summary")
local text = require("fleet.base.text")

local pages = {}

-- Bytes of a result that are shown.
local MAX_SHOWN = 400

-- Columns: {name of the cell, heading, label on a narrow page, class}. That of the outcome has a
-- label and a class of its own when an item has failed.
local COLUMNS = {
  checksums = {
    { "n", "No.", "No.", "number" }, { "item", "URL", "URL", "url" },
    { "status", "Status", "Status", "number" }, { "bytes", "Bytes", "Bytes", "number" },
    { "result", "SHA-256, or what went wrong", "SHA-256", "digest" },
    { "time", "Time", "Time", "number" }, { "node", "Node", "Node", "" },
  },
  job = {
    { "n", "No.", "No.", "number" }, { "item", "Item", "Item", "url" },
    { "result", "Result, or what went wrong", "Result", "value" }, { "node", "Node", "Node", "" },
  },
}

local RUNS = [[
<h2>Runs</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Runs">
<table>
<thead><tr><th scope="col">Run</th><th scope="col">State</th>
<th scope="col" class="number">Items</th>
<th scope="col" class="number">Failed</th><th scope="col">Begun</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</div>
]]

local RUN_ROW = [[<tr><td><a href="/runs/{id}">{title}</a></td><td>{state}</td>
<td class="number">{total}</td><td class="number">{failed}</td><td>{created}</td></tr>]]

local RUN = [[
<h1>{title}</h1>
<p id="state" role="status">{words}</p>
<div class="progress"><progress id="progress" max="{total}" value="{rows}"
aria-label="Items that are done"></progress>
<span id="counts">{counts}</span></div>
{problem}
<div class="actions">
{actions}
<a href="/runs/{id}/results.csv" download>Download CSV</a>
<a href="/runs/{id}/results.jsonl" download>Download JSON Lines</a>
</div>
<p class="hint">This page has the address of the run: it can be opened again as long as the run is
kept.</p>
{conclusion}
<ul id="failures" class="failures">{failures}</ul>
<h2>{heading}</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Results">
<table id="rows" data-run="{id}" data-live="{live}" data-after="{rows}" data-max="{recent}">
<thead><tr>{columns}</tr></thead>
<tbody>
{list}
</tbody>
</table>
</div>
]]

local ACTION = [[
<form method="post" action="/runs/{id}/{action}">
<input type="hidden" name="code" value="{code}">
<button type="submit" class="{class}">{label}</button>
</form>]]

local WORDS = {
  running = "The run is under way.",
  done = "The run is done.",
  stopped = "The run was stopped. The items without a result can be run now.",
  interrupted = "The program ended during the run. The items without a result can be run now.",
  failed = "The run could not go on. The items without a result can be run again.",
}

--- Returns a message that cannot be overlooked; nothing when there is none.
---@param message string|nil
---@return any
function pages.problem(message)
  return message and html.fill('<p class="problem" role="alert">{message}</p>',
    { message = message }) or ""
end

--- Returns a list of runs; nothing when there is none.
---@param runs fleet.WebRun[]
---@return any
function pages.list(runs)
  local rows = {}
  for i, r in ipairs(runs) do
    rows[i] = html.fill(RUN_ROW, {
      id = r.id, title = r.title, state = r.state, total = r.total, failed = r.failed,
      created = os.date("!%Y-%m-%d %H:%M UTC", r.created),
    })
  end
  return rows[1] and html.fill(RUNS, { rows = html.join(rows) }) or ""
end

local function shown(value)
  local words = type(value) == "string" and value or json.encode(value) or tostring(value)
  return #words > MAX_SHOWN and words:sub(1, MAX_SHOWN) .. "..." or words
end

--- Returns what is shown of a row: text and numbers.
---@param kind string of the run
---@param row fleet.WebRow
---@return table<string, any>
function pages.cells(kind, row)
  local err, value = row.error, row.value
  local cells = {
    n = row.n, item = text.escape(shown(row.item)), node = text.escape(row.node or ""),
    failed = err ~= nil,
  }
  if kind == "checksums" then
    local fields = value or {}
    cells.status = fields.status or err and err.status or ""
    cells.bytes = fields.bytes or ""
    cells.time = fields.elapsed and summary.duration(fields.elapsed) or ""
    value = fields.sha256 or ""
  end
  local words = err and ("%s: %s"):format(err.kind or "error", err.message or "") or shown(value)
  cells.result = text.escape(words)
  return cells
end

local function row_of(kind, row)
  local cells, list = pages.cells(kind, row), {}
  for i, column in ipairs(COLUMNS[kind]) do
    local is_fault = column[1] == "result" and cells.failed
    list[i] = html.fill('<td class="{class}" data-label="{label}">{value}</td>', {
      value = cells[column[1]], class = is_fault and "fault" or column[4],
      label = is_fault and "Error" or column[3],
    })
  end
  return html.fill('<tr class="{class}">{cells}</tr>',
    { cells = html.join(list), class = cells.failed and "failed" or "ok" })
end

local function headings(kind)
  local list = {}
  for i, column in ipairs(COLUMNS[kind]) do
    list[i] = html.fill('<th scope="col" class="{class}" data-name="{name}" data-label="{label}">'
      .. "{title}</th>", {
        name = column[1], title = column[2], label = column[3], class = column[4],
      })
  end
  return html.join(list)
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

local function conclusion_of(r)
  if not r.conclusion then return "" end
  return html.fill("<h2>Result of all items</h2>\n<pre>{json}</pre>", { json = r.conclusion })
end

--- Returns the page of a run.
---@param r fleet.WebRun
---@param options {code: string, headers: string[]}
---@return table
function pages.run(r, options)
  local list, failures, first = {}, {}, math.max(1, r.rows - run.RECENT + 1)
  for n = r.rows, first, -1 do list[#list + 1] = row_of(r.kind, r.recent[n]) end
  for i, line in ipairs(r:failures()) do
    failures[i] = html.fill("<li>{line}</li>", { line = line })
  end
  local live = r.state == "running"
  return layout.page({
    title = r.title, path = r.kind == "job" and "/jobs" or "/checksums", headers = options.headers,
    head = live and html.join({
      html.raw('<noscript><meta http-equiv="refresh" content="2"></noscript>'),
      html.fill('<script type="module" src="{src}"></script>', { src = layout.asset("live.js") }),
    }) or "",
    body = html.fill(RUN, {
      id = r.id, title = r.title, words = pages.words(r), total = r.total, rows = r.rows,
      counts = pages.counts(r), problem = pages.problem(r.message), columns = headings(r.kind),
      conclusion = conclusion_of(r), failures = html.join(failures),
      actions = actions_of(r, options.code), list = html.join(list), recent = run.RECENT,
      live = live and "yes" or "no",
      heading = first > 1 and ("The last %d results"):format(run.RECENT) or "Results",
    }),
  })
end

return pages
