-- SPDX-License-Identifier: MIT
-- Text for people: its width on a terminal, shortening, padding and wrapping, the escaping of what
-- a terminal would obey instead of print, and counts and lists in messages. Also sets of words, and
-- the byte order marks of files.

local text = {}

local ELLIPSIS = "…"

local NAMED = { ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

-- Sorted, closed ranges of code points, of what job output is likely to hold: other scripts and
-- symbols count as one column.
local ZERO_WIDTH = {
  0x0300, 0x036F, 0x1AB0, 0x1AFF, 0x200B, 0x200F, 0x20D0, 0x20FF, 0xFE00, 0xFE0F, 0xFEFF, 0xFEFF,
}
local TWO_WIDE = {
  0x1100, 0x115F, 0x2E80, 0x303E, 0x3041, 0xA4CF, 0xAC00, 0xD7A3, 0xF900, 0xFAFF, 0xFE30, 0xFE6F,
  0xFF00, 0xFF60, 0xFFE0, 0xFFE6, 0x1F300, 0x1F64F, 0x1F680, 0x1F6FF, 0x1F900, 0x1F9FF,
  0x20000, 0x3FFFD,
}
-- C1 controls, and marks that change the direction of the text.
local CONTROLS = { 0x80, 0x9F, 0x2028, 0x202E, 0x2066, 0x2069 }

local function within(code, ranges)
  for i = 1, #ranges, 2 do
    if code < ranges[i] then return false end
    if code <= ranges[i + 1] then return true end
  end
  return false
end

local function hex(byte)
  return NAMED[byte] or ("\\x%02x"):format(byte:byte())
end

--- Returns "1 item" or "5 items".
---@param n integer
---@param word string
---@return string
function text.count(n, word)
  return ("%d %s%s"):format(n, word, n == 1 and "" or "s")
end

--- Returns names as "a, b and 7 more", escaped.
---@param names string[]
---@param max integer names that are shown
---@return string
function text.list(names, max)
  local more = #names - max
  return text.escape(table.concat(names, ", ", 1, math.min(#names, max)))
    .. (more > 0 and (" and %d more"):format(more) or "")
end

--- Returns the set of the words in a string: word -> true.
---@param s string
---@return table<string, boolean>
function text.set(s)
  local words = {}
  for word in s:gmatch("%S+") do words[word] = true end
  return words
end

--- Returns a text without the byte order mark that some editors add.
---@param s string
---@return string
function text.without_mark(s)
  return s:sub(1, 3) == "\u{FEFF}" and s:sub(4) or s
end

--- Returns an error message for a text with the byte order mark of UTF-16, as some editors and
--- shells of Windows write it; else nil.
---@param s string
---@return string|nil
function text.utf16_fault(s)
  local mark = s:sub(1, 2)
  return (mark == "\xFF\xFE" or mark == "\xFE\xFF") and "the file is in UTF-16; save it as UTF-8"
    or nil
end

--- Returns `s` with control characters, direction marks and bytes that are not UTF-8 written as
--- `\n`, `\x1b`, `\u{202e}`: valid UTF-8 on one line.
---@param s string any bytes
---@return string
function text.escape(s)
  s = s:gsub("%c", hex)
  if not s:find("[\x80-\xff]") then return s end
  local out, at = {}, 1
  while at <= #s do
    local _, bad = utf8.len(s, at)
    for _, code in utf8.codes(s:sub(at, (bad or #s + 1) - 1)) do
      out[#out + 1] = within(code, CONTROLS) and ("\\u{%x}"):format(code) or utf8.char(code)
    end
    if not bad then break end
    out[#out + 1] = hex(s:sub(bad, bad))
    at = bad + 1
  end
  return table.concat(out)
end

--- Returns text of several lines with everything escaped that text.escape escapes, but line feeds
--- and tabs: nothing that a terminal would obey.
---@param s string any bytes
---@return string valid UTF-8
function text.plain(s)
  if not s:find("[^\t\n\x20-\x7e]") then return s end
  return (s:gsub("\r\n", "\n"):gsub("[^\n\t]+", text.escape))
end

--- Returns the number of columns that `s` takes on a terminal.
---@param s string valid UTF-8 without control characters
---@return integer
function text.width(s)
  if not s:find("[\x80-\xff]") then return #s end
  local width = 0
  for _, code in utf8.codes(s) do
    if within(code, TWO_WIDE) then
      width = width + 2
    elseif not within(code, ZERO_WIDTH) then
      width = width + 1
    end
  end
  return width
end

-- The longest prefix of at most `width` columns; or the shortest of at least that, if `at_least`.
local function prefix(s, width, at_least)
  local used = 0
  for at, code in utf8.codes(s) do
    if at_least and used >= width then return s:sub(1, at - 1) end
    used = used + text.width(utf8.char(code))
    if not at_least and used > width then return s:sub(1, at - 1) end
  end
  return s
end

--- Returns `s`, with its middle replaced by "…" if it takes more than `width` columns.
---@param s string valid UTF-8 without control characters
---@param width integer at least 0
---@return string
function text.fit(s, width)
  local total = text.width(s)
  if total <= width then return s end
  if width < 1 then return "" end
  local right = (width - 1) // 2
  return prefix(s, width - 1 - right) .. ELLIPSIS .. s:sub(#prefix(s, total - right, true) + 1)
end

--- Pads `s` with spaces to `width` columns, on its left if `to_right`. A wider `s` is returned as
--- it is.
---@param s string valid UTF-8 without control characters
---@param width integer
---@param to_right? boolean
---@return string
function text.pad(s, width, to_right)
  local spaces = (" "):rep(width - text.width(s))
  return to_right and spaces .. s or s .. spaces
end

--- Breaks `s` at spaces into lines of at most `width` columns; a longer word gets a line of its
--- own.
---@param s string valid UTF-8
---@param width integer
---@return string[]
function text.wrap(s, width)
  local lines, line = {}, nil
  for word in s:gmatch("%S+") do
    if line and text.width(line) + 1 + text.width(word) <= width then
      line = line .. " " .. word
    else
      lines[#lines + 1] = line
      line = word
    end
  end
  lines[#lines + 1] = line
  return lines
end

--- Lays out rows of cells as aligned lines, with two spaces between the columns and none at the
--- ends. Every row has the same number of cells.
---@param rows string[][] valid UTF-8 without control characters
---@param to_right table<integer, boolean> columns to align on the right
---@return string[]
function text.columns(rows, to_right)
  local widths, lines = {}, {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do widths[i] = math.max(widths[i] or 0, text.width(cell)) end
  end
  for n, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do cells[i] = text.pad(cell, widths[i], to_right[i]) end
    lines[n] = table.concat(cells, "  "):gsub("%s+$", "")
  end
  return lines
end

--- Returns the first line of a message, escaped, without the colon that leads to the next line.
---@param s string any bytes
---@return string
function text.one_line(s)
  return text.escape((s:match("^[^\r\n]*"):gsub("[:%s]+$", "")))
end

--- Quotes a word that the user typed, for a message of one line.
---@param s string any bytes
---@return string
function text.quote(s)
  return "'" .. text.fit(text.escape(s), 60) .. "'"
end

return text
