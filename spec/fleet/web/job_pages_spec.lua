-- SPDX-License-Identifier: MIT
local pages = require("fleet.web.job_pages")

describe("the HTML of the page Jobs", function()
  local evil = "<script>x</script>"

  it("shows what scripts say as text", function()
    local body = pages.list({
      { name = "good", summary = evil }, { name = "bad", problem = evil },
    }, { evil }, {}).body
    assert.is_nil(body:find(evil, 1, true))
    assert.matches('href="/jobs/good"', body)
    assert.is_nil(body:find('href="/jobs/bad"', 1, true))
    body = pages.form({ name = "good", summary = evil, has_items = true, max = 5, code = "c",
      headers = {}, runs = {}, problem = evil, items = evil, limit = evil }).body
    assert.is_nil(body:find(evil, 1, true))
  end)

  it("asks for a number only when the job has items", function()
    local function form(has_items)
      return pages.form({ name = "a", summary = "", has_items = has_items, max = 5, code = "c",
        headers = {}, runs = {} }).body
    end
    assert.matches('name="limit" min="1" max="5" value="1000"', form(true))
    assert.is_nil(form(false):find("limit", 1, true))
  end)
end)
