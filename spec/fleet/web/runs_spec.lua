-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local json = require("fleet.json")
local web_page = require("spec.support.web_page")

describe("the page of a run", function()
  local world, page, www
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("sends rows as they come, and ends with the run", function()
    www = web_page.serve_files(world, { a = "abc" })
    page = web_page.start(world)
    local address = page:submit({ urls = (www .. "/a\n"):rep(300) }).headers.location
    local stream = page:get(address .. "/events")
    assert.equal("text/event-stream", stream.headers["content-type"])
    local last
    for data in stream.body:gmatch("data: ([^\n]+)\n\n") do
      last = json.decode(data)
      assert.is_true(#last.rows <= 200)
    end
    assert.same({ 300, false }, { last.value, last.live })
    local again = page:get(address .. "/events?after=300").body
    assert.same({}, json.decode(again:match("data: ([^\n]+)\n\n")).rows)
  end)
end)
