-- SPDX-License-Identifier: MIT
local http = require("fleet.http")
local httpd = require("fleet.httpd")
local task = require("host.task")

local function text(body) return { type = "text/plain", body = body } end

describe("httpd", function()
  local site, base, port, seen
  before_each(function()
    seen = {}
    site = httpd.new({
      names = { "node.example" },
      on_request = function(request, response)
        seen[#seen + 1] = { request.method, request.path, response and response.status or 200 }
      end,
      routes = {
        { "GET", "/", function() return text("home") end },
        { "GET", "/a.b", function() return text("dot") end },
        { "GET", "/run/{id}/x", function(r)
          return text(r.params[1] .. " " .. (r.query.q or ""))
        end },
        { "POST", "/form", function(r) return text(r:form(1000).fields.a) end },
        { "POST", "/body", function(r) return text(tostring(#r:body(200000))) end },
        { "GET", "/raise", function() error("oops") end },
        { "GET", "/nothing", function() return { status = 204 } end },
        { "GET", "/stream", function(r)
          r:stream("text/event-stream")
          for i = 1, 3 do r:send(("data: %d\n\n"):format(i)) end
        end },
        { "GET", "/slow", function()
          task.sleep(0.2)
          return text("slow")
        end },
      },
    })
    port = assert(site:listen("127.0.0.1", 0))
    base = "http://127.0.0.1:" .. port
    task.spawn(site.run, site)
  end)
  after_each(function() site:shut_down(1) end)

  local function get(path, headers, method)
    return assert(http.request(method or "GET", base .. path, { headers = headers }))
  end

  it("routes requests", function()
    assert.equal("home", get("/").body)
    assert.equal("dot", get("/a.b").body)
    assert.equal(404, get("/aXb").status)
    assert.equal("a b c", get("/run/a%20b/x?q=c").body)
    assert.equal(404, get("/run/a/b/x").status)
    assert.equal(204, get("/nothing").status)
    assert.equal(400, get("/run/%00/x").status)
    assert.equal(414, get("/" .. ("a"):rep(5000)).status)
    assert.same({ "GET", "/", 200 }, seen[1])
  end)

  it("answers HEAD as GET without a body, and names the methods of a page", function()
    local head = get("/", nil, "HEAD")
    assert.same({ 200, "", "4" }, { head.status, head.body, head.headers["content-length"] })
    local wrong = get("/", nil, "DELETE")
    assert.same({ 405, "GET, HEAD" }, { wrong.status, wrong.headers.allow })
    assert.same({ 405, "POST" }, { get("/form").status, get("/form").headers.allow })
  end)

  it("sends what keeps browsers from harm with every response", function()
    for _, path in ipairs({ "/", "/missing", "/raise", "/stream" }) do
      local headers = get(path).headers
      assert.equal("nosniff", headers["x-content-type-options"])
      assert.equal("DENY", headers["x-frame-options"])
      assert.equal("no-store", headers["cache-control"])
      local policy = headers["content-security-policy"]
      assert.matches("default%-src 'none'", policy)
      assert.matches("frame%-ancestors 'none'", policy)
      assert.is_nil(policy:find("unsafe", 1, true))
    end
  end)

  it("answers to its addresses and names only", function()
    for _, host in ipairs({ "127.0.0.1", "localhost:1", "[::1]:80", "node.example",
      "10.0.0.1" }) do
      assert.equal(200, get("/", { Host = host }).status, host)
    end
    for _, host in ipairs({ "evil.example", "127.0.0.1.evil.example", "a b",
      "node.example.org" }) do
      assert.equal(421, get("/", { Host = host }).status, host)
    end
  end)

  it("refuses requests from pages of other sites", function()
    local own = "127.0.0.1:" .. port
    assert.equal(200, get("/", { Origin = "http://" .. own, Host = own }).status)
    for _, origin in ipairs({ "http://evil.example", "null", "http://" .. own .. ".evil.example",
      "http://localhost:" .. port }) do
      assert.equal(403, get("/", { Origin = origin }).status, origin)
      assert.equal(403, get("/form", { Origin = origin }, "POST").status, origin)
    end
    assert.equal(403, get("/form", { ["Sec-Fetch-Site"] = "cross-site" }, "POST").status)
    assert.equal(200, get("/", { ["Sec-Fetch-Site"] = "cross-site" }).status) -- a link
  end)

  it("bounds bodies", function()
    local function post(path, body, type)
      return assert(http.request("POST", base .. path, {
        body = body, headers = { ["Content-Type"] = type or "application/x-www-form-urlencoded" },
      }))
    end
    assert.equal("b", post("/form", "a=b").body)
    assert.equal("200000", post("/body", ("x"):rep(200000)).body)
    local large = post("/form", "a=" .. ("b"):rep(999))
    assert.same({ 413, "The body has 1001 bytes; the limit is 1000.\n" },
      { large.status, large.body })
    assert.equal(415, post("/form", "{}", "application/json").status)
  end)

  it("shows nothing of an error of its own", function()
    local failed = get("/raise")
    assert.equal(500, failed.status)
    assert.is_nil(failed.body:find("oops", 1, true))
    assert.equal("home", get("/").body) -- and goes on
  end)

  it("streams", function()
    assert.equal("data: 1\n\ndata: 2\n\ndata: 3\n\n", get("/stream").body)
  end)

  it("finishes what it has begun before it shuts down", function()
    local slow = task.start(get, "/slow")
    task.sleep(0.05)
    site:shut_down(5)
    local ok, response = slow:join()
    assert.is_true(ok)
    assert.equal("slow", response.body)
    assert.equal("connect", select(2, http.get(base)).kind)
  end)

  it("is told when its address is taken", function()
    local other = httpd.new({ routes = {} })
    local bound, err = other:listen("127.0.0.1", port)
    assert.is_nil(bound)
    assert.matches("cannot listen on 127.0.0.1 port %d+: another program does", err.message)
  end)
end)
