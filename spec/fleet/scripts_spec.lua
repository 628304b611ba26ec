-- SPDX-License-Identifier: MIT
-- The ready-made jobs, with a web made of a function.
local job = require("fleet.run.job")

local NAMES = { "checksum", "linkcheck", "montecarlo", "primes", "title", "wordcount" }

local function source_of(name)
  local file = assert(io.open("scripts/" .. name .. ".lua", "rb"))
  local source = file:read("a")
  file:close()
  return source
end

--- The job `name`, in whose world the module fleet.http is `http`.
local function load_script(name, http)
  local env = setmetatable({
    require = function(module)
      if module == "fleet.xml" then return require(module) end
      assert.equal("fleet.http", module)
      return http
    end,
  }, { __index = _G })
  return assert(job.load(source_of(name), "@scripts/" .. name .. ".lua", env))
end

for _, name in ipairs(NAMES) do
  describe("scripts/" .. name .. ".lua", function()
    it("is a job of at most 40 lines that says how to run it", function()
      local source = source_of(name)
      local _, lines = source:gsub("\n", "")
      assert.is_true(lines <= 40)
      assert.matches("^%-%- [^\n]+\n%-%- [^\n]+\n%-%-   moonfleet run scripts/" .. name .. "%.lua",
        source)
      assert.is_string(load_script(name, {}).summary)
    end)
  end)
end

describe("the job checksum", function()
  it("is http.sha256 of the item, failures included", function()
    local loaded = load_script("checksum", {
      sha256 = function(url)
        if url == "bad" then return nil, { kind = "dns", message = "no such name" } end
        return { url = url, status = 200 }
      end,
    })
    assert.same({ url = "good", status = 200 }, loaded.map("good"))
    local result, err = loaded.map("bad")
    assert.is_nil(result)
    assert.equal("dns", err.kind)
  end)
end)

describe("the job linkcheck", function()
  -- `pages`: what HEAD and GET bring, {status, location} or an error
  local function check(pages)
    local calls = {}
    local map = load_script("linkcheck", {
      request = function(method, url, options)
        assert.equal("http://x/", url)
        calls[#calls + 1] = { method, options.max_redirects }
        local page = pages[method]
        if page.kind then return nil, page end
        return { status = page[1], headers = { location = page[2] } }
      end,
    }).map
    local result, err = map("http://x/")
    return result, err, calls
  end

  it("asks for the head alone and follows nothing", function()
    local result, _, calls = check({ HEAD = { 200 } })
    assert.same({ status = 200 }, result)
    assert.same({ { "HEAD", 0 } }, calls)
    assert.same({ status = 301, location = "http://y/" },
      (check({ HEAD = { 301, "http://y/" } })))
  end)

  it("fails broken links", function()
    for _, status in ipairs({ 400, 404, 500, 503 }) do
      local result, err = check({ HEAD = { 404 }, GET = { status } })
      assert.is_nil(result)
      assert.same({ kind = "status", message = "the server answers " .. status }, err)
    end
    local refused = { kind = "connect", message = "refused" }
    local result, err = check({ HEAD = refused, GET = refused })
    assert.is_nil(result)
    assert.equal("connect", err.kind)
  end)

  it("gets the page where HEAD is refused", function()
    for _, head in ipairs({
      { 400 }, { 403 }, { 404 }, { 405 }, { 501 }, { kind = "connect" }, { kind = "truncated" },
      { kind = "protocol" },
    }) do
      local result, _, calls = check({ HEAD = head, GET = { 200 } })
      assert.same({ status = 200 }, result)
      assert.same({ { "HEAD", 0 }, { "GET", 0 } }, calls)
    end
    assert.same({ status = 200 }, (check({ HEAD = { 405 },
      GET = { kind = "too_large", status = 200 } })))
    local missing, err = check({ HEAD = { 405 }, GET = { kind = "too_large", status = 404 } })
    assert.is_nil(missing)
    assert.equal("the server answers 404", err.message)
  end)

  it("does not ask again where a second question can bring nothing", function()
    for _, head in ipairs({
      { 429 }, { kind = "dns" }, { kind = "url" }, { kind = "timeout" }, { kind = "tls" },
      { kind = "refused" },
    }) do
      local result, _, calls = check({ HEAD = head })
      assert.is_nil(result)
      assert.same({ { "HEAD", 0 } }, calls)
    end
  end)
end)

describe("the job title", function()
  local function title(html, type)
    local page = { status = 200, body = html, headers = { ["content-type"] = type } }
    return load_script("title", { get = function() return page end }).map("http://x/").title
  end

  it("finds titles as people write them", function()
    assert.equal("Lua", title("<html><head><title>Lua</title>"))
    assert.equal("a b", title("<TITLE lang=en>\n  a\n\tb </TITLE>"))
    assert.equal("R&D <x> 'q'", title("<title>R&amp;D &lt;x&gt; &#39;q&#39;</title>"))
    assert.equal("&unknown; é", title("<title>&unknown; &#233;</title>"))
    assert.equal("", title("<title></title>"))
    assert.equal("never ended", title("<title>never ended"))
    assert.is_nil(title("no title"))
    assert.is_nil(title(""))
    assert.equal("How to use <b> and vector<int>",
      title("<title>How to use <b> and vector<int></title><p>x"))
  end)

  it("takes no icon's title for the page's", function()
    assert.is_nil(title("<svg><title>an icon</title></svg>"))
    assert.equal("late", title("<body><svg><title>an icon</title></svg><title>late</title>"))
  end)

  it("reads the page in the charset of its header", function()
    local russian = "<title>\xcf\xf0\xe8\xe2\xe5\xf2</title>"
    assert.equal("Привет", title(russian, "text/html; charset=windows-1251"))
    assert.equal("оПХБЕР", title(russian, "text/html; charset=koi8-r"))
    assert.equal("漢", title("<title>\x8a\xbf</title>", "text/html;charset=Shift_JIS"))
    assert.equal("中\u{fffd}", title("<title>中\xe4</title>", "text/html; charset=utf-8"))
    assert.equal("Ïðèâåò", title(russian, "text/html; charset=none"))
  end)

  it("passes on what failed", function()
    local map = load_script("title", {
      get = function() return nil, { kind = "timeout", message = "too slow" } end,
    }).map
    local page, err = map("http://x/")
    assert.is_nil(page)
    assert.equal("timeout", err.kind)
  end)
end)

describe("the job wordcount", function()
  it("counts over all lines, upper and lower case alike", function()
    local loaded = load_script("wordcount")
    local total = loaded.init
    for _, line in ipairs({ "The cat, the hat.", "", "Don't -- the x2 Größe 42" }) do
      total = loaded.reduce(total, loaded.map(line))
    end
    assert.same({ the = 3, cat = 1, hat = 1, ["don't"] = 1, x2 = 1, ["größe"] = 1 }, total)
  end)
end)

describe("the job montecarlo", function()
  it("comes near pi, and to the same figure each time", function()
    local loaded = load_script("montecarlo")
    assert.equal(100, #loaded.items())
    local totals = {}
    for run = 1, 2 do
      totals[run] = loaded.init
      for _, seed in ipairs({ 1, 2, 100 }) do
        totals[run] = loaded.reduce(totals[run], loaded.map(seed))
      end
    end
    assert.same(totals[1], totals[2])
    assert.is_true(math.abs(totals[1].pi - math.pi) < 0.01)
    assert.are_not.equal(loaded.map(1), loaded.map(2))
  end)
end)

describe("the job primes", function()
  it("finds the known numbers of primes, also at the far end", function()
    local loaded = load_script("primes")
    loaded.setup()
    local next_range = loaded.items()
    assert.same({ count = 78498, largest = 999983 }, loaded.map(next_range()))
    assert.same({ count = 70435, largest = 1999993 }, loaded.map(next_range()))
    assert.equal(999999999989, loaded.map(999999000001).largest)
  end)
end)
