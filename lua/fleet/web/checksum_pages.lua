-- SPDX-License-Identifier: MIT
-- The HTML of the page Checksums.

local html = require("fleet.web.html")
local layout = require("fleet.web.layout")
local run_pages = require("fleet.web.run_pages")

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

--- Returns the page with the form.
---@param options {code: string, headers: string[], runs: fleet.WebRun[], problem: string|nil,
---urls: string|nil, sitemap: string|nil, status: integer|nil}
---@return table
function pages.form(options)
  local response = layout.page({
    title = "Checksums", path = "/checksums", headers = options.headers,
    body = html.fill(FORM, {
      code = options.code, problem = run_pages.problem(options.problem),
      urls = html.lines(options.urls or ""),
      sitemap = options.sitemap or "",
      runs = run_pages.list(options.runs),
    }),
  })
  response.status = options.status
  return response
end

return pages
