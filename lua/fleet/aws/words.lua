-- SPDX-License-Identifier: MIT
-- Splits a line into words as sh does, without any expansion: quotes and backslashes count,
-- variables, wildcards and pipes do not. For section titles and credential_process.

local words = {}

-- Reads a word from `at`: its text and the position behind it; nil for a quote that is not closed.
local function word_at(line, at)
  local parts = {}
  while at <= #line and not line:find("^%s", at) do
    local c = line:sub(at, at)
    if c == "'" then
      local stop = line:find("'", at + 1, true)
      if not stop then return nil end
      parts[#parts + 1] = line:sub(at + 1, stop - 1)
      at = stop + 1
    elseif c == '"' then
      at = at + 1
      while line:sub(at, at) ~= '"' do
        if at > #line then return nil end
        local escaped = line:match('^\\([\\"])', at)
        parts[#parts + 1] = escaped or line:sub(at, at)
        at = at + (escaped and 2 or 1)
      end
      at = at + 1
    elseif c == "\\" then
      if at == #line then return nil end
      parts[#parts + 1] = line:sub(at + 1, at + 1)
      at = at + 2
    else
      local plain = line:match("^[^%s'\"\\]+", at)
      parts[#parts + 1] = plain
      at = at + #plain
    end
  end
  return table.concat(parts), at
end

--- The words of a line; nil when a quote is not closed or there is no word.
---@param line string
---@return string[]|nil
function words.split(line)
  local list, at = {}, line:find("%S")
  while at do
    local word, stop = word_at(line, at)
    if not word then return nil end
    list[#list + 1] = word
    at = line:find("%S", stop)
  end
  return list[1] and list or nil
end

return words
