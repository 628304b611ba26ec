-- SPDX-License-Identifier: MIT
-- fleet.http with responses of all kinds: heads that end early or are folded, trailers, compressed
-- bodies whole and cut off, names beyond ASCII, cookies of redirects.

local digest = require("fleet.digest")
local errors = require("fleet.errors")
local fault = require("spec.support.fault")
local http = require("fleet.http")
local task = require("host.task")

local server

setup(function() server = fault.start() end)
teardown(function() server.stop() end)

local function url(path) return server.url .. path end

--- The URL at which the server sends these bytes and closes.
local function raw(bytes)
  return url("/raw/" .. bytes:gsub("[^%w]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local OK, END = "HTTP/1.1 200 OK\r\n", "Connection: close\r\n\r\n"

local function get(bytes, options) return http.get(raw(bytes), options) end

local function fails(kind, pattern, page, err)
  assert.is_nil(page)
  assert.is_true(errors.is(err))
  assert.equal(kind, err.kind, err.message)
  assert.matches(pattern, err.message)
  assert.not_matches("[Ww]riting", err.message) -- curl's words for a callback that refuses
  return err
end

describe("the head of a response", function()
  it("that ends early is no response, with and without headers before its end", function()
    for _, bytes in ipairs({
      OK, OK .. "Content-Length: 5\r\n", OK .. "Content-Length: 0\r\n", OK .. "Content-Len",
      "HTTP/1.0 200 OK\r\nX: 1\r\n", "HTTP/1.1 404 Not Found\r\nServer: x\r\n",
      "HTTP/1.1 302 Found\r\nServer: x\r\n",
      "HTTP/1.1 302 Found\r\nLocation: /ok\r\n", -- curl may follow it: the error is the same
      "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" .. OK,
    }) do
      fails("truncated", "within its headers", get(bytes))
      fails("truncated", "within its headers", http.sha256(raw(bytes)))
      fails("truncated", "within its headers", http.request("HEAD", raw(bytes)))
    end
    for _, bytes in ipairs({ "", "HTTP/1.1 20", "HTTP/1.1 100 Continue\r\n\r\n" }) do
      fails("connect", "closed before a response", get(bytes))
    end
  end)

  it("may be the status line alone", function()
    assert.equal("body", assert(get(OK .. "\r\nbody")).body)
    assert.equal("old", assert(get("HTTP/1.0 200 OK\r\n\r\nold")).body)
    assert.equal("", assert(get("HTTP/1.1 204 No Content\r\n\r\n")).body)
    assert.equal("late", assert(get("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" .. OK
      .. END .. "late")).body)
  end)

  it("joins folded headers into one line, with a space for each fold", function()
    local r = assert(get(OK .. "X-Long: first\r\n second: half\r\n"
      .. "X-More: a \r\n\t b\r\n  \r\n c\r\nX-Late:\r\n  value\r\n" .. END .. "ok"))
    assert.equal("first second: half", r.headers["x-long"])
    assert.equal("a b c", r.headers["x-more"])
    assert.equal("value", r.headers["x-late"])
    assert.equal("close", r.headers.connection)
    for name in pairs(r.headers) do assert.not_matches("^%s", name) end
  end)

  it("is not mixed with trailers", function()
    local function chunked(trailers)
      return OK .. "Transfer-Encoding: chunked\r\nX-Sum: head\r\n\r\n2\r\nok\r\n0\r\n" .. trailers
        .. "\r\n"
    end
    local r = assert(get(chunked("X-Sum: tail\r\nX-Sum: more\r\nSet-Cookie: a=1\r\n")))
    assert.equal("ok", r.body)
    assert.equal("head", r.headers["x-sum"])
    assert.is_nil(r.headers["set-cookie"])
    assert.same({ ["x-sum"] = "tail, more", ["set-cookie"] = { "a=1" } }, r.trailers)
    assert.is_nil(assert(get(chunked(""))).trailers)
    assert.is_nil(assert(http.sha256(raw(chunked("X: 1\r\n")))).headers)
  end)

  it("may be large, but not too large", function()
    local function with(n) return url("/header/" .. n) end
    local r = assert(http.get(with(90000)))
    assert.equal(90000, #r.headers["x-long"])
    for _, ask in ipairs({ http.get, http.sha256 }) do
      fails("too_large", "header is larger than 100 KiB", ask(with(120000)))
      fails("too_large", "headers are larger than 256 KiB", ask(url("/long-headers")))
    end
  end)

  it("has its status in the error when the rest fails", function()
    local err = fails("truncated", "after 2 bytes",
      get("HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nno"))
    assert.equal(404, err.status)
    assert.equal(200, fails("too_large", "max_bytes", get(OK .. END .. "ok",
      { max_bytes = 1 })).status)
    assert.is_nil(fails("connect", "closed", get("")).status)
    assert.is_nil(fails("connect", "refused", http.get("http://127.0.0.1:1/")).status)
  end)
end)

-- ---- compressed bodies ----

local function gzip(text)
  local path = os.tmpname()
  local pipe = assert(io.popen("gzip -9n >" .. path, "w"))
  pipe:write(text)
  pipe:close()
  local file = assert(io.open(path, "rb"))
  local bytes = file:read("a")
  file:close()
  os.remove(path)
  return bytes
end

local function adler32(text)
  local a, b = 1, 0
  for i = 1, #text do
    a = (a + text:byte(i)) % 65521
    b = (b + a) % 65521
  end
  return (">I2I2"):pack(b, a)
end

describe("a compressed body", function()
  local TEXT, packed, deflated = {}, nil, nil

  setup(function()
    for i = 1, 3000 do TEXT[i] = i .. " " end
    TEXT = table.concat(TEXT)
    packed = gzip(TEXT)
    deflated = packed:sub(11, -9) -- without gzip's header and trailer
  end)

  local function encoded(coding, body, options)
    return get(OK .. "Content-Encoding: " .. coding .. "\r\n" .. END .. body, options)
  end

  it("is decoded under each name of its coding", function()
    local bodies = {
      ["gzip"] = packed, ["X-GZIP"] = packed, ["identity, gzip"] = packed,
      ["\r\n gzip"] = packed, ["deflate"] = "\x78\x9c" .. deflated .. adler32(TEXT),
      ["Deflate"] = deflated, ["identity"] = TEXT,
    }
    for coding, body in pairs(bodies) do
      local r = assert(encoded(coding, body))
      assert.equal(TEXT, r.body, coding)
      assert.equal(#TEXT, r.bytes)
      r = assert(http.sha256(raw(OK .. "Content-Encoding: " .. coding .. "\r\n" .. END .. body),
        { compressed = true }))
      assert.equal(digest.sha256(TEXT), r.sha256)
    end
    assert.equal("", assert(encoded("gzip", "")).body)
    assert.equal("", assert(encoded("deflate", gzip(""):sub(11, -9))).body)
    assert.equal("\x0b\x02", assert(encoded("br", "\x0b\x02", { compressed = false })).body)
  end)

  it("is requested with the codings that can be decoded", function()
    local head = assert(http.get(url("/headers"))).body
    assert.equal("gzip, deflate", head:match("\r\nAccept%-Encoding: ([^\r]*)\r\n"))
  end)

  it("that is cut off anywhere is an error", function()
    local zlib = "\x78\x9c" .. deflated .. adler32(TEXT)
    for _, cut in ipairs({ 1, 4, 8, 9, 100, #deflated // 2 }) do
      for coding, body in pairs({ gzip = packed, deflate = zlib }) do
        fails("truncated", "ended early", encoded(coding, body:sub(1, -cut - 1)))
      end
    end
    fails("truncated", "ended early", encoded("gzip", packed:sub(1, 5)))
    fails("truncated", "ended early", encoded("deflate", deflated:sub(1, -2)))
    fails("truncated", "ended early", http.sha256(raw(OK .. "Content-Encoding: gzip\r\n" .. END
      .. packed:sub(1, 3000)), { compressed = true }))
  end)

  it("may have several parts and zero bytes behind them, and nothing else", function()
    local parts = gzip("one,") .. gzip("") .. gzip("two")
    assert.equal("one,two", assert(encoded("gzip", parts)).body)
    assert.equal("one,two", assert(encoded("gzip", parts .. ("\0"):rep(600))).body)
    fails("truncated", "after 7 decoded", encoded("gzip", parts:sub(1, -2)))
    fails("truncated", "ended early", encoded("gzip", parts .. "\x1f"))
    for _, rubbish in ipairs({ "rubbish", "\0\0x", "\x1frubbish", "\0" .. parts }) do
      fails("decode", "has other bytes behind its gzip data",
        encoded("gzip", parts .. rubbish))
    end
    fails("decode", "has other bytes behind its deflate data",
      encoded("deflate", deflated .. deflated))
  end)

  it("that is corrupt or has another coding is an error that names the coding", function()
    fails("decode", "not valid gzip", encoded("gzip", "plain text"))
    fails("decode", "not valid gzip.*data check",
      encoded("gzip", packed:sub(1, -9) .. "\1\2\3\4" .. packed:sub(-4)))
    fails("decode", "not valid gzip.*length check",
      encoded("gzip", packed:sub(1, -5) .. "\1\2\3\4"))
    fails("decode", "not valid deflate", encoded("deflate", "\x78\x9c\xff\xff\xff"))
    fails("decode", "'br', but only gzip and deflate can be decoded", encoded("br", "\x0b\x02"))
    fails("decode", "'zstd'", encoded("zstd", "\x28\xb5"))
    fails("decode", "'a%?%[31mb'", encoded("a\27[31mb", "x"))
    fails("decode", "'gzip, gzip'", encoded("gzip, gzip", gzip(packed)))
    fails("decode", "'gzip,deflate'", encoded("gzip\r\nContent-Encoding: deflate", packed))
  end)

  it("may have no transfer coding but chunked", function()
    local function sent(coding, body)
      return raw(OK .. "Transfer-Encoding: " .. coding .. "\r\n" .. END
        .. ("%x\r\n%s\r\n0\r\n\r\n"):format(#body, body))
    end
    assert.equal("ok", assert(http.get(sent("Chunked", "ok"))).body)
    assert.equal("ok", assert(get(OK .. "Transfer-Encoding: identity\r\n" .. END .. "ok")).body)
    for _, coding in ipairs({ "gzip, chunked", "deflate,chunked", "x-rot13, chunked" }) do
      for _, options in ipairs({ { compressed = true }, { compressed = false } }) do
        fails("decode", "transfer coding", http.get(sent(coding, gzip("x")), options))
      end
    end
  end)

  it("may have max_bytes after decoding", function()
    local bomb = gzip(("\0"):rep(3000000))
    fails("too_large", "1000 bytes", encoded("gzip", bomb, { max_bytes = 1000 }))
    fails("too_large", "3999 bytes", encoded("gzip", gzip(("x"):rep(2000)):rep(2),
      { max_bytes = 3999 }))
    assert.equal(4000, assert(encoded("gzip", gzip(("x"):rep(2000)):rep(2),
      { max_bytes = 4000 })).bytes)
  end)
end)

-- 3 MB, which are 3 GB decoded, arrive at once.
describe("a body that is far larger decoded", function()
  it("ends at its time limit and does not block other tasks", function()
    local left, gaps, running = 20, 0, true
    local done = task.event()
    task.spawn(function()
      while running do
        local before = os.clock() -- of the processor: the machine may be busy
        task.sleep(0.01)
        gaps = math.max(gaps, os.clock() - before)
      end
    end)
    for i = 1, left do
      task.spawn(function()
        local options = { compressed = true, timeout = 0.2 + i / 100 }
        local _, err = http.sha256(url("/bomb/3000"), options)
        assert.equal("timeout", err.kind)
        left = left - 1
        if left == 0 then done:notify() end
      end)
    end
    assert(done:wait(60))
    running = false
    assert.is_true(gaps < 1, gaps)
    local bomb = url("/bomb/100")
    assert.equal(100 << 20, assert(http.sha256(bomb, { compressed = true })).bytes)
    fails("too_large", "max_bytes", http.get(bomb))
  end)
end)

-- ---- URLs ----

describe("a URL", function()
  local port
  setup(function() port = server.url:match(":(%d+)$") end)

  local function at(host) return ("http://%s:%s/ok"):format(host, port) end

  it("may have a host beyond ASCII, which is returned in ASCII", function()
    local hosts = {
      ["bücher.localhost"] = "xn--bcher-kva.localhost",
      ["BÜCHER.localhost"] = "xn--bcher-kva.localhost",
      ["b%C3%BCcher.localhost"] = "xn--bcher-kva.localhost",
      ["bu\u{308}cher.localhost"] = "xn--bcher-kva.localhost",
      ["straße.localhost"] = "xn--strae-oqa.localhost",
      ["пример.localhost"] = "xn--e1afmkfd.localhost",
      ["例え。localhost"] = "xn--r8jz45g.localhost",
      ["☃.localhost"] = "xn--n3h.localhost",
      ["１２７.０.０.１"] = "127.0.0.1",
    }
    for host, ascii in pairs(hosts) do
      local r = assert(http.get(at(host)))
      assert.equal("ok\n", r.body)
      assert.equal(at(ascii), r.url)
      r = assert(http.sha256(url("/redirect-to?" .. at(host))))
      assert.equal(at(ascii), r.url)
    end
  end)

  it("with an invalid host is refused", function()
    for _, host in ipairs({
      "localhost／x", "x＠localhost", "x？.localhost", "xn--ü.localhost", "b\xfccher.localhost",
      "%FFx.localhost", "ü%00.localhost", "ü x.localhost", ("ü"):rep(64) .. ".localhost",
      ("ü."):rep(300) .. "localhost", ("ü"):rep(2000), "\u{ad}",
    }) do
      local err = fails("url", "the host name is not valid", http.get(at(host)))
      assert.is_truthy(utf8.len(err.message))
    end
    fails("url", "a redirect led here; the host name is not valid",
      http.get(url("/redirect-to?" .. at("xn--ü.localhost"))))
  end)

  it("may have blanks around it", function()
    for _, blanks in ipairs({ " ", "\t", "\r", " \t \r\n", "\f" }) do
      local r = assert(http.get(blanks .. url("/ok") .. blanks))
      assert.equal("ok\n", r.body)
      assert.equal(url("/ok"), r.url)
    end
    fails("url", "empty", http.get(" \t\r\n"))
    fails("url", "NUL", http.get(url("/ok") .. "\0 "))
  end)

  it("beyond ASCII passes the address filter", function()
    fails("refused", "metadata", http.get("http://１６９.２５４.１６９.２５４/"))
  end)
end)

-- ---- cookies ----

describe("cookies of a redirect", function()
  local function moved(to, ...)
    local cookies = {}
    for i, cookie in ipairs({ ... }) do cookies[i] = "Set-Cookie: " .. cookie .. "\r\n" end
    return raw("HTTP/1.1 302 Found\r\n" .. table.concat(cookies) .. "Location: " .. to
      .. "\r\nContent-Length: 0\r\n" .. END)
  end
  local function cookie_of(page) return page.body:match("\r\nCookie: ([^\r]*)\r\n") end

  it("are sent on if an option says so, and not with other requests", function()
    local from = moved("/headers", "sid=1; Path=/", "lang=de; Path=/")
    for _ = 1, 2 do
      assert.same("lang=de; sid=1", (function()
        local list = {}
        local sent = cookie_of(assert(http.get(from, { cookies = true })))
        for cookie in sent:gmatch("[^; ]+") do list[#list + 1] = cookie end
        table.sort(list)
        return table.concat(list, "; ")
      end)())
      assert.is_nil(cookie_of(assert(http.get(from))))
      assert.is_nil(cookie_of(assert(http.get(from, { cookies = false }))))
      assert.is_nil(cookie_of(assert(http.get(url("/headers"), { cookies = true }))))
    end
    local both = assert(http.get(from, { cookies = true, headers = { Cookie = "own=1" } }))
    assert.matches("sid=1", both.body)
    assert.matches("own=1", both.body)
  end)

  it("are not sent to another host or outside their path", function()
    local other = server.url:gsub("127%.0%.0%.1", "other.localhost")
    local page = assert(http.get(moved(other .. "/headers", "sid=1; Path=/"), { cookies = true }))
    assert.equal(other .. "/headers", page.url)
    assert.is_nil(cookie_of(page))
    assert.is_nil(cookie_of(assert(http.get(moved("/headers", "sid=1; Path=/raw"),
      { cookies = true }))))
  end)

  it("are sent to their host when it is beyond ASCII", function()
    local host = server.url:gsub("127%.0%.0%.1", "bücher.localhost")
    local page = assert(http.get(moved("/headers", "sid=1; Path=/"):gsub("127%.0%.0%.1",
      "bücher.localhost"), { cookies = true }))
    assert.equal("sid=1", cookie_of(page))
    page = assert(http.get(moved(host .. "/headers", "sid=1; Path=/"):gsub("127%.0%.0%.1",
      "xn--bcher-kva.localhost"), { cookies = true }))
    assert.equal("sid=1", cookie_of(page))
  end)
end)
