-- SPDX-License-Identifier: MIT
-- The pages that a sitemap names (https://www.sitemaps.org/protocol.html). A node fetches and reads
-- it, confined as any job: it is a document of strangers.

local errors = require("fleet.errors")
local source_cache = require("fleet.ship.source_cache")

local sitemap = {}

-- Seconds for one document; documents of one index; pages in all.
local TIMEOUT, MAX_DOCUMENTS, MAX_PAGES = 60, 100, 500000

-- Runs on a node. Returns what the document names, and whether these are other sitemaps.
local SOURCE = [[
local http, xml = require("fleet.http"), require("fleet.xml")
return function(url)
  local page, err = http.get(url)
  if not page then return nil, err end
  if page.status ~= 200 then
    return nil, { kind = "input", message = ("%s has the status %d"):format(url, page.status) }
  end
  local document, why = xml.parse(page.body, { content_type = page.headers["content-type"] })
  if not document then return nil, why end
  local found, list = document:xpath("/*/*/*[local-name() = 'loc']"), {}
  for i, node in ipairs(found) do list[i] = node:text():match("^%s*(.-)%s*$") end
  local root = document:root()
  return { list = list, is_index = root ~= nil and root:name() == "sitemapindex" }
end
]]

local read -- the function, once it is needed

local function fetch(driver, url)
  read = read or source_cache.load(SOURCE, "=sitemap", "t", _G)()
  local future, err = driver:send({}, read, { timeout = TIMEOUT }, nil, url)
  if not future then return nil, err end
  return future:wait()
end

--- Returns the pages that a sitemap names, or those of an index of sitemaps. Waits.
---@param driver fleet.Driver
---@param url string
---@return string[]|nil
---@return fleet.Error|nil
function sitemap.read(driver, url)
  local pages, documents, at = {}, { url }, 1
  while documents[at] do
    local found, err = fetch(driver, documents[at])
    if not found then return nil, err end
    local to = found.is_index and documents or pages
    table.move(found.list, 1, #found.list, #to + 1, to)
    if #documents > MAX_DOCUMENTS or #pages > MAX_PAGES then
      return nil, errors.format("too_large", "it names more than %d sitemaps or %d pages",
        MAX_DOCUMENTS, MAX_PAGES)
    end
    at = at + 1
  end
  return pages
end

return sitemap
