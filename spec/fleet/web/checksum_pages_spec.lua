-- SPDX-License-Identifier: MIT
local pages = require("fleet.web.checksum_pages")

describe("the HTML of the page Checksums", function()
  it("shows what was entered as text, line by line", function()
    local evil = '"><script>alert(1)</script>'
    local body = pages.form({ code = "c", headers = {}, runs = {}, urls = "a\n</textarea>" .. evil,
      sitemap = evil, problem = evil }).body
    assert.is_nil(body:find("<script>", 1, true))
    assert.is_truthy(body:find("a\n&lt;/textarea&gt;", 1, true))
  end)
end)
