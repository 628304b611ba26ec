-- Which links work? Shows: failing an item by returning nil and an error, so
-- that broken links are error lines and the exit code is 1.
--   moonfleet run scripts/linkcheck.lua urls.txt --format table
local http = require("fleet.http")

return {
  summary = "status of every link; a redirect is told, not followed",
  map = function(url)
    local page, err = http.request("HEAD", url, { max_redirects = 0, timeout = 20 })
    if page and (page.status == 405 or page.status == 501) then
      -- a server that does not do HEAD
      page, err = http.get(url, { max_redirects = 0, timeout = 20, max_bytes = 16 << 20 })
    end
    if not page then return nil, err end
    if page.status >= 400 then
      return nil, { kind = "status", message = ("the server answers %d"):format(page.status) }
    end
    return { status = page.status, location = page.headers.location }
  end,
}
