-- SPDX-License-Identifier: MIT
-- HTML as text. Whatever is put into it is escaped, unless it is marked as HTML itself.

local text = require("fleet.base.text")

local html = {}

local ESCAPES = {
  ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;",
}

--- @class fleet.Html
local Html = {}
Html.__index = Html
Html.__tostring = function(self) return self.text end

--- Marks text as HTML.
---@param s string
---@return fleet.Html
function html.raw(s)
  return setmetatable({ text = s }, Html)
end

--- Returns text as HTML that shows it: markup, control characters and bytes that are not UTF-8 are
--- written so that they are seen.
---@param value any
---@return string
function html.escape(value)
  return (text.escape(tostring(value)):gsub("[&<>\"']", ESCAPES))
end

--- Returns text as HTML in which lines stay lines, for a field of several lines.
---@param s string
---@return fleet.Html
function html.lines(s)
  local lines = {}
  for line in (s .. "\n"):gmatch("([^\n]*)\n") do
    lines[#lines + 1] = html.escape((line:gsub("\r$", "")))
  end
  return html.raw(table.concat(lines, "\n"))
end

local function encoded(value)
  if getmetatable(value) == Html then return value.text end
  return html.escape(value)
end

--- Returns a template with the fields in its {braces} replaced.
---@param template string
---@param fields table<string, any>
---@return fleet.Html
function html.fill(template, fields)
  return html.raw((template:gsub("{([%w_]+)}", function(name)
    local value = fields[name]
    if value == nil then error("the template has no field " .. name) end
    return encoded(value)
  end)))
end

--- Returns pieces of HTML, one after the other.
---@param pieces any[]
---@return fleet.Html
function html.join(pieces)
  local list = {}
  for i, piece in ipairs(pieces) do list[i] = encoded(piece) end
  return html.raw(table.concat(list, "\n"))
end

return html
