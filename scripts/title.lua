-- Extracts the title of every page. Shows how to fetch a page into memory, read it
-- as HTML with all its mistakes, and select a part of it with XPath.
--   moonfleet run scripts/title.lua --items https://www.lua.org/ https://example.com/
local http = require("fleet.http")
local xml = require("fleet.xml")

return {
  summary = "title of every page",
  map = function(url)
    local page, err = http.get(url, { timeout = 30, max_bytes = 8 << 20 })
    if not page then return nil, err end
    local html
    html, err = xml.html(page.body, { content_type = page.headers["content-type"] })
    if not html then return nil, err end
    local title = #html:xpath("//title") > 0 and html:xpath("normalize-space(//title)") or nil
    return { status = page.status, bytes = #page.body, title = title }
  end,
}
