-- SPDX-License-Identifier: MIT
-- What a server of HTTP is called: the addresses that it listens on, and what the header Host says.

local errors = require("fleet.errors")

local address = {}

local usage = errors.formatter("usage")

--- Returns whether a host is an IP address.
---@param host string without brackets
---@return boolean
function address.is_ip(host)
  if host:find(":", 1, true) then return host:find("^[%x:.]+$") ~= nil end
  local count = 0
  for digits in host:gmatch("[^.]+") do
    if not digits:find("^%d%d?%d?$") or tonumber(digits) > 255 then return false end
    count = count + 1
  end
  return count == 4 and not host:find("..", 1, true) and not host:find("^%.") and
    not host:find("%.$")
end

--- Returns whether only this machine can reach it.
---@param host string
---@return boolean
function address.is_loopback(host)
  return host == "localhost" or host == "::1" or address.is_ip(host) and host:find("^127%.") ~= nil
end

--- Returns the name in a header Host, in lower case and without port and brackets; nil when it is
--- malformed.
---@param header string
---@return string|nil
function address.name(header)
  local name = header:match("^%[([%x:.]+)%]$") or header:match("^%[([%x:.]+)%]:%d+$")
    or header:match("^([%w._-]+)$") or header:match("^([%w._-]+):%d+$")
  return name and name:lower()
end

--- Reads what a flag says of where to listen: IP:PORT, [IPV6]:PORT, localhost:PORT or PORT.
---@param flag string its name, for the message
---@param value string
---@param port_shown integer that the message has in its examples
---@return string|nil ip
---@return integer|fleet.Error port or an error of kind "usage"
function address.read(flag, value, port_shown)
  local host, port = value:match("^%[([%x:.]+)%]:(%d+)$")
  if not host then host, port = value:match("^([%w.-]+):(%d+)$") end
  if not host then host, port = "127.0.0.1", value:match("^(%d+)$") end
  if host == "localhost" then host = "127.0.0.1" end
  if not port or not address.is_ip(host) then
    return nil, usage("%s takes an address such as 127.0.0.1:%d, [::1]:%d or %d alone, got '%s'",
      flag, port_shown, port_shown, port_shown, value)
  elseif #port > 5 or tonumber(port) < 1 or tonumber(port) > 65535 then
    return nil, usage("%s takes a port from 1 to 65535, got '%s'", flag, value)
  end
  return host, math.tointeger(tonumber(port))
end

--- Returns the URL of a server.
---@param host string
---@param port integer
---@return string
function address.url(host, port)
  return (host:find(":", 1, true) and "http://[%s]:%d/" or "http://%s:%d/"):format(host, port)
end

return address
