-- SPDX-License-Identifier: MIT
-- What forms of HTML send: application/x-www-form-urlencoded, and multipart/form-data (RFC 7578)
-- when a file is among the fields.

local form = {}

local MAX_FIELDS = 1000

--- @class fleet.HttpForm
--- @field fields table<string, string> the last value of each name
--- @field files table<string, {name: string, bytes: string}>

--- Returns the bytes that a text with escapes (%2F) stands for; nil for a malformed escape, or one
--- of a control character.
---@param s string
---@return string|nil
function form.percent_decoded(s)
  if s:gsub("%%%x%x", ""):find("%", 1, true) then return nil end
  s = s:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end)
  return not s:find("%c") and s or nil
end

--- Reads a query, or a form of the type application/x-www-form-urlencoded.
---@param s string
---@return table<string, string>|nil nil when it is malformed
function form.decode(s)
  local fields, count = {}, 0
  for pair in s:gmatch("[^&]+") do
    count = count + 1
    if count > MAX_FIELDS or pair:gsub("%%%x%x", ""):find("%", 1, true) then return nil end
    pair = pair:gsub("+", " ")
    local name, value = pair:match("^([^=]*)=?(.*)$")
    local function decoded(part)
      return (part:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
    end
    fields[decoded(name)] = decoded(value)
  end
  return fields
end

-- Returns the value of a parameter of a header: name="value" or name=value.
local function parameter(header, name)
  return header:match("[;%s]" .. name .. '="([^"]*)"')
    or header:match("[;%s]" .. name .. "=([^;%s\"]+)")
end

local function add_part(result, part)
  local head, bytes = part:match("^(.-)\r\n\r\n(.*)$")
  local disposition = head and ("\r\n" .. head):match(
    "\r\n[Cc][Oo][Nn][Tt][Ee][Nn][Tt]%-[Dd][Ii][Ss][Pp][Oo][Ss][Ii][Tt][Ii][Oo][Nn]:([^\r]*)")
  local name = disposition and parameter(disposition, "name")
  if not name then return false end
  local file = parameter(disposition, "filename")
  if file then
    result.files[name] = { name = file, bytes = bytes }
  else
    result.fields[name] = bytes
  end
  return true
end

local function read_multipart(boundary, body)
  local result, count = { fields = {}, files = {} }, 0
  local mark = "--" .. boundary
  if body:sub(1, #mark) ~= mark then return nil end
  local at = #mark + 1
  while body:sub(at, at + 1) == "\r\n" do
    local from, to = body:find("\r\n" .. mark, at + 2, true)
    count = count + 1
    if not from or count > MAX_FIELDS or not add_part(result, body:sub(at + 2, from - 1)) then
      return nil
    end
    at = to + 1
  end
  return body:sub(at, at + 1) == "--" and result or nil
end

--- Reads the body of a form.
---@param type string the header Content-Type
---@param body string
---@return fleet.HttpForm|nil nil and a sentence that says why
---@return string|nil
function form.read(type, body)
  local kind = (type:match("^%s*([^;%s]*)") or ""):lower()
  if kind == "application/x-www-form-urlencoded" then
    local fields = form.decode(body)
    if fields then return { fields = fields, files = {} } end
  elseif kind == "multipart/form-data" then
    local boundary = parameter(type, "boundary")
    local result = boundary and #boundary <= 70 and read_multipart(boundary, body)
    if result then return result end
  else
    return nil, "A form is expected."
  end
  return nil, "The form is malformed."
end

return form
