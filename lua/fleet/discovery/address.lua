-- SPDX-License-Identifier: MIT
-- Addresses of the form HOST:PORT.

local address = {}

address.DEFAULT_PORT = 5440

--- Joins a host and a port.
---@param host string a name, or an IP address of either family
---@param port integer
---@return string
function address.join(host, port)
  if host:find(":", 1, true) then return ("[%s]:%d"):format(host, port) end
  return ("%s:%d"):format(host, port)
end

--- Splits HOST, HOST:PORT, V6 or [V6]:PORT.
---@param text string
---@return string|nil host nil and what is wrong, worded to follow the text
---@return integer|string port nil when there is none
function address.split(text)
  local host, port = text:match("^%[([%x:.]+)%]:?(%d*)$")
  if not host then host, port = text:match("^([^:/%[%]%s]+):?(%d*)$") end
  if not host and text:find("^[%x:.]+$") and (text:find("::", 1, true)
    or select(2, text:gsub(":", "")) == 7) then
    host, port = text, ""
  end
  if not host or text:find(":$") and port == "" and not text:find("::$") then
    return nil, "is not HOST, HOST:PORT or [IPV6]:PORT"
  end
  if port == "" then return host end
  local number = math.tointeger(tonumber(port))
  if #port > 5 or number < 1 or number > 65535 then
    return nil, "has a port outside 1 to 65535"
  end
  return host, number
end

return address
