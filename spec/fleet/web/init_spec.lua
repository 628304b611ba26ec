-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local web_page = require("spec.support.web_page")

describe("the web page", function()
  local world, page
  before_each(function()
    world = e2e.new()
    page = web_page.start(world)
  end)
  after_each(function() world:close() end)

  it("tells those who watch it that it is ready", function()
    assert.equal(200, page:get("/healthz").status)
    assert.equal("ready\n", page:get("/readyz").body)
    assert.equal(404, page:get("/nothing").status)
    assert.matches('moonfleet_http_requests_total{status="4xx"} 1\n', page:get("/metrics").body)
    assert.matches('moonfleet_runs{state="kept"} 0\n', page:get("/metrics").body)
  end)

  it("sends the browser to its first page", function()
    assert.equal(page.base .. "/checksums", page:get("/").url)
  end)

  it("ends in order", function()
    assert.equal(0, page:stop())
    page:restart() -- nothing is locked, no port in use
    assert.equal(0, page:stop())
  end)
end)
