-- SPDX-License-Identifier: MIT
-- What all pages have in common.

local digest = require("fleet.digest")
local html = require("fleet.web.html")
local sys = require("host.sys")

local layout = {}

-- Names of assets and their types.
local ASSETS = {
  ["style.css"] = "text/css; charset=utf-8",
  ["fleet.js"] = "text/javascript; charset=utf-8",
  ["live.js"] = "text/javascript; charset=utf-8",
  ["icon.svg"] = "image/svg+xml",
}

local PAGE = [[
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - moonfleet</title>
<link rel="icon" href="{icon}" type="image/svg+xml">
<link rel="stylesheet" href="{style}">
{head}
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<span class="name">moonfleet</span>
<nav aria-label="Pages">
{links}
</nav>
</header>
<main id="main">
{body}
</main>
</body>
</html>
]]

local LINKS = { { "/checksums", "Checksums" }, { "/jobs", "Jobs" }, { "/fleet", "Fleet" } }

local addresses = {}

--- Returns the address of an asset, which changes with its content, so that browsers may keep it.
---@param name string
---@return string
function layout.asset(name)
  if not addresses[name] then
    local version = digest.sha256(sys.asset(name)):sub(1, 8)
    addresses[name] = ("/assets/%s?%s"):format(name, version)
  end
  return addresses[name]
end

--- Returns the response with an asset; nil when there is none of that name.
---@param name string
---@return table|nil
function layout.asset_response(name)
  if not ASSETS[name] then return nil end
  return {
    type = ASSETS[name], body = sys.asset(name),
    headers = { "Cache-Control", "max-age=31536000, immutable" },
  }
end

--- Returns a page as a response.
---@param fields {title: string, path: string, body: any, head: any, headers: string[]|nil}
---@return table
function layout.page(fields)
  local links = {}
  for i, link in ipairs(LINKS) do
    local current = fields.path:sub(1, #link[1]) == link[1] and ' aria-current="page"' or ""
    links[i] = html.fill('<a href="{address}"{current}>{name}</a>',
      { address = link[1], name = link[2], current = html.raw(current) })
  end
  local page = html.fill(PAGE, {
    title = fields.title, body = fields.body, head = fields.head or "", links = html.join(links),
    icon = layout.asset("icon.svg"), style = layout.asset("style.css"),
  })
  return { type = "text/html; charset=utf-8", body = page.text, headers = fields.headers }
end

--- Returns the page for what has failed.
---@param request fleet.HttpRequest
---@param status integer
---@param message string
---@return table
function layout.error_page(request, status, message)
  local title = status == 404 and "Not found" or status >= 500 and "Something went wrong"
    or "Not possible"
  return layout.page({
    title = title, path = request.path,
    body = html.fill('<h1>{title}</h1>\n<p class="problem">{message}</p>',
      { title = title, message = message }),
  })
end

return layout
