-- SPDX-License-Identifier: MIT
-- The page Checksums as programs see it; spec/browser/ tests what browsers show.

local e2e = require("spec.support.e2e")
local http = require("fleet.http")
local sha256 = require("fleet.digest").sha256
local web_page = require("spec.support.web_page")

describe("the page Checksums", function()
  local world, page, www
  before_each(function() world = e2e.new() end)
  after_each(function() world:close() end)

  it("computes the sums of pasted URLs, and keeps them", function()
    www = web_page.serve_files(world, { a = "abc", b = "" })
    page = web_page.start(world)
    local made = page:submit({
      urls = ("\n%s/a\r\n  # a comment\n %s/b \nhttp://127.0.0.1:1/\nno url"):format(www, www),
    })
    assert.equal(303, made.status)
    local address = made.headers.location
    assert.matches("^/runs/%x+$", address)
    local rows = page:results(address)
    assert.equal(4, #rows)
    assert.same({ sha256("abc"), 3, "local" },
      { rows[1].value.sha256, rows[1].value.bytes, rows[1].node })
    assert.equal(sha256(""), rows[2].value.sha256)
    assert.equal("connect", rows[3].error.kind)
    assert.equal("url", rows[4].error.kind)
    local csv = page:get(address .. "/results.csv")
    assert.matches("^item,status,bytes,sha256,elapsed,node,error_kind,error\r\n", csv.body)
    assert.matches('^attachment; filename="checksums%-%x+.csv"$',
      csv.headers["content-disposition"])
    assert.equal(0, page:stop())
    page:restart()
    assert.equal(4, #page:results(address))
  end)

  it("says what is missing in a form, and keeps what was entered", function()
    page = web_page.start(world)
    assert.matches("Enter at least one URL", page:submit({ urls = "\n#\n" }).body)
    local long = page:submit({ urls = "<b>" .. ("x"):rep(9000) })
    assert.matches("A line has 9003 bytes", long.body)
    assert.is_truthy(long.body:find("&lt;b&gt;xxx", 1, true))
    assert.is_nil(long.body:find("<b>", 1, true))
  end)

  it("refuses an upload that is too large before it reads it", function()
    page = web_page.start(world)
    local large = http.request("POST", page.base .. "/checksums", {
      body = ("x"):rep(17 << 20), headers = { ["Content-Type"] = "text/plain" },
    })
    assert.equal(413, large.status)
    assert.matches("The body has 17825792 bytes; the limit is 16777216", large.body)
  end)

  it("says that no node can be used, and tries again", function()
    page = web_page.start(world, "--peers", "127.0.0.1:1")
    local address = page:submit({ urls = "http://127.0.0.1:1/" }).headers.location
    assert.same({}, page:results(address))
    assert.matches("no node can be used", page:get(address).body)
    assert.matches("Run the rest", page:get(address).body)
    assert.matches("no node can be used", page:get("/fleet").body)
  end)
end)
