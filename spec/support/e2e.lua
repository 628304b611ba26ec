-- SPDX-License-Identifier: MIT
-- Helpers for end-to-end specs: a world with a temporary folder, nodes, web servers and runs of the
-- program, all of which end with it:
--
--   local world
--   before_each(function() world = e2e.new() end)
--   after_each(function() world:close() end)
--
-- The environment variable MOONFLEET names the program under test. Every process is a child of the
-- process that runs the specs, which waits for it, so exit codes and signals are exact. Time limits
-- here make no claim about speed: they only end specs that would wait forever.

local http = require("fleet.http")
local json = require("fleet.json")
local lfs = require("lfs")
local socket = require("socket")
local stream = require("host.stream")
local sys = require("host.sys")
local task = require("host.task")

local e2e = {}

e2e.program = os.getenv("MOONFLEET") or lfs.currentdir() .. "/build/moonfleet"
--- Whether the program is built with a sanitizer: slower, and with other memory sizes.
e2e.sanitized = e2e.program:find("/[at]san/") ~= nil

local LIMIT = e2e.sanitized and 300 or 60
local POLL = 0.01

local function quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

local function command_line(words)
  local quoted = {}
  for i, word in ipairs(words) do quoted[i] = quote(word) end
  return table.concat(quoted, " ")
end

--- Waits until `predicate` returns a true value, and returns that; raises after `seconds`.
---@param what string for the error
---@param predicate fun(): any
---@param seconds number|nil
function e2e.wait_until(what, predicate, seconds)
  local give_up = sys.now() + (seconds or LIMIT)
  while true do
    local value = predicate()
    if value then return value end
    if sys.now() > give_up then error(("waited too long for %s"):format(what), 2) end
    task.sleep(POLL)
  end
end

--- Calls `check` with a time limit that the spec needs to be short, such as that of an item. On a
--- busy machine, what is well within the limit may take longer: while the check raises, it is
--- repeated with four times the limit, up to a minute.
---@param seconds number the first limit
---@param check fun(seconds: number)
function e2e.with_limit(seconds, check)
  while true do
    local ok, err = pcall(check, seconds)
    if ok then return end
    if seconds * 4 > 60 then error(err, 0) end
    seconds = seconds * 4
  end
end

--- Returns the content of a file, or nil if it does not exist.
---@param path string
---@return string|nil
function e2e.read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("a")
  file:close()
  return text
end

--- Whether a file or a folder of that name exists.
---@param path string
---@return boolean
function e2e.exists(path) return lfs.attributes(path, "mode") ~= nil end

--- Returns the addresses as what a cluster is opened with.
---@param addresses string[]
---@return fleet.NodeSources
function e2e.sources(addresses)
  local members = {}
  for i, address in ipairs(addresses) do members[i] = { id = address, address = address } end
  return { members = members, discoveries = {} }
end

--- Returns the lines of a text, without their line ends.
---@param text string
---@return string[]
function e2e.lines(text)
  local list = {}
  for line in text:gmatch("([^\n]*)\n") do list[#list + 1] = line end
  return list
end

--- Returns the values of JSON Lines; raises if a line is not JSON.
---@param text string
---@return any[]
function e2e.results(text)
  local list = e2e.lines(text)
  for i, line in ipairs(list) do list[i] = assert(json.decode(line)) end
  return list
end

--- Returns the row of a node in the closing table of a run.
---@param run {err: string}
---@param node {name: string}
---@return integer ok
---@return integer failed
function e2e.share(run, node)
  for _, line in ipairs(e2e.lines(run.err)) do
    local name, ok, failed = line:match("^(%S+) +(%d+) +(%d+) +[<>]?%d+%%$")
    if name == node.name then return math.tointeger(ok), math.tointeger(failed) end
  end
  error(("nothing is said of %s in:\n%s"):format(node.name, run.err), 2)
end

-- ---- any processes ----

-- Returns state ("R", "S", "Z", ...) and parent of a process, or nil if it does not exist.
local function stat(pid)
  local text = e2e.read(("/proc/%d/stat"):format(pid))
  local state, parent = (text or ""):match("^.*%) (%a) (%d+)")
  return state, tonumber(parent)
end

--- Whether a process runs; a zombie does not.
---@param pid integer
function e2e.alive(pid)
  local state = stat(pid)
  return state ~= nil and state ~= "Z"
end

--- Returns the living children of a process, oldest first.
---@param pid integer
---@return integer[]
function e2e.children(pid)
  local list = {}
  for name in lfs.dir("/proc") do
    local child = math.tointeger(tonumber(name))
    if child then
      local state, parent = stat(child)
      if parent == pid and state ~= "Z" then list[#list + 1] = child end
    end
  end
  table.sort(list)
  return list
end

--- Sends a signal. A process that has already ended is no error.
---@param pid integer
---@param signal string without SIG
function e2e.kill(pid, signal)
  os.execute(("kill -%s %d 2>/dev/null"):format(signal, pid))
end

--- Returns the peak resident memory of a process in MiB, or nil if it has ended.
---@param pid integer
---@return number|nil
function e2e.peak_rss(pid)
  local text = e2e.read(("/proc/%d/status"):format(pid))
  local kib = text and tonumber(text:match("VmHWM:%s*(%d+) kB"))
  return kib and kib / 1024
end

--- Whether a process has a TCP connection to a port of this machine.
---@param pid integer
---@param port integer
function e2e.talks_to(pid, port)
  local inodes = {}
  for _, line in ipairs(e2e.lines(e2e.read("/proc/net/tcp"))) do
    local remote, inode = line:match("^ *%d+: %x+:%x+ %x+:(%x+) 01 %S+ %S+ %S+ +%d+ +%d+ (%d+)")
    if remote and tonumber(remote, 16) == port then inodes["socket:[" .. inode .. "]"] = true end
  end
  local folder = ("/proc/%d/fd/"):format(pid)
  local found = false
  pcall(function() -- the process may end while we look
    for name in lfs.dir(folder) do
      found = found or inodes[lfs.symlinkattributes(folder .. name, "target") or ""]
    end
  end)
  return found == true
end

--- Returns a port of 127.0.0.1 on which nothing listens, below those that the kernel assigns, so
--- that it stays free even while its node is down. Does not use math.random, because specs that run
--- at the same time may have seeded it with the same value.
---@return integer
function e2e.free_port()
  while true do
    local port = 10000 + string.unpack("I4", sys.random(4)) % 20000
    local server = socket.bind("127.0.0.1", port)
    if server then
      server:close()
      return port
    end
  end
end

--- @class e2e.Process
--- @field pid integer
--- @field handle file*
--- @field out_path string|nil nil if its output goes elsewhere
--- @field err_path string
--- @field stdin table|nil a stream of host.stream
local Process = {}
Process.__index = Process

--- Returns its output so far.
function Process:out() return self.out_path and e2e.read(self.out_path) or "" end
function Process:err() return e2e.read(self.err_path) or "" end

--- Returns the number of lines that it has written so far. Reads new output only, because reading
--- everything repeatedly is too much for the allocator of a sanitizer.
function Process:lines()
  local file = io.open(self.out_path, "rb")
  if not file then return 0 end
  file:seek("set", self.counted_bytes)
  for chunk in function() return file:read(1 << 16) end do
    self.counted_bytes = self.counted_bytes + #chunk
    self.counted_lines = self.counted_lines + select(2, chunk:gsub("\n", ""))
  end
  file:close()
  return self.counted_lines
end

function Process:alive() return e2e.alive(self.pid) end
function Process:children() return e2e.children(self.pid) end
function Process:kill(signal) e2e.kill(self.pid, signal) end

-- Waits for a process that has ended or will certainly end.
local function reap(self)
  local _, how, code = self.handle:close()
  self.ended = { [how == "exit" and "code" or "signal"] = code }
end

--- Waits for its end. Raises if it takes longer than `seconds`.
---@param seconds number|nil
---@return {code: integer|nil, signal: integer|nil, out: string, err: string}
function Process:wait(seconds)
  if not self.ended then
    local ok, why = pcall(e2e.wait_until, "the end of " .. self.line,
      function() return not self:alive() end, seconds)
    if not ok then error(("%s; it said:\n%s"):format(why, self:err()), 2) end
    reap(self)
  end
  return {
    code = self.ended.code, signal = self.ended.signal, out = self:out(), err = self:err(),
  }
end

-- ---- the world ----

--- @class e2e.World
--- @field dir string
local World = {}
World.__index = World

---@return e2e.World
function e2e.new()
  local pipe = assert(io.popen("mktemp -d -t moonfleet-e2e.XXXXXX"))
  local dir = pipe:read("l")
  pipe:close()
  return setmetatable({ dir = assert(dir), processes = {}, closers = {}, count = 0 }, World)
end

--- Has `close` call f() when it has ended what was started here, before it removes the folder.
---@param f fun()
function World:at_close(f) table.insert(self.closers, f) end

--- Ends everything that was started here and removes the folder.
function World:close()
  for _, p in ipairs(self.processes) do
    if not p.ended then
      p:kill("KILL") -- also ends one that is stopped
      reap(p)
    end
  end
  for _, f in ipairs(self.closers) do f() end
  os.execute("rm -rf " .. quote(self.dir))
end

---@param name string
---@return string path in the world's folder
function World:path(name) return self.dir .. "/" .. name end

--- Writes a file of the world.
---@param name string
---@param text string
---@return string path
function World:write(name, text)
  local path = self:path(name)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
  return path
end

--- Writes a file of items, one per line.
---@param items any[]
---@return string path
function World:items(items)
  self.count = self.count + 1
  return self:write("items" .. self.count, table.concat(items, "\n") .. "\n")
end

--- Starts a process in the background. Options: `stdin` (a path; default: /dev/null), or `pipe`
--- (true: the `stdin` of the returned process is a stream to write to); `stdout` (a path; default:
--- a file of the world); `env` (words NAME=VALUE); `within` (words of a command that executes the
--- given one, such as nsenter).
---@param words string[] the command
---@param options {stdin?: string, pipe?: boolean, stdout?: string, env?: string[],
---  within?: string[]}|nil
---@return e2e.Process
function World:start(words, options)
  options = options or {}
  self.count = self.count + 1
  local name = ("%s/process%d."):format(self.dir, self.count)
  local p = setmetatable({
    out_path = not options.stdout and name .. "out" or nil, err_path = name .. "err",
    line = table.concat(words, " "), counted_bytes = 0, counted_lines = 0,
  }, Process)
  local stdin = options.stdin or "/dev/null"
  if options.pipe then
    stdin = name .. "in"
    assert(os.execute("mkfifo " .. quote(stdin)))
  end
  local without = {} -- what this machine has set for AWS must not reach a spec
  for i, variable in ipairs(sys.variables("AWS_")) do without[i] = "--unset=" .. variable end
  -- the shell becomes the process; env resets the signals that this process has changed
  p.handle = assert(io.popen(("echo $$; exec env --default-signal %s %s %s %s <%s >%s 2>%s"):format(
    command_line(without), command_line(options.env or {}), command_line(options.within or {}),
    command_line(words), quote(stdin), quote(options.stdout or p.out_path), quote(p.err_path))))
  p.pid = math.tointeger(tonumber(p.handle:read("l")))
  self.processes[#self.processes + 1] = p -- from now on it ends, even if what follows is cancelled
  -- unlike that of io.open, this descriptor is not inherited by later processes
  if options.pipe then p.stdin = assert(stream.open(stdin, "w")) end
  return p
end

--- Starts the program with `words`.
---@param words string[]
---@param options table|nil as World:start; `program`: another one than the tested
---@return e2e.Process
function World:program(words, options)
  local program = options and options.program or e2e.program
  return self:start({ program, table.unpack(words) }, options)
end

--- Runs the program to its end.
---@param words string[]
---@param options table|nil as World:start
---@return {code: integer|nil, signal: integer|nil, out: string, err: string}
function World:run(words, options)
  return self:program(words, options):wait()
end

local function answers(port)
  local connection = socket.connect("127.0.0.1", port)
  if connection then connection:close() end
  return connection ~= nil
end

--- The words of a command, for `within`, that runs the given one under strace with these options.
--- No process searches for leaks there: LeakSanitizer needs ptrace for itself.
function e2e.strace(...)
  local options = (os.getenv("ASAN_OPTIONS") or "") .. ":detect_leaks=0"
  return { "env", "ASAN_OPTIONS=" .. options, "strace", "-qq", "-f", "-o", "/dev/null", ... }
end

--- @class e2e.Node: e2e.Process
--- @field port integer
--- @field address string for --peers
--- @field name string

--- Starts a node and waits until it listens. Options: `workers` (2), `port` or `url`, `name`,
--- `allow_hosts` (loopback, where the servers of specs are), `flags`, `env` and `within` as
--- World:start, `program` as World:program.
---@param options table|nil
---@return e2e.Node
function World:node(options)
  options = options or {}
  local port = options.port or e2e.free_port()
  local address = options.url or "127.0.0.1:" .. port
  local name = options.name or "node-" .. port
  local node = self:program({
    "serve", "--listen", address, "--workers", options.workers or 2, "--name", name,
    "--allow-hosts", options.allow_hosts or "loopback",
    table.unpack(options.flags or {}),
  }, { env = options.env, within = options.within, program = options.program })
  node.port, node.address, node.name = port, address, name
  e2e.wait_until("node " .. address, function()
    if not node:alive() then error("the node does not start: " .. node:err()) end
    return node:err():find("node ready", 1, true)
  end)
  return node
end

--- Starts nodes and returns them with the list for --peers.
---@param count integer
---@param options table|nil as World:node
---@return e2e.Node[] nodes
---@return string peers
function World:nodes(count, options)
  local nodes, peers = {}, {}
  for i = 1, count do
    nodes[i] = self:node(options)
    peers[i] = nodes[i].address
  end
  return nodes, table.concat(peers, ",")
end

local NGINX = [[
daemon off;
master_process off;
pid DIR/nginx.pid;
events { worker_connections 1024; }
http {
  access_log off;
  root DIR/www;
  client_body_temp_path DIR/b; proxy_temp_path DIR/p; fastcgi_temp_path DIR/f;
  uwsgi_temp_path DIR/u; scgi_temp_path DIR/s;
  server { listen 127.0.0.1:PORT; }
}
]]

--- Starts nginx for the folder `www` of the world.
---@return {url: string, www: string, port: integer}
function World:nginx()
  local dir, port = self.dir, e2e.free_port()
  lfs.mkdir(dir .. "/www")
  local config = self:write("nginx.conf", (NGINX:gsub("DIR", dir):gsub("PORT", port)))
  local path = { "PATH=" .. os.getenv("PATH") .. ":/usr/sbin" }
  local server = self:start({ "nginx", "-p", dir, "-e", "stderr", "-c", config }, { env = path })
  e2e.wait_until("nginx", function()
    if not server:alive() then error("nginx does not start: " .. server:err()) end
    return answers(port)
  end)
  return { url = "http://127.0.0.1:" .. port, www = dir .. "/www", port = port }
end

--- Starts spec/support/proxy.lua in front of a node, of tcp or ipc.
---@param node {address: string}
---@param record string|nil path of a file that gets all bytes which it forwards
---@return {address: string, reset: fun(): integer} proxy `reset` breaks its connections and
--- returns the number of these
function World:proxy(node, record)
  local scheme, place = node.address:match("^(ipc://)(.*)$")
  local proxy = self:start({ "lua5.4", "spec/support/proxy.lua", place or node.address, record },
    { pipe = true })
  local function said(pattern)
    return e2e.wait_until("the proxy", function()
      if not proxy:alive() then error("it does not run: " .. proxy:err()) end
      return proxy:out():match(pattern)
    end)
  end
  local resets = 0
  return {
    address = (scheme or "") .. said("^address (%S+)\n"),
    reset = function()
      resets = resets + 1
      proxy.stdin:write("reset\n")
      local before = "^address %S+\n" .. ("reset %d+\n"):rep(resets - 1)
      return math.tointeger(tonumber(said(before .. "reset (%d+)\n")))
    end,
  }
end

--- Starts a name server for the zone "test", which refuses queries about others.
---@param words string[] more for dnsmasq
---@param port integer|nil
---@return e2e.Process server with its `port` and `address`
function World:dnsmasq(words, port)
  port = port or e2e.free_port()
  local server = self:start({
    "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=" .. port, "--user=root",
    "--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv", "--no-hosts", "--pid-file=",
    "--local=/test/", table.unpack(words),
  }, { env = { "PATH=" .. os.getenv("PATH") .. ":/usr/sbin" } })
  server.port, server.address = port, "127.0.0.1:" .. port
  e2e.wait_until("dnsmasq", function()
    if not server:alive() then error("dnsmasq does not start: " .. server:err()) end
    return answers(port)
  end)
  return server
end

--- Starts spec/support/fault_server.lua.
---@return {url: string, port: integer, counts: fun(): table<string, integer>}
function World:fault_server()
  local server = self:start({ "lua5.4", "spec/support/fault_server.lua" }, { pipe = true })
  local port = e2e.wait_until("the fault server", function()
    if not server:alive() then error("it does not start: " .. server:err()) end
    return math.tointeger(tonumber(server:out():match("^port (%d+)\n")))
  end)
  local url = "http://127.0.0.1:" .. port
  return {
    url = url, port = port,
    counts = function() return json.decode(assert(http.get(url .. "/counts")).body) end,
  }
end

return e2e
