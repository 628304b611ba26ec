-- SPDX-License-Identifier: MIT
-- Items that a form brings: the lines of a file, or of a field.

local text = require("fleet.base.text")

local upload = {}

-- Bytes of a form with its file, and of a line.
upload.MAX_BYTES = 16 * 1024 * 1024
local MAX_LINE = 8192

-- The lines without blanks around them; empty ones, and those that begin with #, are no items.
local function lines_of(bytes)
  local items = {}
  for line in (text.without_mark(bytes) .. "\n"):gmatch("([^\r\n]*)\r?\n?") do
    line = line:match("^%s*(.-)%s*$")
    if line ~= "" and line:sub(1, 1) ~= "#" then
      if #line > MAX_LINE then
        return nil, ("A line has %d bytes; an item has %d at most."):format(#line, MAX_LINE)
      end
      items[#items + 1] = line
    end
  end
  return items
end

--- Returns the items of the file, or else of the field; there may be none. The name of the file is
--- returned, too.
---@param form fleet.HttpForm
---@param field string
---@return string[]|nil nil and a sentence
---@return string|nil
function upload.items(form, field)
  local file = form.files.file
  if not file or file.bytes == "" then return lines_of(form.fields[field] or "") end
  local fault = text.utf16_fault(file.bytes)
  if fault then return nil, ("The file cannot be read: %s"):format(fault) end
  local items, err = lines_of(file.bytes)
  if not items then return nil, err end
  return items, file.name ~= "" and file.name or nil
end

return upload
