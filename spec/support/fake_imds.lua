-- SPDX-License-Identifier: MIT
-- Serves the metadata of an instance (version 2) over HTTP on loopback, for the specs of
-- lua/fleet/aws. Refuses requests without a token. Prints "port N", and ends with its standard
-- input. One connection at a time; every answer closes it.
--
-- The part of the path before /latest selects a mode, so that one server has all of them:
--   /ok  /forbidden (403)  /throttled/N (429, N times)  /v1 (no tokens)  /silent  /half
--   /garbage  /slow  /redirect  /forgetful (every token once)  /calm (no Spot notice, until GET
--   /notice)
-- Credentials of the role last an hour; GET /advance/N moves the clock by N seconds. GET /counts
-- returns how often each method and path was requested, as "N METHOD PATH" lines. GET
-- /set/PATH/VALUE changes what a path below /latest has from then on ("-": nothing), such as
-- /set/meta-data/autoscaling/target-lifecycle-state/Terminated; VALUE is escaped.

local socket = require("socket")

local counts, tokens, last, throttled, credentials, ahead = {}, {}, 0, {}, 0, 0
local noticed = false

local PATHS = {
  ["meta-data/instance-id"] = "i-0123456789abcdef0",
  ["meta-data/placement/region"] = "eu-west-1",
  ["meta-data/placement/availability-zone"] = "eu-west-1b",
  ["meta-data/tags/instance/moonfleet:release"] = "abc123",
  ["meta-data/tags/instance/moonfleet:fleet"] = "search",
  ["meta-data/tags/instance/aws:autoscaling:groupName"] = "moonfleet-search",
  ["meta-data/iam/security-credentials/"] = "moonfleet",
  ["meta-data/spot/instance-action"] = '{"action": "terminate", "time": "2026-11-27T03:08:34Z"}',
  ["meta-data/autoscaling/target-lifecycle-state"] = "InService",
}

local function answer(conn, status, body, headers)
  conn:send(("HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n%s\r\n%s"):format(status,
    #body, headers or "", body))
end

local function role_credentials()
  credentials = credentials + 1
  return ([[{"Code": "Success", "AccessKeyId": "ASIA%d", "SecretAccessKey": "secret%d",
    "Token": "token%d", "Expiration": "%s"}]]):format(credentials, credentials, credentials,
    os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() + ahead + 3600))
end

local function give_token(conn, head, mode)
  local ttl = tonumber(head:match("\r\nx%-aws%-ec2%-metadata%-token%-ttl%-seconds: *(%d+)"))
  if mode == "v1" then return answer(conn, 404, "no such thing") end
  if not ttl or ttl < 1 or ttl > 21600 or head:find("\r\nx-forwarded-for:", 1, true) then
    return answer(conn, 400, "bad")
  end
  last = last + 1
  tokens["token-" .. last] = mode
  answer(conn, 200, "token-" .. last, ("X-aws-ec2-metadata-token-ttl-seconds: %d\r\n"):format(ttl))
end

local function give_path(conn, head, mode, path)
  local token = head:match("\r\nx%-aws%-ec2%-metadata%-token: *(%S+)")
  if not token or tokens[token] ~= mode then return answer(conn, 401, "no token") end
  if mode == "forgetful" then tokens[token] = nil end
  if mode == "half" then
    return conn:send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
  end
  if mode == "garbage" then return answer(conn, 200, "\0\1{garbage\r\n") end
  if mode == "calm" and not noticed and path:find("spot/", 1, true) then
    return answer(conn, 404, "not found")
  end
  local role = path:match("^meta%-data/iam/security%-credentials/(.+)$")
  path = path:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
  local body = role and role_credentials() or PATHS[path]
  answer(conn, body and 200 or 404, body or "not found")
end

local function serve(conn)
  conn:settimeout(5)
  local parts = {}
  for line in function() return conn:receive("*l") end do
    if line == "" then break end
    parts[#parts + 1] = line
  end
  local method, target = (parts[1] or ""):match("^(%u+) (%S+)")
  if not method then return end
  local key = method .. " " .. target
  if key == "GET /counts" then
    local lines = {}
    for name, n in pairs(counts) do lines[#lines + 1] = n .. " " .. name .. "\n" end
    return answer(conn, 200, table.concat(lines))
  end
  if target == "/notice" then
    noticed = true
    return answer(conn, 200, "")
  end
  local set, value = target:match("^/set/(.+)/([^/]*)$")
  if set then
    value = value:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
    PATHS[set] = value ~= "-" and value or nil
    return answer(conn, 200, "")
  end
  local seconds = target:match("^/advance/(%d+)$")
  if seconds then
    ahead = ahead + math.tointeger(tonumber(seconds))
    return answer(conn, 200, "")
  end
  counts[key] = (counts[key] or 0) + 1
  local head = ("\r\n" .. table.concat(parts, "\r\n") .. "\r\n"):lower()
  local mode, path = target:match("^/(.-)/latest/(.*)$")
  if not mode then return answer(conn, 404, "not found") end
  if mode == "forbidden" then return answer(conn, 403, "off") end
  if mode == "redirect" then
    return answer(conn, 302, "", "Location: /ok/latest/" .. path .. "\r\n")
  end
  if mode == "silent" then return socket.sleep(2.5) end
  if mode == "slow" then socket.sleep(0.3) end
  local times = tonumber(mode:match("^throttled/(%d+)$"))
  throttled[mode] = (throttled[mode] or 0) + 1
  if times and throttled[mode] <= times then return answer(conn, 429, "slow down") end
  if path == "api/token" and method == "PUT" then return give_token(conn, head, mode) end
  if method ~= "GET" then return answer(conn, 405, "no") end
  give_path(conn, head, mode, path)
end

local server = assert(socket.bind("127.0.0.1", 0, 128))
local stdin = { getfd = function() return 0 end, dirty = function() return false end }
io.stdout:write("port ", select(2, server:getsockname()), "\n")
io.stdout:flush()
while true do
  local readable = socket.select({ server, stdin })
  if readable[stdin] and not io.read(1) then os.exit(0) end
  local conn = readable[server] and server:accept()
  if conn then
    serve(conn)
    conn:close()
  end
end
