-- SPDX-License-Identifier: MIT
-- Helpers for every group of rows: programs in the foreground and background, free ports, a web
-- server, moonfleet's nodes, medians, and the table.

local socket = require("socket")

local lib = {}
lib.__index = lib

--- Makes a bench in its own folder; `close` ends what it started and removes the folder.
---@param here string the folder of this file
---@param program string path of moonfleet
---@param reps integer repetitions of each measurement
---@param older string|nil path of an older build, which some rows compare with
function lib.new(here, program, reps, older)
  local self = setmetatable({ reps = reps, rows = {}, running = {} }, lib)
  self.dir = self:shell("mktemp -d /tmp/moonfleet-bench.XXXXXX")
  self.here = self:shell("realpath $1", here)
  self.program = self:shell("realpath $1", program)
  self.older = older and self:shell("realpath $1", older)
  self.tools = self.program:match("^(.*)/[^/]*$")
  return self
end

local function quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

--- Writes to stderr what is being measured now.
function lib.say(_, format, ...)
  io.stderr:write("  ", format:format(...), "\n")
end

--- Runs a shell command and returns its output without the last newline; raises with the output if
--- it fails. $1, $2... in the command are the words that follow it.
function lib.shell(_, command, ...)
  local words = {}
  for i, word in ipairs({ ... }) do words[i] = quote(word) end
  local pipe = assert(io.popen(("set -- %s\n%s"):format(table.concat(words, " "), command)))
  local output = pipe:read("a")
  local ok, _, code = pipe:close()
  if not ok then error(("exit code %s of: %s"):format(code, command), 2) end
  return (output:gsub("\n$", ""))
end

--- Returns the seconds that a shell command takes.
function lib:time(command, ...)
  local start = socket.gettime()
  self:shell(command, ...)
  return socket.gettime() - start
end

--- Starts a shell command in the background, its output in a file; returns its pid.
function lib:spawn(command, ...)
  local log = ("%s/%d.log"):format(self.dir, #self.running + 1)
  local pid = self:shell(("{ exec %s; } >%s 2>&1 </dev/null & echo $!"):format(command, log), ...)
  table.insert(self.running, pid)
  return tonumber(pid)
end

--- Ends a process and waits for its end; kills it after 5 s.
function lib:stop(pid)
  self:shell([[kill $1 2>/dev/null
    for i in $(seq 50); do [ -e /proc/$1/exe ] || exit 0; sleep 0.1; done
    kill -9 $1; true]], pid)
end

--- Ends everything that runs in the background, the most recent first.
function lib:finish()
  while #self.running > 0 do self:stop(table.remove(self.running)) end
  if self.epmd then
    self:shell("for i in 1 2 3 4 5; do ERL_EPMD_PORT=$1 epmd -kill >/dev/null 2>&1 && break; "
      .. "sleep 0.2; done", self.epmd)
    self.epmd = nil
  end
end

--- Ends everything and removes the folder; runs on every way out.
function lib:close()
  self:finish()
  self:shell("rm -rf $1", self.dir)
end

--- Returns the last output of the programs in the background.
function lib:logs()
  return self:shell("tail -n 3 $1/*.log 2>/dev/null || true", self.dir)
end

--- Returns true if every program is installed.
function lib:has(...)
  for _, name in ipairs({ ... }) do
    if not pcall(self.shell, self, "command -v $1 >/dev/null", name) then return false end
  end
  return true
end

--- Returns a TCP port that was free a moment ago.
function lib.port()
  local server = assert(socket.bind("127.0.0.1", 0))
  local _, port = server:getsockname()
  server:close()
  return tonumber(port)
end

--- Waits until something listens on a port (default address: 127.0.0.1).
function lib.wait_port(_, port, address)
  for _ = 1, 100 do
    local client = socket.connect(address or "127.0.0.1", port)
    if client then
      client:close()
      return
    end
    socket.sleep(0.05)
  end
  error("nothing listens on port " .. port)
end

--- Waits until a file is there.
function lib:wait_file(path)
  self:shell("for i in $(seq 100); do [ -e $1 ] && exit 0; sleep 0.05; done; exit 1", path)
end

function lib.sleep(_, seconds)
  socket.sleep(seconds)
end

--- Runs the measurements (name -> function) in turn for `reps` rounds, so that other load of the
--- machine affects all of them. Returns name -> median.
function lib:interleave(measurements)
  local names, figures, medians = {}, {}, {}
  for name in pairs(measurements) do
    names[#names + 1], figures[name] = name, {}
  end
  table.sort(names)
  for _ = 1, self.reps do
    for _, name in ipairs(names) do
      table.insert(figures[name], measurements[name]() or 0 / 0)
    end
  end
  for _, name in ipairs(names) do
    table.sort(figures[name])
    medians[name] = figures[name][(#figures[name] + 1) // 2]
  end
  return medians
end

--- Starts a moonfleet node; returns "127.0.0.1:PORT" for --peers, and its pid.
---@param workers integer
---@param flags string|nil more flags
---@param program string|nil default: the one that is measured
function lib:node(workers, flags, program)
  local port = self:port()
  -- in the environment, where an older build ignores it
  local pid = self:spawn("env MOONFLEET_ALLOW_HOSTS=loopback $1 serve --listen tcp://127.0.0.1:$2 "
    .. "--workers $3 " .. (flags or ""), program or self.program, port, workers)
  self:wait_port(port)
  return "127.0.0.1:" .. port, pid
end

--- Returns the pids of the children of a process.
function lib:children(pid)
  local list = {}
  for child in self:shell("pgrep -P $1 || true", pid):gmatch("%d+") do
    list[#list + 1] = tonumber(child)
  end
  return list
end

--- Returns what a process has used so far: voluntary context switches, and seconds of processor
--- time.
function lib:used(pid)
  local switches, ns = self:shell([[
    cat /proc/$1/task/*/status | awk '/^voluntary_ctxt_switches/ { n += $2 } END { print n }'
    cat /proc/$1/task/*/schedstat | awk '{ n += $1 } END { print n }']], pid):match("(%S+)\n(%S+)")
  return tonumber(switches), tonumber(ns) / 1e9
end

--- Returns a field of /proc/PID/status in MiB (VmRSS, VmHWM), or nil if the process has ended.
function lib.memory(_, pid, field)
  local file = io.open(("/proc/%d/status"):format(pid))
  if not file then return nil end
  local text = file:read("a")
  file:close()
  local kib = text:match(field .. ":%s*(%d+)")
  return kib and kib / 1024
end

--- Starts nginx for the folder www/ of the bench; returns "http://127.0.0.1:PORT".
function lib:nginx()
  local port = self:port()
  local file = assert(io.open(self.dir .. "/nginx.conf", "w"))
  local text = [[
    daemon off; worker_processes 2; pid DIR/nginx.pid; error_log DIR/nginx.err;
    events { worker_connections 1024; }
    http {
      access_log off; sendfile on; keepalive_requests 1000000; root DIR/www;
      client_body_temp_path DIR/b; proxy_temp_path DIR/p; fastcgi_temp_path DIR/f;
      uwsgi_temp_path DIR/u; scgi_temp_path DIR/s;
      server { listen 127.0.0.1:PORT; }
    }]]
  file:write((text:gsub("%u%u%u%u?", { DIR = self.dir, PORT = port })))
  file:close()
  self:shell("mkdir -p $1/www && chmod 755 $1 $1/www", self.dir)
  self:spawn("nginx -p $1 -e $1/nginx.err -c $1/nginx.conf", self.dir)
  self:wait_port(port)
  return "http://127.0.0.1:" .. port
end

local UNITS = { us = "%.1f us", ms = "%.1f ms", s = "%.2f s", MiB = "%.1f MiB",
  MiB_s = "%.0f MiB/s",
  rate = "%.0f /s", hertz = "%.1f /s", number = "%.1f" }

local function shown(figure, unit)
  return UNITS[unit]:format(figure)
end

--- Adds a row. With a peer the goal limits ours / peer, without one it limits ours, as printed.
---@param row { name: string, ours: number?, why: string?, peer_name: string?, peer: number?,
---  unit: string, at_most: number?, at_least: number? } `why`: reason for a missing `ours`
function lib:row(row)
  local limit = row.at_most or row.at_least
  local ratio = row.peer_name and row.ours and row.peer and ("%.2f"):format(row.ours / row.peer)
  local figure = row.ours and shown(row.ours, row.unit)
  local measure = row.peer_name and tonumber(ratio)
    or not row.peer_name and figure and tonumber(figure:match("%S+"))
  local met = measure and (row.at_most and measure <= limit or row.at_least and measure >= limit)
  local verdict = not measure and "not measured" or met and "met" or "missed"
  table.insert(self.rows, {
    row.name,
    figure or row.why or "-",
    row.peer_name or "-",
    row.peer and shown(row.peer, row.unit) or (row.peer_name and "not there" or "-"),
    ratio or "-",
    (row.at_most and "<= " or ">= ")
      .. (row.peer_name and ("%g x"):format(limit) or shown(limit, row.unit)),
    verdict,
  })
end

--- Prints the table and the number of goals met.
function lib:report()
  local head = { "what", "ours", "against", "theirs", "ratio", "goal", "" }
  local width, count = {}, {}
  for _, row in ipairs({ head, table.unpack(self.rows) }) do
    for i, cell in ipairs(row) do width[i] = math.max(width[i] or 0, #cell) end
  end
  for _, row in ipairs({ head, table.unpack(self.rows) }) do
    local cells = {}
    for i, cell in ipairs(row) do cells[i] = cell .. (" "):rep(width[i] - #cell) end
    print((table.concat(cells, "  "):gsub(" +$", "")))
    count[row[7]] = (count[row[7]] or 0) + 1
  end
  print(("%d met, %d missed, %d not measured"):format(count.met or 0, count.missed or 0,
    count["not measured"] or 0))
end

return lib
