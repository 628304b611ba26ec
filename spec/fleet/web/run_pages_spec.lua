-- SPDX-License-Identifier: MIT
local pages = require("fleet.web.run_pages")
local run = require("fleet.web.run")

describe("the HTML of runs", function()
  local function run_of(fields)
    local r = {
      id = "0123", kind = "checksums",
      title = "a <b>", total = 4, state = "running", ok = 0, failed = 0, elapsed = 0,
      rows = 0, recent = {}, failures = function() return {} end,
    }
    for name, value in pairs(fields or {}) do r[name] = value end
    return r
  end

  it("shows what others have written as text", function()
    local evil = '"><script>alert(1)</script>\n'
    local body = pages.run(run_of({
      title = evil, message = evil, rows = 2, failed = 1,
      recent = {
        { n = 1, item = evil, value = { status = 200, bytes = 1, sha256 = evil }, node = evil },
        { n = 2, item = evil, error = { kind = evil, message = evil } },
      },
      failures = function() return { evil } end,
    }), { code = "c", headers = {} }).body
    assert.is_nil(body:find("<script>alert", 1, true))
    assert.is_nil(body:find("\\x01", 1, true))
  end)

  it("shows results of jobs as they are, and the end of long ones not", function()
    local r = run_of({ kind = "job", rows = 2, conclusion = '{"a":"<b>"}', recent = {
      { n = 1, item = { a = 1 }, value = "two\nlines" },
      { n = 2, item = "b", value = ("x"):rep(1000) },
    } })
    local body = pages.run(r, { code = "c", headers = {} }).body
    assert.is_truthy(body:find("{&quot;a&quot;:1}", 1, true))
    assert.is_truthy(body:find("two\\nlines", 1, true))
    assert.is_truthy(body:find(("x"):rep(400) .. "...", 1, true))
    assert.is_nil(body:find(("x"):rep(401), 1, true))
    assert.is_truthy(body:find("<pre>{&quot;a&quot;:&quot;&lt;b&gt;&quot;}</pre>", 1, true))
    assert.is_nil(body:find("SHA", 1, true))
  end)

  it("says how far a run is", function()
    assert.equal("0 of 4 done, 0 failed", pages.counts(run_of()))
    assert.equal("2 of 4 done, 1 failed, 2.00 s, 1.0/s, about 2.00 s left",
      pages.counts(run_of({ rows = 2, failed = 1, elapsed = 2 })))
    assert.equal("4 of 4 done, 0 failed, 2.00 s, 2.0/s",
      pages.counts(run_of({ rows = 4, elapsed = 2, state = "done" })))
  end)

  it("offers what can be done", function()
    local function offered(fields)
      local body = pages.run(run_of(fields), { code = "c", headers = {} }).body
      local list = {}
      for action in body:gmatch('action="/runs/0123/(%w+)"') do list[#list + 1] = action end
      return table.concat(list, " "), body:find("live%.js") ~= nil
    end
    assert.same({ "stop", true }, { offered() })
    assert.same({ "resume remove", false }, { offered({ state = "stopped", rows = 1, recent = {
      { n = 1, item = "a", value = {} } } }) })
    assert.same({ "remove", false }, { offered({ state = "done", total = 0 }) })
  end)

  it("shows the last rows of many", function()
    local recent = {}
    for n = 301, 500 do recent[n] = { n = n, item = "item" .. n, value = {} } end
    local body = pages.run(run_of({ rows = 500, total = 500, recent = recent }),
      { code = "c", headers = {} }).body
    assert.matches("The last " .. run.RECENT .. " results", body)
    assert.is_true(body:find("item500", 1, true) < body:find("item499", 1, true))
    assert.is_nil(body:find("item300", 1, true))
  end)
end)
