-- SPDX-License-Identifier: MIT
-- The history of the prompt, over all sessions: a list of entries, and a file that only its owner
-- may read. Every entry is appended to the file at once, so concurrent sessions keep all of theirs,
-- and one that is killed loses nothing. In the file an entry is one line, in which `\n` is a line
-- feed and `\\` a backslash.

local file = require("host.file")
local read_file = require("fleet.base.file").read

local history = {}

--- @class fleet.History
--- @field entries string[] oldest first
--- @field error? fleet.Error why entries are no longer written to the file
local History = {}
History.__index = History

local MAX_ENTRIES = 1000
local MAX_ENTRY = 64 * 1024 -- bytes; a longer one is not kept

local function to_line(entry)
  return (entry:gsub("[\\\n]", { ["\\"] = "\\\\", ["\n"] = "\\n" })) .. "\n"
end

local function from_line(line)
  return (line:gsub("\\(.)", { ["\\"] = "\\", n = "\n" }))
end

--- Returns the path of the history: $MOONFLEET_HISTORY, or a file in the user's folder for state;
--- nil when there is no such folder, or when the variable is empty.
---@param getenv fun(name: string): string|nil
---@return string|nil path
function history.default_path(getenv)
  local path = getenv("MOONFLEET_HISTORY")
  if path then return path ~= "" and path or nil end
  local state, home = getenv("XDG_STATE_HOME"), getenv("HOME")
  if state and state:find("^/") then return state .. "/moonfleet/history" end
  return home and home ~= "" and home .. "/.local/state/moonfleet/history" or nil
end

-- Drops old entries from the file.
local function shorten(self)
  local lines = {}
  for i, entry in ipairs(self.entries) do lines[i] = to_line(entry) end
  local new = self.path .. ".new"
  local ok, err = file.write_private(new, table.concat(lines), "w")
  if not ok then
    self.error = err
  elseif not os.rename(new, self.path) then
    os.remove(new)
  end
end

--- Reads a history from a file, which need not exist yet.
---@param path? string default: keep no history
---@param max? integer entries; default: 1000
---@return fleet.History
function history.open(path, max)
  local self = setmetatable({ entries = {}, path = path, max = max or MAX_ENTRIES }, History)
  local kept, all = path and read_file(path) or "", {}
  for line in kept:gmatch("[^\n]+") do all[#all + 1] = from_line(line) end
  self.entries = table.move(all, math.max(1, #all - self.max + 1), #all, 1, {})
  if #all > 2 * self.max then shorten(self) end
  return self
end

--- Adds an entry, unless it is blank, very long or the same as the last.
---@param entry string
function History:add(entry)
  if not entry:find("%S") or #entry > MAX_ENTRY or entry == self.entries[#self.entries] then
    return
  end
  self.entries[#self.entries + 1] = entry
  if #self.entries > self.max then table.remove(self.entries, 1) end
  if not self.path or self.error then return end
  local _, err = file.write_private(self.path, to_line(entry), "a")
  self.error = err
end

--- Finds the newest entry before `at` that contains `pattern`.
---@param pattern string plain text
---@param at integer
---@return integer|nil index
function History:find(pattern, at)
  for i = math.min(at, #self.entries + 1) - 1, 1, -1 do
    if self.entries[i]:find(pattern, 1, true) then return i end
  end
  return nil
end

return history
