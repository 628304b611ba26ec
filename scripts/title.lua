-- The title of every page. Shows: fetching a page into memory and taking it
-- apart with Lua's own patterns.
--   moonfleet run scripts/title.lua --items https://www.lua.org/ https://example.com/
local http = require("fleet.http")

local ENTITIES = { amp = "&", lt = "<", gt = ">", quot = '"', ["#39"] = "'", nbsp = " " }

local function title_of(html)
  local title = html:match("<[Tt][Ii][Tt][Ll][Ee][^>]*>(.-)</[Tt][Ii][Tt][Ll][Ee]")
  if not title then return nil end
  return (title:gsub("&(#?%w+);", ENTITIES):gsub("%s+", " "):match("^ ?(.-) ?$"))
end

return {
  summary = "title of every page",
  map = function(url)
    local page, err = http.get(url, { timeout = 30, max_bytes = 8 << 20 })
    if not page then return nil, err end
    return { status = page.status, bytes = #page.body, title = title_of(page.body) }
  end,
}
