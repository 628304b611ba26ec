-- SPDX-License-Identifier: MIT
-- An HTTP/1.1 server that misbehaves on request. Prints "port N", serves 127.0.0.1, and ends with
-- its standard input. Has one coroutine per connection.
--
--   /ok  /status/N  /headers (the request's head)  /echo (the request's body)
--   /bytes/N  /chunked/N (bytes 0 to 250, repeated)  /gzip  /gzip/N (N zero bytes)
--   /bomb/N (N MiB of zero bytes, as many parts of gzip)
--   /redirect/N (N times)  /redirect-loop  /redirect-to?URL  /redirect-to/STATUS?URL
--   /count/KEY (how often so far)  /dies/KEY (counts, and closes without an answer)
--   /counts (all, JSON)  /peak (most /slow at once; forgets)
--   /slow/MS  /stall (half a body)  /drip/MS (one byte each MS)  /silent  /reset  /garbage
--   /truncated  /truncated-chunked  /bad-gzip  /long-headers (300 KiB)
--   /raw/BYTES (percent encoded: sends these as the whole answer, and closes)
--   /header/N (a header with a value of N bytes)
--   /no-head/STATUS  /no-head/close (what HEAD gets; GET gets "ok")

local socket = require("socket")

local REASONS = { [200] = "OK", [204] = "No Content", [302] = "Found", [404] = "Not Found" }
local BLOCK = {}
for i = 0, 250 do BLOCK[#BLOCK + 1] = string.char(i) end
BLOCK = table.concat(BLOCK):rep(256)

local counts, compressed = {}, {}
local slow, peak = 0, 0

-- ---- waiting: a coroutine yields what it is waiting for ----

local function wait_readable() coroutine.yield("read") end
local function wait_writable() coroutine.yield("write") end
local function sleep(seconds) coroutine.yield("time", socket.gettime() + seconds) end

-- Ends the coroutine of a connection that the client has closed.
local GONE = {}

local function receive(conn)
  while true do
    local data, err, part = conn.socket:receive(16384)
    data = data or part
    if data and #data > 0 then
      conn.buffer = conn.buffer .. data
      return
    end
    if err ~= "timeout" then error(GONE) end
    wait_readable()
  end
end

local function send(conn, data)
  local sent = 0
  while sent < #data do
    local last, err, part = conn.socket:send(data, sent + 1)
    sent = last or part
    if not last then
      if err ~= "timeout" then error(GONE) end
      wait_writable()
    end
  end
end

-- ---- answers ----

local function head(status, headers)
  return ("HTTP/1.1 %d %s\r\n%s\r\n"):format(status, REASONS[status] or "Whatever",
    (headers:gsub("\n", "\r\n")))
end

local function answer(conn, status, body, headers)
  local text = head(status, ("Content-Length: %d\n%s"):format(#body, headers or ""))
  send(conn, conn.method == "HEAD" and text or text .. body)
end

local function redirect(conn, status, to)
  answer(conn, status, "moved\n", "Location: " .. to .. "\n")
end

local function blocks(total)
  local at = 0
  return function()
    if at >= total then return nil end
    local piece = BLOCK:sub(1, math.min(#BLOCK, total - at))
    at = at + #piece
    return piece
  end
end

local function gzip(command)
  if not compressed[command] then
    local pipe = assert(io.popen(command .. " | gzip -9n"))
    compressed[command] = pipe:read("a")
    pipe:close()
  end
  return compressed[command]
end

local function close(conn)
  conn.socket:close()
  error(GONE)
end

local function hold(conn)
  while true do
    conn.buffer = ""
    receive(conn)
  end
end

local routes = {}

routes["^/ok$"] = function(conn) answer(conn, 200, "ok\n") end
routes["^/status/(%d+)$"] = function(conn, n) answer(conn, tonumber(n), n .. "\n") end
routes["^/headers$"] = function(conn)
  answer(conn, 200, conn.head,
    "X-Twice: one\nX-TWICE:two  \nSet-Cookie: a=1, b\nSet-Cookie: c=2\nX-Empty:\n")
end
routes["^/echo$"] = function(conn)
  answer(conn, 200, conn.body, "X-Method: " .. conn.method .. "\n")
end
routes["^/bytes/(%d+)$"] = function(conn, n)
  send(conn, head(200, "Content-Length: " .. n .. "\n"))
  if conn.method == "HEAD" then return end
  for piece in blocks(tonumber(n)) do send(conn, piece) end
end
routes["^/chunked/(%d+)$"] = function(conn, n)
  send(conn, head(200, "Transfer-Encoding: chunked\n"))
  for piece in blocks(tonumber(n)) do send(conn, ("%x\r\n%s\r\n"):format(#piece, piece)) end
  send(conn, "0\r\n\r\n")
end
routes["^/gzip$"] = function(conn)
  answer(conn, 200, gzip("printf 'hello, gzip'"), "Content-Encoding: gzip\n")
end
routes["^/gzip/(%d+)$"] = function(conn, n)
  answer(conn, 200, gzip("head -c " .. n .. " /dev/zero"), "Content-Encoding: gzip\n")
end
routes["^/bomb/(%d+)$"] = function(conn, mib)
  answer(conn, 200, gzip("head -c 1048576 /dev/zero"):rep(tonumber(mib)),
    "Content-Encoding: gzip\n")
end
routes["^/bad%-gzip$"] = function(conn)
  answer(conn, 200, "this was never compressed", "Content-Encoding: gzip\n")
end
routes["^/redirect/(%d+)$"] = function(conn, n)
  redirect(conn, 302, tonumber(n) <= 1 and "/ok" or "/redirect/" .. math.tointeger(n) - 1)
end
routes["^/redirect%-loop$"] = function(conn) redirect(conn, 302, "/redirect-loop") end
routes["^/redirect%-to%?(.*)$"] = function(conn, to) redirect(conn, 302, to) end
routes["^/redirect%-to/(%d+)%?(.*)$"] = function(conn, n, to) redirect(conn, tonumber(n), to) end
routes["^/count/(.+)$"] = function(conn, key)
  counts[key] = (counts[key] or 0) + 1
  answer(conn, 200, tostring(counts[key]))
end
routes["^/dies/(.+)$"] = function(conn, key)
  counts[key] = (counts[key] or 0) + 1
  close(conn)
end
routes["^/counts$"] = function(conn)
  local members = {}
  for key, n in pairs(counts) do
    members[#members + 1] = ('"%s":%d'):format(key:gsub('[%c"\\]', "?"), n)
  end
  answer(conn, 200, "{" .. table.concat(members, ",") .. "}")
end
routes["^/peak$"] = function(conn)
  answer(conn, 200, tostring(peak))
  peak = slow
end
routes["^/slow/(%d+)$"] = function(conn, ms)
  slow = slow + 1
  peak = math.max(peak, slow)
  sleep(tonumber(ms) / 1000)
  slow = slow - 1
  answer(conn, 200, "slow\n")
end
routes["^/stall$"] = function(conn)
  send(conn, head(200, "Content-Length: 1000\n") .. BLOCK:sub(1, 500))
  hold(conn)
end
routes["^/drip/(%d+)$"] = function(conn, ms)
  send(conn, head(200, "Content-Length: 1000000\n"))
  while true do
    send(conn, ".")
    sleep(tonumber(ms) / 1000)
  end
end
routes["^/silent$"] = hold
routes["^/reset$"] = function(conn)
  conn.socket:setoption("linger", { on = true, timeout = 0 })
  close(conn)
end
routes["^/garbage$"] = function(conn)
  send(conn, "220 this is no web server\r\n\r\n")
  close(conn)
end
routes["^/truncated$"] = function(conn)
  send(conn, head(200, "Content-Length: 1000\n") .. BLOCK:sub(1, 500))
  close(conn)
end
routes["^/truncated%-chunked$"] = function(conn)
  send(conn, head(200, "Transfer-Encoding: chunked\n") .. "5\r\nhello\r\n")
  close(conn)
end
routes["^/raw/(.*)$"] = function(conn, bytes)
  send(conn, (bytes:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)))
  close(conn)
end
routes["^/header/(%d+)$"] = function(conn, n)
  answer(conn, 200, "ok\n", "X-Long: " .. ("x"):rep(tonumber(n)) .. "\n")
end
routes["^/no%-head/(%w+)$"] = function(conn, what)
  if conn.method ~= "HEAD" then return answer(conn, 200, "ok\n") end
  if what == "close" then close(conn) end
  answer(conn, tonumber(what), "no\n")
end
routes["^/long%-headers$"] = function(conn)
  answer(conn, 200, "", ("X-Long: " .. ("x"):rep(1000) .. "\n"):rep(300))
end

-- ---- connections ----

local function read_request(conn)
  if conn.buffer == "" then receive(conn) end
  if conn.buffer:byte() == 0x16 then -- TLS
    answer(conn, 400, "speak plainly\n")
    close(conn)
  end
  while not conn.buffer:find("\r\n\r\n", 1, true) do receive(conn) end
  local stop = select(2, conn.buffer:find("\r\n\r\n", 1, true))
  conn.head, conn.buffer = conn.buffer:sub(1, stop), conn.buffer:sub(stop + 1)
  conn.method, conn.path = conn.head:match("^(%S+) (%S+)")
  local length = tonumber(conn.head:lower():match("\r\ncontent%-length: *(%d+)")) or 0
  while #conn.buffer < length do receive(conn) end
  conn.body, conn.buffer = conn.buffer:sub(1, length), conn.buffer:sub(length + 1)
end

local function respond(conn)
  for pattern, route in pairs(routes) do
    local a, b = (conn.path or ""):match(pattern)
    if a then return route(conn, a, b) end
  end
  answer(conn, 404, "not found\n")
end

local function serve(conn)
  while true do
    read_request(conn)
    respond(conn)
  end
end

local waiting = {} -- socket -> {thread, what, when}

local function resume(sock, thread, conn)
  local ok, what, when = coroutine.resume(thread, conn)
  if ok and coroutine.status(thread) == "suspended" then
    waiting[sock] = { thread = thread, what = what, when = when }
    return
  end
  if not ok and what ~= GONE then io.stderr:write(debug.traceback(thread, what), "\n") end
  waiting[sock] = nil
  sock:close()
end

local server = assert(socket.bind("127.0.0.1", 0, 1024))
server:settimeout(0)
local stdin = { getfd = function() return 0 end, dirty = function() return false end }

local function accept_all()
  while true do
    local sock = server:accept()
    if not sock then return end
    if sock:getfd() >= socket._SETSIZE then
      sock:close()
    else
      sock:settimeout(0)
      sock:setoption("tcp-nodelay", true)
      resume(sock, coroutine.create(serve), { socket = sock, buffer = "" })
    end
  end
end

local function wait_all()
  local readers, writers, soonest = { server, stdin }, {}, nil
  for sock, entry in pairs(waiting) do
    if entry.what == "read" then readers[#readers + 1] = sock end
    if entry.what == "write" then writers[#writers + 1] = sock end
    if entry.when and (not soonest or entry.when < soonest) then soonest = entry.when end
  end
  local timeout = soonest and math.max(0, soonest - socket.gettime())
  return socket.select(readers, writers, timeout)
end

io.stdout:write("port ", select(2, server:getsockname()), "\n")
io.stdout:flush()
while true do
  local readable, writable = wait_all()
  if readable[stdin] and not io.read(1) then os.exit(0) end
  if readable[server] then accept_all() end
  local now, due = socket.gettime(), {}
  for sock, entry in pairs(waiting) do
    if readable[sock] or writable[sock] or (entry.when and entry.when <= now) then
      due[sock] = entry.thread
    end
  end
  for sock, thread in pairs(due) do resume(sock, thread) end
end
