-- SPDX-License-Identifier: MIT

local e2e = require("spec.support.e2e")
local web_page = require("spec.support.web_page")

describe("forms of the web page", function()
  local world, page
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("accepts forms of its own pages only", function()
    page = web_page.start(world)
    local code, cookie = page:form()
    local _, other = page:form()
    local function status(fields, headers)
      return page:post("/checksums", fields, headers).status
    end
    local urls = "http://127.0.0.1:1/"
    assert.equal(303, status({ urls = urls, code = code }, { Cookie = cookie }))
    assert.equal(403, status({ urls = urls, code = code }))
    assert.equal(403, status({ urls = urls, code = code }, { Cookie = other }))
    assert.equal(403, status({ urls = urls, code = ("0"):rep(64) }, { Cookie = cookie }))
    assert.equal(403, status({ urls = urls }, { Cookie = cookie }))
    assert.equal(403, status({ urls = urls, code = code },
      { Cookie = cookie, Origin = "http://evil.example" }))
    assert.equal(421, status({ urls = urls, code = code },
      { Cookie = cookie, Host = "evil.example" }))
    local address = page:post("/checksums", { urls = urls, code = code }, { Cookie = cookie })
      .headers.location
    for _, action in ipairs({ "stop", "resume", "remove" }) do
      assert.equal(403, page:post(address .. "/" .. action, {}).status)
      assert.equal(405, page:get(address .. "/" .. action).status)
    end
    assert.equal(404, page:post("/runs/0123456789abcdef/stop", {}).status)
  end)
end)
