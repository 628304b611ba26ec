-- SPDX-License-Identifier: MIT
-- A proxy whose connections can be broken: lua5.4 proxy.lua ADDRESS [FILE]. It forwards 127.0.0.1:N
-- to an address HOST:PORT, or PATH.proxy to the path of a socket, and prints "address ..." with its
-- own. Appends what it forwards to the file, and ends with its standard input. A line "reset" there
-- breaks all connections at both ends (over TCP with RST) and prints "reset N"; new connections are
-- still accepted.

local socket = require("socket")
local unix = require("socket.unix")

local place = arg[1]
local host, port = place:match("^([^/]+):(%d+)$")
local record = arg[2] and assert(io.open(arg[2], "ab"))
local peers, unsent, pairs_open = {}, {}, 0 -- by socket: the other end; bytes for this end

local function link(a, b)
  peers[a], peers[b], unsent[a], unsent[b] = b, a, "", ""
  pairs_open = pairs_open + 1
end

local function unlink(a, by_reset)
  local b = peers[a]
  if not b then return end
  peers[a], peers[b], unsent[a], unsent[b] = nil, nil, nil, nil
  pairs_open = pairs_open - 1
  for _, sock in ipairs({ a, b }) do
    if by_reset and host then sock:setoption("linger", { on = true, timeout = 0 }) end
    sock:close()
  end
end

local function listen()
  if host then
    local server = assert(socket.bind("127.0.0.1", 0))
    return server, "127.0.0.1:" .. select(2, server:getsockname())
  end
  local server, path = unix.stream(), place .. ".proxy"
  assert(server:bind(path))
  assert(server:listen())
  return server, path
end

local function connect()
  if host then return socket.connect(host, port) end
  local far = unix.stream()
  if far:connect(place) then return far end
  far:close()
end

local function accept(server)
  local near = server:accept()
  local far = near and connect()
  if not far then
    if near then near:close() end
    return
  end
  for _, sock in ipairs({ near, far }) do
    sock:settimeout(0)
    if host then sock:setoption("tcp-nodelay", true) end
  end
  link(near, far)
end

local function send(sock)
  local last, err, part = sock:send(unsent[sock])
  if not last and err ~= "timeout" then return unlink(sock) end
  unsent[sock] = unsent[sock]:sub((last or part) + 1)
end

local function receive(sock)
  local data, err, part = sock:receive(65536)
  data = data or part
  if #data > 0 then
    if record then record:write(data):flush() end
    unsent[peers[sock]] = unsent[peers[sock]] .. data
    send(peers[sock])
  elseif err ~= "timeout" then
    unlink(sock)
  end
end

local server, address = listen()
local stdin = { getfd = function() return 0 end, dirty = function() return false end }
io.stdout:setvbuf("no")
io.stdout:write("address ", address, "\n")

while true do
  local readers, writers = { server, stdin }, {}
  for sock, peer in pairs(peers) do
    -- a peer that does not read blocks the other end
    if #unsent[peer] < 1 << 20 then readers[#readers + 1] = sock end
    if #unsent[sock] > 0 then writers[#writers + 1] = sock end
  end
  local readable, writable = socket.select(readers, writers)
  for _, sock in ipairs(writable) do
    if peers[sock] then send(sock) end
  end
  for _, sock in ipairs(readable) do
    if peers[sock] then receive(sock) end
  end
  if readable[server] then accept(server) end
  if readable[stdin] then
    if io.read("l") ~= "reset" then os.exit(0) end
    local count = pairs_open
    while next(peers) do unlink(next(peers), true) end
    io.stdout:write("reset ", count, "\n")
  end
end
