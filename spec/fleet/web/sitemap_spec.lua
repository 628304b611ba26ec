-- SPDX-License-Identifier: MIT

local e2e = require("spec.support.e2e")
local sha256 = require("fleet.digest").sha256
local web_page = require("spec.support.web_page")

describe("sitemaps", function()
  local world, page, www
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("reads the URLs of a sitemap, and of an index of them", function()
    www = web_page.serve_files(world, { a = "abc" })
    world:write("www/map.xml", ([[<?xml version="1.0"?>
      <urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
      <url><loc> %s/a </loc></url><url><loc>%s/missing</loc></url></urlset>]]):format(www, www))
    world:write("www/index.xml", ([[<sitemapindex><sitemap><loc>%s/map.xml</loc></sitemap>
      </sitemapindex>]]):format(www))
    page = web_page.start(world)
    local rows = page:results(page:submit({ sitemap = www .. "/index.xml" }).headers.location)
    assert.same({ www .. "/a", sha256("abc"), 404 },
      { rows[1].item, rows[1].value.sha256, rows[2].value.status })
    local wrong = page:submit({ sitemap = www .. "/a" })
    assert.equal(422, wrong.status)
    assert.matches("The sitemap cannot be read: ", wrong.body)
    wrong = page:submit({ sitemap = www .. "/missing" })
    assert.matches("missing has the status 404", wrong.body)
  end)
end)
