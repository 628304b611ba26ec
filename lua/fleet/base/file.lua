-- SPDX-License-Identifier: MIT
-- Small files, read whole, and the entries of those that are lists.

local text = require("fleet.base.text")

local file = {}

local ENOENT, ENOTDIR = 2, 20

--- Reads a file as it is.
---@param path string
---@param max_bytes integer|nil a larger file is an error; default: no limit
---@return string|nil bytes
---@return string|nil message "PATH: what is wrong", to follow "cannot read the ..."
---@return boolean|nil missing whether there is no such file
function file.read(path, max_bytes)
  local f, message, code = io.open(path, "rb")
  if not f then return nil, message, code == ENOENT or code == ENOTDIR end
  local bytes
  bytes, message = f:read(max_bytes and max_bytes + 1 or "a")
  f:close()
  if message then return nil, path .. ": " .. message, false end
  if max_bytes and #(bytes or "") > max_bytes then
    return nil, ("%s: larger than %d bytes"):format(path, max_bytes), false
  end
  return bytes or "" -- reading no byte of an empty file gives nil
end

--- Reads a file of text: without its byte order mark; a file in UTF-16 is an error.
---@param path string
---@param max_bytes integer|nil as for `file.read`
---@return string|nil text
---@return string|nil message as for `file.read`
---@return boolean|nil missing
function file.read_text(path, max_bytes)
  local bytes, message, missing = file.read(path, max_bytes)
  if not bytes then return nil, message, missing end
  local fault = text.utf16_fault(bytes)
  if fault then return nil, path .. ": " .. fault, false end
  return text.without_mark(bytes)
end

--- Iterates over the entries of a list: its lines, without the comments that # begins and the space
--- around the rest. Lines without anything else are no entries.
---@param content string
---@return fun(): integer|nil, string|nil the number of the line, and the entry
function file.entries(content)
  local number, next_line = 0, (content .. "\n"):gmatch("([^\n]*)\n")
  return function()
    for line in next_line do
      number = number + 1
      local entry = line:gsub("#.*", ""):match("^%s*(.-)%s*$")
      if entry ~= "" then return number, entry end
    end
  end
end

return file
