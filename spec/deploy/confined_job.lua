-- SPDX-License-Identifier: MIT
-- A driver script that tries, in a worker of every node, what no job may reach on an installed
-- node: the metadata services of clouds, the keys and settings of moonfleet, the node's process,
-- and files of others and of other jobs. It prints each attempt on each node with what came of it,
-- and exits with 1 if one succeeded or a node could not be tried.
--
--   moonfleet run --peers LIST --tls DIR spec/deploy/confined_job.lua [CONTROL_URL]
--
-- Without CONTROL_URL the program's own rule (--allow-hosts none) stands between jobs and the
-- metadata services. With it the rule of moonfleet-workers.service is tried alone: the nodes have
-- `--allow-hosts all`, and reach CONTROL_URL, which workers may as well.
--
-- What another driver has left in the worker is tried, too, if one that still runs has set the
-- global moonfleet_canary there.

local fleet = require("fleet")

local control = arg[1]

--- Runs in a worker. Returns a list of {what was tried, what came of it, whether it succeeded}.
local function attempts(url_of_control)
  local http = require("fleet.http")
  local xml = require("fleet.xml")
  local list = {}

  -- `attempt` returns what it got, or nil and why not.
  local function try(what, attempt)
    local ok, got, why = pcall(attempt)
    if not ok then got, why = nil, got end
    if type(why) == "table" then why = why.kind end
    local outcome = got ~= nil and "got " .. tostring(got) or tostring(why or "absent")
    list[#list + 1] = { what, outcome, got ~= nil }
  end

  local function fetch(url, method, headers)
    local response, err = http.request(method or "GET", url, { timeout = 2, headers = headers,
      connect_timeout = 0.5 })
    return response and ("status %s"):format(response.status), err
  end

  for _, url in ipairs({
    "http://169.254.169.254/latest/meta-data/", "http://169.254.170.2/v2/credentials",
    "http://169.254.170.23/v1/credentials", "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[fd00:ec2::23]/v1/credentials", "http://[fd20:ce::254]/computeMetadata/v1/",
    "http://100.100.100.200/latest/meta-data/", "http://192.0.0.192/latest/",
    "http://169.254.0.23/latest/", "http://169.254.42.42/conf", "http://[fd00:42::42]/conf",
    "http://[::ffff:169.254.169.254]/latest/meta-data/", "http://2852039166/latest/meta-data/",
    "http://0xa9.0xfe.0xa9.0xfe/latest/meta-data/",
  }) do
    try(url, function() return fetch(url) end)
  end
  try("a token of the metadata service", function()
    return fetch("http://169.254.169.254/latest/api/token", "PUT",
      { ["X-aws-ec2-metadata-token-ttl-seconds"] = "60" })
  end)
  if url_of_control then
    local status, err = fetch(url_of_control)
    if not status then list[#list + 1] = { url_of_control, err.message, true } end
    return list
  end

  try("the node's own port", function() return fetch("http://127.0.0.1:5440/") end)
  for _, path in ipairs({
    "/etc/moonfleet/moonfleet.lua", "/etc/moonfleet/release", "/etc/moonfleet/tls/key.pem",
    "/etc/moonfleet/tls/cert.pem", "/etc/moonfleet/web-tls/key.pem", "/etc/sysconfig/moonfleet",
    "/etc/default/moonfleet", "/etc/passwd", "/proc/self/environ", "/proc/self/root/etc/passwd",
    "/run/moonfleet-workers/cgroup.procs", "/var/lib/moonfleet/audit.jsonl", "/tmp/.",
  }) do
    try("file://" .. path, function() return fetch("file://" .. path) end)
    try("an XML entity of " .. path, function()
      local document, err = xml.parse(('<!DOCTYPE a [<!ENTITY e SYSTEM "file://%s">]><a>&e;</a>')
        :format(path))
      local text = document and document:xpath("string(/a)")
      return text ~= "" and text or nil, err
    end)
  end
  for _, name in ipairs({
    "io.open", "io.popen", "io.lines", "io.input", "io.tmpfile", "os.execute", "os.remove",
    "os.rename", "os.tmpname", "os.getenv", "os.exit", "loadfile", "dofile", "package.loadlib",
    "package.searchpath", "package.cpath", "debug.getregistry", "debug.getupvalue",
    "debug.sethook", "require('host.sys')", "require('host.file')", "require('host.keys')",
    "require('fleet.base.file')", "require('posix')", "require('socket')", "load('\\27Lua')",
    "getmetatable('').__index", "moonfleet_canary", "string.moonfleet_canary",
  }) do
    try(name, load("return " .. name))
  end
  return list
end

local results, failures = assert(fleet.multicall(attempts, control))
local bad = 0
for node, list in pairs(results) do
  for _, attempt in ipairs(list) do
    local what, outcome, succeeded = table.unpack(attempt)
    if succeeded then bad = bad + 1 end
    print(("%-4s %s: %s: %s"):format(succeeded and "BAD" or "ok", node, what, outcome))
  end
end
for node, err in pairs(failures) do
  bad = bad + 1
  print(("BAD  %s: %s: %s"):format(node, err.kind, err.message))
end
if bad > 0 then os.exit(1) end
