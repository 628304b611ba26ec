-- SPDX-License-Identifier: MIT

local digest = require("fleet.digest")
local e2e = require("spec.support.e2e")
local errors = require("fleet.errors")
local fault = require("spec.support.fault")
local http = require("fleet.http")
local socket = require("socket")
local sys = require("host.sys")
local task = require("host.task")

local ALL_BYTES = {}
for i = 0, 250 do ALL_BYTES[#ALL_BYTES + 1] = string.char(i) end
ALL_BYTES = table.concat(ALL_BYTES)

local function bytes(n) return ALL_BYTES:rep(n // #ALL_BYTES + 1):sub(1, n) end

local server

setup(function() server = fault.start() end)
teardown(function() server.stop() end)

local function url(path) return server.url .. path end

--- Runs the functions as tasks at once and waits for all.
local function together(functions)
  local left, done = #functions, task.event()
  for _, f in ipairs(functions) do
    task.spawn(function()
      local ok, why = pcall(f)
      left = left - 1
      if left == 0 or not ok then done:notify() end
      assert(ok, why)
    end)
  end
  while left > 0 do assert(done:wait(60), "tasks did not end") end
end

--- The call fails with this kind, with one line that names the URL.
local function fails(kind, pattern, f, ...)
  local result, err = f(...)
  assert.is_nil(result)
  assert.is_true(errors.is(err))
  assert.equal(kind, err.kind, err.message)
  assert.matches(pattern, err.message)
  assert.not_matches("[%c]", err.message)
  return err
end

describe("http.sha256", function()
  it("returns size and digest of the body for each way of sending it", function()
    for _, n in ipairs({ 0, 1, 10240, 65536, 3000000 }) do
      for _, path in ipairs({ "/bytes/", "/chunked/" }) do
        local r = assert(http.sha256(url(path .. n)))
        assert.equal(200, r.status)
        assert.equal(n, r.bytes)
        assert.equal(digest.sha256(bytes(n)), r.sha256)
        assert.equal(url(path .. n), r.url)
        assert.is_true(r.elapsed > 0 and r.elapsed < 60)
        assert.is_nil(r.body)
      end
    end
  end)

  it("has any status as a result", function()
    for _, status in ipairs({ 204, 404, 500 }) do
      local r = assert(http.sha256(url("/status/" .. status)))
      assert.equal(status, r.status)
    end
    local r = assert(http.sha256(url("/status/503")))
    assert.equal(digest.sha256("503\n"), r.sha256)
  end)

  it("digests the body as sent, or decoded if an option says so", function()
    local raw = assert(http.sha256(url("/gzip")))
    assert.not_equal(digest.sha256("hello, gzip"), raw.sha256)
    local decoded = assert(http.sha256(url("/gzip"), { compressed = true }))
    assert.equal(digest.sha256("hello, gzip"), decoded.sha256)
    assert.equal(11, decoded.bytes)
  end)

  it("keeps concurrent calls apart", function()
    local calls = {}
    for i = 1, 200 do
      calls[i] = function()
        local r = assert(http.sha256(url("/bytes/" .. i * 101)))
        assert.equal(digest.sha256(bytes(i * 101)), r.sha256)
      end
    end
    together(calls)
  end)
end)

describe("http.get", function()
  it("returns body, headers and status", function()
    local r = assert(http.get(url("/headers"), { headers = { ["X-One"] = "1", Accept = "x/y" } }))
    assert.equal(200, r.status)
    assert.equal("one, two", r.headers["x-twice"])
    assert.same({ "a=1, b", "c=2" }, r.headers["set-cookie"])
    assert.equal("", r.headers["x-empty"])
    assert.matches("\r\nX%-One: 1\r\n", r.body)
    assert.matches("\r\nAccept: x/y\r\n", r.body)
    assert.matches("\r\nUser%-Agent: moonfleet/%d", r.body)
    assert.equal(#r.body, r.bytes)
  end)

  it("returns no headers of redirects", function()
    local r = assert(http.get(url("/redirect/1")))
    assert.is_nil(r.headers.location)
    assert.equal(url("/ok"), r.url)
    assert.equal("ok\n", r.body)
  end)

  it("decodes the body, unless an option says not to", function()
    assert.equal("hello, gzip", assert(http.get(url("/gzip"))).body)
    local r = assert(http.get(url("/gzip"), { compressed = false }))
    assert.equal("\x1f\x8b", r.body:sub(1, 2))
    assert.not_matches("Accept%-Encoding", assert(http.get(url("/headers"),
      { compressed = false })).body)
  end)

  it("forgets the options of the call before", function()
    local options = { headers = { ["X-Mine"] = "1" }, max_redirects = 0, timeout = 5 }
    for _ = 1, 3 do
      assert.equal(302, assert(http.get(url("/redirect/1"), options)).status)
      assert.equal(200, assert(http.post(url("/echo"), "data")).status)
      assert.not_matches("X%-Mine", assert(http.get(url("/headers"))).body)
      assert.equal("ok\n", assert(http.get(url("/redirect/2"))).body)
    end
  end)

  it("sends many values, empty values and numbers of headers", function()
    local r = assert(http.get(url("/headers"),
      { headers = { ["X-List"] = { "a", "b" }, ["X-None"] = "", ["X-Number"] = 7 } }))
    assert.matches("X%-List: a\r\nX%-List: b\r\n", r.body)
    assert.matches("\r\nX%-None: *\r\n", r.body)
    assert.matches("\r\nX%-Number: 7\r\n", r.body)
  end)
end)

describe("http.post and http.request", function()
  it("send the body without the type of a form", function()
    for _, body in ipairs({ "", "a\0b", bytes(3000000) }) do
      local r = assert(http.post(url("/echo"), body))
      assert.is_true(body == r.body)
      assert.equal("POST", r.headers["x-method"])
    end
    local r = assert(http.request("POST", url("/headers"), { body = "a=b" }))
    assert.not_matches("Content%-Type", r.body)
    r = assert(http.post(url("/headers"), "{}", { headers = { ["content-type"] = "text/x" } }))
    assert.matches("content%-type: text/x\r\n", r.body)
  end)

  it("take any method", function()
    for _, method in ipairs({ "PUT", "DELETE", "PATCH", "get", "Purge" }) do
      local r = assert(http.request(method, url("/echo"), { body = "x" }))
      assert.equal(method:upper(), r.headers["x-method"])
      assert.equal("x", r.body)
    end
    local r = assert(http.request("PUT", url("/headers")))
    assert.matches("\r\nContent%-Length: 0\r\n", r.body)
  end)

  it("know that HEAD has no body", function()
    local r = assert(http.request("HEAD", url("/bytes/1000"), { max_bytes = 1 }))
    assert.equal("1000", r.headers["content-length"])
    assert.equal("", r.body)
    assert.equal("ok\n", assert(http.get(url("/ok"))).body)
  end)

  it("follow redirects as browsers do", function()
    local function method_after(method, status)
      local r = assert(http.request(method, url("/redirect-to/%d?/echo"):format(status),
        { body = "x" }))
      return r.headers["x-method"] .. " " .. r.body
    end
    assert.equal("GET ", method_after("POST", 302))
    assert.equal("GET ", method_after("POST", 303))
    assert.equal("POST x", method_after("POST", 307))
    assert.equal("PUT x", method_after("PUT", 302))
    assert.equal("PUT x", method_after("PUT", 308))
    assert.equal("GET ", method_after("PUT", 303))
    assert.equal("GET ", method_after("DELETE", 303))
  end)
end)

describe("failures of http:", function()
  it("URLs that are not http or https", function()
    fails("url", "empty", http.get, "")
    fails("url", "http://", http.get, "no scheme")
    fails("url", "http://", http.get, "ftp://127.0.0.1/")
    fails("url", "http://", http.get, "file:///etc/passwd")
    fails("url", "http://", http.sha256, "//127.0.0.1/")
    fails("url", "no host", http.get, "http:///path")
    fails("url", "NUL", http.get, url("/ok\0.evil"))
    fails("url", "127.0.0.1:99999", http.get, "http://127.0.0.1:99999/")
    fails("url", "%[::1", http.get, "http://[::1/")
    fails("url", "a b", http.get, "http://a b/")
    fails("url", "x%?%?Y: %?", http.get, url("/x\r\nY: \27"))
    fails("url", "longer", http.get, url("/" .. ("x"):rep(70000)))
  end)

  it("a password does not reach the message", function()
    local err = fails("connect", "http://127.0.0.1:1/a@b", http.get,
      "http://user:secret@127.0.0.1:1/a@b")
    assert.not_matches("secret", err.message)
    err = fails("url", "http", http.get, "ftp://user:secret@host/")
    assert.not_matches("secret", err.message)
  end)

  it("a name that does not resolve", function()
    fails("dns", "nowhere%.invalid", http.get, "http://nowhere.invalid/")
  end)

  it("nothing listens, or the connection breaks before the response", function()
    fails("connect", "refused", http.sha256, "http://127.0.0.1:1/")
    fails("connect", "/reset", http.get, url("/reset"))
  end)

  it("addresses that no job may reach, named in the message", function()
    local refused = {
      ["169.254.169.254"] = "metadata", ["2852039166"] = "metadata",
      ["0251.0376.0251.0376"] = "metadata", ["169.254.170.2"] = "metadata",
      ["0xa9.0xfe.1"] = "link%-local", ["0.0.0.0"] = "unspecified", ["0"] = "unspecified",
      ["224.0.0.1"] = "multicast", ["255.255.255.255"] = "broadcast", ["240.0.0.1"] = "reserved",
      ["[fe80::1]"] = "link%-local", ["[febf::1]"] = "link%-local", ["[fe80::1%25lo]"] = "link",
      ["[fd00:ec2::254]"] = "metadata", ["[ff02::1]"] = "multicast", ["[::]"] = "unspecified",
      ["[::ffff:169.254.169.254]"] = "metadata", ["[64:ff9b::a9fe:a9fe]"] = "metadata",
      ["[2002:a9fe:a9fe::1]"] = "metadata", ["[::169.254.169.254]"] = "metadata",
    }
    for host, class in pairs(refused) do
      fails("refused", "may not reach .*" .. class, http.get, "http://" .. host .. "/latest")
      fails("refused", class, http.sha256, url("/redirect-to?http://" .. host .. "/"))
    end
  end)

  it("a peer without TLS", function()
    fails("tls", "https://", http.get, (url("/ok"):gsub("^http", "https")))
  end)

  it("a certificate of an unknown authority, unless an option accepts it", function()
    local tls = fault.start_tls()
    fails("tls", "certificate", http.get, tls.url)
    fails("tls", "certificate", http.sha256, url("/redirect-to?" .. tls.url))
    assert.equal(200, assert(http.sha256(tls.url, { insecure = true })).status)
    fails("tls", "certificate", http.get, tls.url)
    tls.stop()
  end)

  it("endless redirects, or one to another scheme", function()
    fails("redirect", "more than 10", http.get, url("/redirect-loop"))
    fails("redirect", "more than 3", http.sha256, url("/redirect/4"), { max_redirects = 3 })
    assert.equal(200, assert(http.get(url("/redirect/3"), { max_redirects = 3 })).status)
    assert.equal(302, assert(http.sha256(url("/redirect/1"), { max_redirects = 0 })).status)
    fails("redirect", "file:///etc/passwd", http.get, url("/redirect-to?file:///etc/passwd"))
    fails("redirect", "ftp://", http.get, url("/redirect-to?ftp://127.0.0.1/"))
    fails("redirect", "gopher://", http.get, url("/redirect-to?gopher://127.0.0.1:1/_x"))
  end)

  it("a server that is too slow", function()
    fails("timeout", "0.2 s, 0 bytes", http.get, url("/silent"), { timeout = 0.2 })
    e2e.with_limit(0.2, function(seconds)
      fails("timeout", seconds .. " s, 500 bytes", http.sha256, url("/stall"),
        { timeout = seconds })
    end)
    fails("timeout", "0.2 s", http.get, url("/drip/20"), { timeout = 0.2 })
    fails("timeout", "0.1 s", http.get, url("/redirect-to?/slow/5000"), { timeout = 0.1 })
  end)

  it("go on after a host that takes no connection", function()
    local full = assert(socket.bind("127.0.0.1", 0, 0))
    local _, port = full:getsockname()
    local waiting = {}
    for i = 1, 3 do -- as many as its queue takes, and one that waits
      waiting[i] = socket.tcp()
      waiting[i]:settimeout(0)
      waiting[i]:connect("127.0.0.1", port)
    end
    finally(function()
      for _, client in ipairs(waiting) do client:close() end
      full:close()
    end)
    for _ = 1, 2 do
      fails("timeout", "no connection within 0.2 s", http.get,
        ("http://127.0.0.1:%d/"):format(port), { timeout = 5, connect_timeout = 0.2 })
      -- on a new connection, which gets the number of the socket that was given up
      assert.equal(200, assert(http.post(url("/echo"), "x")).status)
    end
  end)

  it("time in the queue does not count as time of the transfer", function()
    local calls = {}
    -- three rounds of what one origin gets at once, and some more, since the last may overtake
    -- those whose slice ended
    for i = 1, 3 * 64 + 16 do
      calls[i] = function() assert(http.get(url("/slow/300"), { timeout = 60 })) end
    end
    local queued
    local before = sys.now() -- of all: it takes time to begin so many
    calls[#calls + 1] = function()
      local r = assert(http.get(url("/slow/300"), { timeout = 60 }))
      queued = sys.now() - before - r.elapsed
    end
    together(calls)
    assert.is_true(queued > 2.9 * 0.3, queued)
  end)

  it("a body that is too large, decoded", function()
    for _, get in ipairs({ http.get, http.sha256 }) do
      assert.equal(1000, assert(get(url("/bytes/1000"), { max_bytes = 1000 })).bytes)
      fails("too_large", "999 bytes", get, url("/bytes/1000"), { max_bytes = 999 })
      fails("too_large", "999 bytes", get, url("/chunked/100000"), { max_bytes = 999 })
      fails("too_large", "100000 bytes", get, url("/gzip/10000000"),
        { max_bytes = 100000, compressed = true })
    end
    assert.equal(10000000, assert(http.sha256(url("/gzip/10000000"), { compressed = true })).bytes)
  end)

  it("headers that are too large", function()
    fails("too_large", "headers", http.get, url("/long-headers"))
  end)

  it("a body that ends early", function()
    fails("truncated", "after 500 bytes", http.get, url("/truncated"))
    fails("truncated", "after 500 bytes", http.sha256, url("/truncated"))
    fails("truncated", "early", http.sha256, url("/truncated-chunked"))
  end)

  it("responses that are not HTTP", function()
    fails("protocol", "is not HTTP", http.get, url("/garbage"))
    fails("decode", "/bad%-gzip", http.get, url("/bad-gzip"))
  end)

  it("do not affect later calls", function()
    for _ = 1, 3 do
      for _, path in ipairs({ "/truncated", "/garbage", "/reset", "/redirect-loop" }) do
        assert.is_nil((http.sha256(url(path), { max_redirects = 2 })))
        local r = assert(http.sha256(url("/bytes/100")))
        assert.equal(digest.sha256(bytes(100)), r.sha256)
      end
    end
  end)
end)

describe("misuse of http", function()
  local function raises(pattern, f, ...)
    local args = table.pack(...)
    local ok, message = pcall(function()
      local r = f(table.unpack(args, 1, args.n))
      return r
    end)
    assert.is_false(ok)
    assert.matches(pattern, message)
    assert.matches("http_spec%.lua:%d+:", message)
  end

  it("raises at the caller's line", function()
    raises("URL must be a string", http.get)
    raises("URL must be a string", http.sha256, {})
    raises("URL must be a string", http.get, 7)
    raises("did you mean 'timeout'", http.get, url("/ok"), { timout = 1 })
    raises("'timeout' must be a positive", http.get, url("/ok"), { timeout = 0 })
    raises("'timeout' must be a positive", http.get, url("/ok"), { timeout = 0 / 0 })
    raises("'max_bytes' must be an integer", http.get, url("/ok"), { max_bytes = 0 })
    raises("'max_redirects' must be an integer", http.get, url("/ok"), { max_redirects = 1.5 })
    raises("body must be a string", http.post, url("/ok"))
    raises("method must be a string", http.request, nil, url("/ok"))
    raises("method must be", http.request, "GET /evil HTTP/1.1\r\n", url("/ok"))
    raises("HEAD", http.request, "HEAD", url("/ok"), { body = "x" })
  end)

  it("includes headers with line breaks", function()
    local function with(name, value) return url("/ok"), { headers = { [name] = value } } end
    raises("value of header 'X'", http.get, with("X", "a\r\nEvil: 1"))
    raises("value of header 'X'", http.get, with("X", "a\nEvil: 1"))
    raises("value of header 'X'", http.get, with("X", "a\0b"))
    raises("value of header 'X'", http.get, with("X", { "fine", "a\rb" }))
    raises("value of header 'X'", http.get, with("X", true))
    raises("name of a header", http.get, with("X: 1\r\nEvil", "1"))
    raises("name of a header", http.get, with("X Y", "1"))
    raises("name of a header", http.get, with("", "1"))
    raises("name of a header", http.get, with(1, "X: 1"))
  end)

  it("includes waiting where nothing can wait", function()
    assert.error_matches(function()
      table.sort({ 2, 1 }, function() return http.get(url("/ok")) == nil end)
    end, "cannot wait")
  end)
end)

describe("the queue of http", function()
  it("runs at most 64 transfers to one origin", function()
    local fresh = fault.start()
    local calls = {}
    for i = 1, 150 do
      calls[i] = function() assert(http.get(fresh.url .. "/slow/100")) end
    end
    together(calls)
    assert.equal("64", assert(http.get(fresh.url .. "/peak")).body)
    fresh.stop()
  end)

  it("does not let a slow origin delay another", function()
    local other = fault.start()
    local slow_left, calls = 100, {}
    for i = 1, 100 do
      calls[i] = function()
        http.get(url("/slow/500"))
        slow_left = slow_left - 1
      end
    end
    calls[#calls + 1] = function()
      for _ = 1, 20 do assert(http.get(other.url .. "/ok")) end
      assert.equal(100, slow_left)
    end
    together(calls)
    other.stop()
  end)
end)

describe("a kept connection that breaks before the response", function()
  -- while idempotent requests are repeated
  for _, method in ipairs({ "POST", "PATCH" }) do
    it(("does not make a %s be sent twice"):format(method), function()
      assert(http.get(url("/ok"))) -- whose connection is kept
      local _, err = http.request(method, url("/dies/" .. method), { body = "x" })
      assert.is_true(errors.is(err))
      local count = assert(http.get(url("/counts"))).body:match('"' .. method .. '":(%d+)')
      assert.equal("1", count)
    end)
  end

  it("is not seen by a GET", function()
    for i = 1, 3 do
      assert(http.get(url("/ok")))
      http.get(url("/dies/GET" .. i))
      assert.equal("ok\n", assert(http.get(url("/ok"))).body)
    end
  end)
end)
