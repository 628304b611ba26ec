-- SPDX-License-Identifier: MIT
-- Whole runs over the web as it is: many hosts with few open files, servers that refuse HEAD, host
-- names beyond ASCII in every locale, lists of URLs as people edit them.

local e2e = require("spec.support.e2e")

describe("a run over the web", function()
  local world, web
  before_each(function()
    world = e2e.new()
    web = world:fault_server()
  end)
  after_each(function() world:close() end)

  local STATUS = [[
    local http = require("fleet.http")
    return { map = function(url)
      local page, err = http.get(url, { timeout = 60 })
      if not page then return nil, err end
      return page.status
    end }
  ]]

  local function values(run)
    local list = {}
    for i, result in ipairs(e2e.results(run.out)) do
      list[i] = result.value or (result.error.kind .. ": " .. result.error.message)
    end
    return list
  end

  -- Keeping a connection to each of many hosts would use up the open files.
  local function fetch_hosts(limit, count, path, ...)
    local urls, all = {}, {}
    for i = 1, count do
      urls[i], all[i] = ("http://h%d.localhost:%d%s"):format(i, web.port, path), 200
    end
    local run = world:run({ "run", world:write("status.lua", STATUS), world:items(urls), ... },
      { within = { "prlimit", ("--nofile=%d:%d"):format(limit, limit) } })
    assert.same(all, values(run))
    assert.equal(0, run.code, run.err)
  end

  it("fetches pages of 800 hosts with 256 open files", function()
    fetch_hosts(256, 800, "/ok")
  end)

  it("fetches them with fewer still, also many at a time and redirected", function()
    fetch_hosts(128, 400, "/redirect/2", "--concurrency", 500)
    fetch_hosts(64, 100, "/slow/20", "--concurrency", 500)
  end)

  it("calls no link broken because its server refuses HEAD", function()
    local urls = {}
    for _, what in ipairs({ 400, 401, 403, 404, 405, 500, 501, 503, "close" }) do
      urls[#urls + 1] = web.url .. "/no-head/" .. what
    end
    local run = world:run({ "run", "--items", "scripts/linkcheck.lua", table.unpack(urls) })
    assert.equal(0, run.code, run.err)
    for _, value in ipairs(values(run)) do assert.same({ status = 200 }, value) end
    run = world:run({ "run", "--items", "scripts/linkcheck.lua", web.url .. "/status/404",
      web.url .. "/reset", web.url .. "/bytes/2000000", web.url .. "/redirect/1" })
    assert.equal(1, run.code)
    local list = values(run)
    assert.equal("status: the server answers 404", list[1])
    assert.matches("^connect: ", list[2])
    assert.same({ status = 200 }, list[3])
    assert.same({ status = 302, location = "/ok" }, list[4])
  end)

  it("reads names beyond ASCII in every locale", function()
    local url = ("http://bücher.localhost:%d/ok"):format(web.port)
    local job = world:write("status.lua", STATUS)
    for _, locale in ipairs({ "C", "C.UTF-8", "POSIX", "xx_XX.ISO-8859-1" }) do
      local run = world:run({ "run", "--items", job, url, web.url .. "/redirect-to?" .. url },
        { env = { "LC_ALL=" .. locale, "LANG=" .. locale } })
      assert.same({ 200, 200 }, values(run))
    end
  end)

  it("takes URLs of a file without the blanks around them", function()
    local list = world:write("urls.txt", (" %s/ok\n%s/ok \t\r\n\t%s/ok\n"):gsub("%%s", web.url))
    local run = world:run({ "run", "scripts/checksum.lua", list })
    assert.equal(0, run.code, run.err)
    for _, value in ipairs(values(run)) do assert.equal(web.url .. "/ok", value.url) end
  end)
end)
