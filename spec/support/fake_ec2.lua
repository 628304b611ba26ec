-- SPDX-License-Identifier: MIT
-- Serves DescribeInstances over HTTP on loopback, for specs. A folder determines the answers; it is
-- read for each request. Prints "port N", and ends with its standard input. One connection at a
-- time.
--
--   lua5.4 spec/support/fake_ec2.lua DIR
--
-- DIR/instances   one per line: ID STATE PRIVATE_IP|- ZONE KEY=VALUE... ; filters are applied
-- DIR/mode        ok (default), or a failure: throttled  broken (500)  denied  truncated
--                 bomb  huge (50 MB)  silent  html  empty-first (an empty page, then the rest)
--                 loop (the same token forever)
-- DIR/requests    receives the form of each request, one per line

local socket = require("socket")

local dir = assert(arg[1], "a folder")
local PAGE = 1000 -- the most that is given; as EC2 does

local function read(name)
  local file = io.open(dir .. "/" .. name, "rb")
  local text = file and file:read("a") or ""
  if file then file:close() end
  return text
end

local function append(name, line)
  local file = assert(io.open(dir .. "/" .. name, "ab"))
  file:write(line, "\n")
  file:close()
end

local function unescape(s)
  return (s:gsub("+", " "):gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

local function escape(s)
  return (s:gsub("[<>&]", { ["<"] = "&lt;", [">"] = "&gt;", ["&"] = "&amp;" }))
end

local function parse_form(body)
  local form = {}
  for name, value in body:gmatch("([^&=]+)=([^&]*)") do form[unescape(name)] = unescape(value) end
  return form
end

-- * and ? are wildcards unless a backslash precedes them.
local function matches(value, wanted)
  local pattern = wanted:gsub("\\?.", function(c)
    if c == "*" then return ".*" elseif c == "?" then return "." end
    return "%" .. c:sub(-1)
  end):gsub("%%(%w)", "%1")
  return value:find("^" .. pattern .. "$") ~= nil
end

local function value_of(instance, name)
  local key = name:match("^tag:(.*)")
  if key then return instance.tags[key] end
  if name == "instance-state-name" then return instance.state end
  if name == "availability-zone" then return instance.zone end
  error("a filter that is not played: " .. name)
end

local function passes(instance, form)
  local n = 1
  while form[("Filter.%d.Name"):format(n)] do
    local name, fits, v = form[("Filter.%d.Name"):format(n)], false, 1
    local wanted = form[("Filter.%d.Value.%d"):format(n, v)]
    while wanted do
      if name == "tag-key" then
        for key in pairs(instance.tags) do fits = fits or matches(key, wanted) end
      else
        local value = value_of(instance, name)
        fits = fits or value ~= nil and matches(value, wanted)
      end
      v = v + 1
      wanted = form[("Filter.%d.Value.%d"):format(n, v)]
    end
    if not fits then return false end
    n = n + 1
  end
  return true
end

local function instances_for(form)
  local list = {}
  for line in read("instances"):gmatch("[^\n]+") do
    local id, state, ip, zone, rest = line:match("^(%S+) (%S+) (%S+) (%S+) ?(.*)$")
    local instance = { id = id, state = state, ip = ip ~= "-" and ip, zone = zone, tags = {} }
    for key, value in rest:gmatch("(%S-)=(%S+)") do instance.tags[key] = value end
    if passes(instance, form) then list[#list + 1] = instance end
  end
  return list
end

local function item(instance)
  local tags = {}
  for key, value in pairs(instance.tags) do
    tags[#tags + 1] = ("<item><key>%s</key><value>%s</value></item>"):format(escape(key),
      escape(value))
  end
  return ([[<item><reservationId>r-%s</reservationId><ownerId>1</ownerId><groupSet/><instancesSet>
<item><instanceId>%s</instanceId><instanceState><code>16</code><name>%s</name></instanceState>%s
<placement><availabilityZone>%s</availabilityZone></placement><launchTime>2026-11-27T00:00:00.000Z
</launchTime><tagSet>%s</tagSet></item></instancesSet></item>]]):format(instance.id, instance.id,
    instance.state, instance.ip and "<privateIpAddress>" .. instance.ip .. "</privateIpAddress>"
    or "", instance.zone, table.concat(tags))
end

local function page(list, first, last, token)
  local out = { '<?xml version="1.0" encoding="UTF-8"?>\n<DescribeInstancesResponse '
    .. 'xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>q</requestId><reservationSet>' }
  for i = first, math.min(last, #list) do out[#out + 1] = item(list[i]) end
  out[#out + 1] = "</reservationSet>"
  if token then out[#out + 1] = ("<nextToken>%s</nextToken>"):format(token) end
  out[#out + 1] = "</DescribeInstancesResponse>"
  return table.concat(out)
end

local function refusal(code, message)
  return ("<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors>"
    .. "<RequestID>q</RequestID></Response>"):format(code, message)
end

local BOMB = '<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">'
for i = 1, 9 do
  local from = i == 1 and "a" or "a" .. i - 1
  BOMB = BOMB .. ("<!ENTITY a%d \"%s\">"):format(i, ("&" .. from .. ";"):rep(10))
end
BOMB = BOMB .. "]><DescribeInstancesResponse>&a9;</DescribeInstancesResponse>"

local function describe(form, mode)
  local list = instances_for(form)
  local most = math.min(PAGE, tonumber(form.MaxResults) or #list)
  local first = 1
  if form.NextToken then first = tonumber(form.NextToken:match("^from%-(%d+)$")) or 1 end
  if mode == "loop" then return page(list, 1, 1, "again") end
  if mode == "empty-first" and not form.NextToken then return page(list, 1, 0, "from-1") end
  local more = first + most <= #list
  return page(list, first, first + most - 1, more and "from-" .. first + most or nil)
end

local function answer(conn, status, body)
  conn:send(("HTTP/1.1 %d X\r\nContent-Type: text/xml\r\nContent-Length: %d\r\nDate: %s\r\n"
    .. "Connection: close\r\n\r\n"):format(status, #body, os.date("!%a, %d %b %Y %H:%M:%S GMT")))
  conn:send(body)
end

local held = {}
local modes = {
  throttled = function(conn) answer(conn, 503, refusal("RequestLimitExceeded", "too many")) end,
  broken = function(conn) answer(conn, 500, refusal("InternalError", "oh")) end,
  denied = function(conn)
    answer(conn, 403, refusal("UnauthorizedOperation", "You are not authorized to perform this "
      .. "operation. User: arn:aws:sts::1:assumed-role/worker/i-1 is not authorized to perform: "
      .. "ec2:DescribeInstances because no identity-based policy allows it"))
  end,
  truncated = function(conn, form)
    local whole = describe(form, "ok")
    answer(conn, 200, whole:sub(1, #whole // 2))
  end,
  bomb = function(conn) answer(conn, 200, BOMB) end,
  huge = function(conn) answer(conn, 200, "<a>" .. ("x"):rep(50 << 20) .. "</a>") end,
  html = function(conn) answer(conn, 200, "<html><body>Sign in<br></body></html>") end,
  silent = function(conn) held[#held + 1] = conn end,
}

local function read_request(conn)
  local length = 0
  local first = conn:receive("*l")
  if not first then return nil end
  while true do
    local line = conn:receive("*l")
    if not line then return nil end
    if line == "" then break end
    length = tonumber(line:lower():match("^content%-length: *(%d+)")) or length
  end
  return first, length > 0 and conn:receive(length) or ""
end

local server = assert(socket.bind("127.0.0.1", 0, 64))
local stdin = { getfd = function() return 0 end, dirty = function() return false end }
io.stdout:write("port ", select(2, server:getsockname()), "\n")
io.stdout:flush()
while true do
  local readable = socket.select({ server, stdin })
  if readable[stdin] and not io.read(1) then os.exit(0) end
  local conn = readable[server] and server:accept()
  if conn then
    conn:settimeout(5)
    local first, body = read_request(conn)
    if first and first:find("^POST") and body then
      append("requests", body)
      local mode, form = read("mode"):match("%S+") or "ok", parse_form(body)
      if modes[mode] then
        modes[mode](conn, form)
      else
        answer(conn, 200, describe(form, mode))
      end
      if mode ~= "silent" then conn:close() end
    else
      if first then answer(conn, 404, "") end
      conn:close()
    end
  end
end
