-- SPDX-License-Identifier: MIT
-- The HTML of the page Jobs: the scripts, and the form of one.

local html = require("fleet.web.html")
local layout = require("fleet.web.layout")
local run_pages = require("fleet.web.run_pages")

local pages = {}

local LIST = [[
<h1>Jobs</h1>
<p>Each is a script in {folders}.</p>
<ul class="jobs">
{jobs}
</ul>
{runs}
]]

local JOB = [[<li><a href="/jobs/{name}">{name}</a> <span class="hint">{summary}</span></li>]]

local BROKEN = [[<li>{name} <span class="fault">{problem}</span></li>]]

local FORM = [[
<h1>{name}</h1>
<p>{summary}</p>
{problem}
<form method="post" action="/jobs/{name}" enctype="multipart/form-data">
<input type="hidden" name="code" value="{code}">
{own}
<label for="items">Items, one per line</label>
<textarea id="items" name="items" rows="8" spellcheck="false"
autocomplete="off">{items}</textarea>
<label for="file">Or a file with such lines</label>
<input type="file" id="file" name="file" accept=".txt,text/plain">
<p><button type="submit">Run the job</button></p>
</form>
{runs}
]]

local OWN = [[
<fieldset>
<legend>The job has items of its own</legend>
<label for="limit">At most so many of them, if no others are entered</label>
<input type="number" id="limit" name="limit" min="1" max="{max}" value="{limit}">
</fieldset>]]

--- Returns the page with all scripts.
---@param scripts {name: string, summary: string|nil, problem: string|nil}[]
---@param folders string[]
---@param runs fleet.WebRun[] of jobs
---@return table
function pages.list(scripts, folders, runs)
  local jobs = {}
  for i, s in ipairs(scripts) do
    jobs[i] = html.fill(s.problem and BROKEN or JOB,
      { name = s.name, summary = s.summary or "", problem = s.problem or "" })
  end
  return layout.page({
    title = "Jobs", path = "/jobs",
    body = html.fill(LIST, {
      folders = table.concat(folders, ", "), jobs = html.join(jobs), runs = run_pages.list(runs),
    }),
  })
end

--- Returns the form of a job.
---@param options {name: string, summary: string, has_items: boolean, max: integer, code: string,
---headers: string[], problem: string|nil, items: string|nil, limit: string|nil,
---runs: fleet.WebRun[], status: integer|nil}
---@return table
function pages.form(options)
  local own = options.has_items
    and html.fill(OWN, { max = options.max, limit = options.limit or "1000" }) or ""
  local response = layout.page({
    title = options.name, path = "/jobs", headers = options.headers,
    body = html.fill(FORM, {
      name = options.name, summary = options.summary, code = options.code, own = own,
      problem = run_pages.problem(options.problem), items = html.lines(options.items or ""),
      runs = run_pages.list(options.runs),
    }),
  })
  response.status = options.status
  return response
end

return pages
