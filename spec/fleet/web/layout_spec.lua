-- SPDX-License-Identifier: MIT

local e2e = require("spec.support.e2e")
local web_page = require("spec.support.web_page")

describe("assets of the web page", function()
  local world, page
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("has the names of files and hosts for lookups in tables only", function()
    page = web_page.start(world)
    for _, path in ipairs({ "/assets/../init.lua", "/assets/%2e%2e%2finit.lua", "/assets/x",
      "/runs/..%2f..%2fetc", "/jobs/..%2f..%2fetc", "/state/lock" }) do
      assert.equal(404, page:get(path).status, path)
    end
    assert.equal(200, page:get("/assets/style.css").status)
    assert.matches("^text/javascript", page:get("/assets/live.js").headers["content-type"])
  end)
end)
