-- SPDX-License-Identifier: MIT
-- Words as a POSIX shell reads them, without any expansion.

local shell = {}

--- Quotes a word so that a shell reads it as it is.
---@param word string
---@return string
function shell.quote(word)
  if word:find("^[%w_@%%+=:,./-]+$") then return word end
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

--- Quotes and joins words.
---@param words string[]
---@return string
function shell.join(words)
  local quoted = {}
  for i, word in ipairs(words) do quoted[i] = shell.quote(word) end
  return table.concat(quoted, " ")
end

-- By the character that begins it, reads a piece of a word at `at`; returns the piece and the
-- position after it, or nil.
local pieces = {}

pieces["'"] = function(text, at)
  local piece, after = text:match("^'([^']*)'()", at)
  return piece, after
end

pieces['"'] = function(text, at)
  local last = at + 1
  while true do
    local char = text:sub(last, last)
    if char == "" then return nil end
    if char == '"' then break end
    last = last + (char == "\\" and 2 or 1)
  end
  return (text:sub(at + 1, last - 1):gsub('\\(["\\])', "%1")), last + 1
end

pieces["\\"] = function(text, at)
  if at == #text then return nil end
  return text:sub(at + 1, at + 1), at + 2
end

--- Splits a text into words at white space, as shlex.split of Python does: quotes and backslashes
--- mean what they mean in a shell, and nothing else does: no variables, no patterns, no pipes.
---@param text string
---@return string[]|nil words; or nil and what is wrong, worded to follow the name of the text
---@return string|nil
function shell.split(text)
  local words, at = {}, text:match("^%s*()")
  while at <= #text do
    local word = {}
    while at <= #text and not text:find("^%s", at) do
      local read = pieces[text:sub(at, at)]
      local piece, after
      if read then
        piece, after = read(text, at)
        if not piece then return nil, "has a quote or a backslash without an end" end
      else
        piece, after = text:match("^([^%s'\"\\]+)()", at)
      end
      word[#word + 1], at = piece, after
    end
    words[#words + 1] = table.concat(word)
    at = text:match("^%s*()", at)
  end
  return words
end

return shell
