-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local json = require("fleet.json")
local web_page = require("spec.support.web_page")

describe("the page Jobs", function()
  local world, page
  before_each(function()
    world = e2e.new()
    world:write("broken.lua", "return { mapp = 1 }")
    world:write("driver.lua", "print(1)")
    world:write("squares.lua", [[
      return {
        summary = "squares of <numbers>",
        items = function()
          local n = 0
          return function()
            n = n + 1
            return n
          end
        end,
        map = function(n)
          if n == 3 then error("three") end
          return n * n
        end,
        reduce = function(acc, n) return acc + n end, init = 0,
      }
    ]])
    page = web_page.start(world, "--scripts", world.dir .. ",scripts")
  end)
  after_each(function() world:close() end)

  local function submit(name, fields)
    local code, cookie = page:form("/jobs/" .. name)
    fields.code = code
    return page:post("/jobs/" .. name, fields, { Cookie = cookie })
  end

  it("lists the jobs of its folders", function()
    local body = page:get("/jobs").body
    assert.matches("squares of &lt;numbers&gt;", body)
    assert.matches('href="/jobs/wordcount"', body)
    assert.matches("broken.*unknown field &#39;mapp&#39;", body)
    assert.is_nil(body:find("driver", 1, true))
    assert.equal(404, page:get("/jobs/missing").status)
    assert.equal(422, page:get("/jobs/broken").status)
  end)

  it("runs the items of a job, and reduces their results", function()
    local address = submit("squares", { limit = "5" }).headers.location
    local rows = page:results(address)
    assert.same({ 1, 4, 16, 25 }, { rows[1].value, rows[2].value, rows[4].value, rows[5].value })
    assert.matches("three", rows[3].error.message)
    local body = page:get(address).body
    assert.matches("<pre>46</pre>", body)
    assert.matches("1 failed with raise", body)
    assert.matches("item,value,error_kind,error\r\n", page:get(address .. "/results.csv").body)
  end)

  it("runs items that are entered", function()
    local rows = page:results(submit("wordcount", { items = "a b\na" }).headers.location)
    assert.same({ a = 1, b = 1 }, rows[1].value)
    assert.matches("Enter at least one item", submit("wordcount", { items = "" }).body)
    assert.matches("The number of items is from 1 to", submit("squares", { limit = "0" }).body)
  end)

  it("does not go on with a script that has changed", function()
    local address = submit("squares", { limit = "2" }).headers.location
    page:results(address)
    page:stop()
    local folder = world:path("state") .. address:gsub("^/runs", "")
    local kept = json.decode(e2e.read(folder .. "/run.json"))
    kept.total, kept.state = 3, "stopped"
    local changed = { ["/run.json"] = json.encode(kept), ["/items.jsonl"] = "1\n2\n4\n" }
    for path, text in pairs(changed) do
      local file = assert(io.open(folder .. path, "wb"))
      file:write(text)
      file:close()
    end
    world:write("squares.lua", "return { map = function(n) return -n end }")
    page:restart()
    local code, cookie = page:form(address)
    page:post(address .. "/resume", { code = code }, { Cookie = cookie })
    assert.equal(2, #page:results(address))
    assert.matches("has changed since the run began", page:get(address).body)
  end)
end)
