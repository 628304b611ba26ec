-- Checks links. Shows how to fail an item by returning nil and an error, so that
-- broken links are error lines and the exit code is 1.
--   moonfleet run scripts/linkcheck.lua urls.txt --format table
local http = require("fleet.http")

-- Failures of HEAD for which some servers still answer GET.
local REFUSES = { connect = true, truncated = true, protocol = true }

local function ask(method, url)
  return http.request(method, url, { max_redirects = 0, timeout = 20, max_bytes = 1 << 20 })
end

return {
  summary = "status of every link; redirects are reported, not followed",
  map = function(url)
    local page, err = ask("HEAD", url)
    if page and page.status >= 400 and page.status ~= 429 or err and REFUSES[err.kind] then
      page, err = ask("GET", url)
      if err and err.kind == "too_large" and err.status then -- the rest is not needed
        page = { status = err.status, headers = {} }
      end
    end
    if not page then return nil, err end
    if page.status >= 400 then
      return nil, { kind = "status", message = ("the server answers %d"):format(page.status) }
    end
    return { status = page.status, location = page.headers.location }
  end,
}
