-- SPDX-License-Identifier: MIT
-- Reads lines from a terminal: host.line_editor edits them, and this module adds history, search in
-- it, completion and pasted text. Or reads lines from any other stdin, without a prompt.

local complete = require("fleet.repl.complete")
local input = require("fleet.run.input")
local line_editor = require("host.line_editor")
local stream = require("host.stream")
local sys = require("host.sys")
local text = require("fleet.base.text")

local prompt = {}

-- ---- keys ----

-- Key sequences of terminals, which differ, and the keys of the editor that they stand for.
local EDITOR_KEYS = {
  ["\27[A"] = "\16", ["\27OA"] = "\16", ["\27[B"] = "\14", ["\27OB"] = "\14",
  ["\27[C"] = "\6", ["\27OC"] = "\6", ["\27[D"] = "\2", ["\27OD"] = "\2",
  ["\27[H"] = "\1", ["\27OH"] = "\1", ["\27[1~"] = "\1", ["\27[7~"] = "\1",
  ["\27[F"] = "\5", ["\27OF"] = "\5", ["\27[4~"] = "\5", ["\27[8~"] = "\5",
  ["\27[3~"] = "\4", ["\8"] = "\127", ["\n"] = "\r",
  ["\27[1;5C"] = "\27f", ["\27[1;3C"] = "\27f", ["\27[5C"] = "\27f", ["\27Oc"] = "\27f",
  ["\27[1;5D"] = "\27b", ["\27[1;3D"] = "\27b", ["\27[5D"] = "\27b", ["\27Od"] = "\27b",
  ["\27\n"] = "\27\r", -- a terminal in its default mode turns Alt-Enter's \r into \n
  ["\27\8"] = "\27\127", ["\27[3;5~"] = "\27d", ["\27[3;3~"] = "\27d",
}
local DELETE, BACKSPACE = "\27[3~", "\127"

-- Keys that the editor gets besides characters. It has others, but some of those would wait for
-- more keys by themselves.
local EDITING = text.set(
  "\1 \2 \4 \5 \6 \20 \21 \23 \25 \127 \27b \27f \27d \27u \27l \27c \27\127")
EDITING["\11"], EDITING["\12"] = true, true -- which are spaces to %S

local function is_character(key)
  return not key:find("%c")
end

-- Pasted bytes as text: terminals send a carriage return as the end of a line.
local function pasted_text(bytes)
  return (bytes:gsub("\r\n?", "\n"):gsub("\n+$", ""):gsub("[%z\1-\8\11-\31\127]", ""))
end

-- ---- a terminal ----

--- @class fleet.Prompt
--- @field interactive boolean whether a person is at the terminal
local Terminal = { interactive = true }
Terminal.__index = Terminal

local MAX_WORDS = 200

local function insert(self, s)
  local line, cursor = self.editor:text()
  self.editor:set(line:sub(1, cursor) .. s .. line:sub(cursor + 1), cursor + #s)
end

-- Lays out words in columns, as ls does.
local function in_columns(words, width)
  local widest = 0
  for _, word in ipairs(words) do widest = math.max(widest, text.width(word)) end
  local columns = math.max(1, (width + 2) // (widest + 2))
  local count = (#words + columns - 1) // columns
  local rows = {}
  for r = 1, count do
    rows[r] = {}
    for c = 1, columns do rows[r][c] = words[(c - 1) * count + r] or "" end
  end
  return text.columns(rows, {})
end

local function offer(self, words)
  local shown = table.move(words, 1, math.min(#words, MAX_WORDS), 1, {})
  for i, word in ipairs(shown) do shown[i] = text.escape(word) end
  local lines = in_columns(shown, sys.width() or 80)
  if #words > MAX_WORDS then lines[#lines + 1] = ("... %d more"):format(#words - MAX_WORDS) end
  self.editor:print(table.concat(lines, "\n") .. "\n")
end

local function on_tab(self)
  local line, cursor = self.editor:text()
  if not line:sub(1, cursor):find("[^%s][^\n]*$") or line:sub(1, cursor):find("\n%s*$") then
    return insert(self, "  ")
  end
  local words, start = self.complete(line, cursor)
  if #words == 0 then return end
  local common = complete.common(words)
  if #common > cursor - start then
    self.editor:set(line:sub(1, start) .. common .. line:sub(cursor + 1), start + #common)
  elseif #words > 1 then
    offer(self, words)
  end
end

-- Up and down: moves to another line of the entry if it has several, else to another entry. The
-- line that was being typed comes after the newest entry.
local function move(self, by)
  local line, cursor = self.editor:text()
  local before, after = line:sub(1, cursor), line:sub(cursor + 1)
  local column = utf8.len(before:match("[^\n]*$")) or 0
  if by < 0 and before:find("\n") then
    local head, above = before:match("^(.-)([^\n]*)\n[^\n]*$")
    local to = utf8.offset(above, column + 1) or #above + 1
    return self.editor:set(line, #head + to - 1)
  elseif by > 0 and after:find("\n") then
    local rest, below = after:match("^([^\n]*\n)([^\n]*)")
    local to = utf8.offset(below, column + 1) or #below + 1
    return self.editor:set(line, cursor + #rest + to - 1)
  end
  local entries, at = self.history.entries, self.at + by
  if at < 1 or at > #entries + 1 then return end
  if self.at > #entries then self.draft = line end
  self.at = at
  self.editor:set(entries[at] or self.draft)
end

-- Searches the history while a pattern is typed, newest entry first. Returns the key that ended the
-- search, which is still to be handled ("" for none).
local function search(self)
  local entries = self.history.entries
  local line, cursor = self.editor:text()
  local pattern, at, missed = "", #entries + 1, false
  local function show_match(from)
    local found = pattern ~= "" and self.history:find(pattern, from)
    missed = pattern ~= "" and not found
    at = found or at
    local shown = entries[at] or line
    self.editor:prompt(("(%s) '%s': "):format(missed and "not found" or "search",
      text.escape(pattern)))
    local place = found and shown:find(pattern, 1, true)
    self.editor:set(shown, place and place - 1 or #shown)
  end
  local key, pasted
  repeat
    show_match(missed and at or pattern == "" and at or math.min(at + 1, #entries + 1))
    key, pasted = self.editor:key()
    local ended = false
    if not key or key == "\3" or key == "\7" then
      self.editor:set(line, cursor)
      key, ended = key and "", true
    elseif key == "\18" then
      local older = self.history:find(pattern, at)
      if pattern ~= "" and older then at = older end
    elseif key == BACKSPACE or key == "\8" then
      pattern = pattern:sub(1, (utf8.offset(pattern, -1) or 1) - 1)
      at = #entries + 1
    elseif not pasted and is_character(key) then
      pattern = pattern .. key
    else
      ended = true
    end
  until ended
  if at <= #entries and key ~= "" then
    if self.at > #entries then self.draft = line end
    self.at = at
  end
  self.editor:prompt(self.shown)
  return key, pasted
end

-- Each returns what Terminal:read returns, or nothing to continue.
local KEYS = {}

KEYS["\r"] = function(self)
  return (self.editor:text())
end

KEYS["\3"] = function(self)
  self.editor:set(self.editor:text() .. "^C")
  return nil, "interrupt"
end

KEYS["\4"] = function(self, key)
  if self.editor:text() == "" then return nil, "eof" end
  self.editor:feed(key)
end

KEYS["\t"] = on_tab
KEYS["\16"] = function(self) move(self, -1) end
KEYS["\14"] = function(self) move(self, 1) end
KEYS["\26"] = function(self) self.editor:suspend() end
KEYS["\27\r"] = function(self) insert(self, "\n") end

local function handle_key(self, key, pasted)
  if not pasted and key == "\18" then key, pasted = search(self) end
  if not key then return nil, "eof" end
  if pasted then return insert(self, pasted_text(key)) end
  local delete = key == DELETE
  key = EDITOR_KEYS[key] or key
  if KEYS[key] and not delete then return KEYS[key](self, key) end
  if EDITING[key] or is_character(key) then self.editor:feed(key) end
end

--- Waits for a line, which may contain line feeds if it was pasted.
---@param shown string the prompt, with escape sequences between two bytes \1
---@return string|nil line
---@return string|nil why "eof", or "interrupt" (Ctrl-C)
function Terminal:read(shown)
  self.shown, self.at, self.draft = shown, #self.history.entries + 1, ""
  io.stdout:flush()
  local ok, err = self.editor:start(shown)
  if not ok then error(err) end
  self.reading = true
  while true do
    local key, pasted = self.editor:key()
    local line, why = handle_key(self, key, pasted)
    if line or why then
      self.reading = false
      self.editor:stop()
      return line, why
    end
  end
end

--- Replaces the prompt, if a line is being typed.
---@param shown string as for `read`
function Terminal:show(shown)
  if not self.reading then return end
  self.shown = shown
  self.editor:prompt(shown)
end

--- Writes lines, above the line that is being typed, if any.
---@param s string whole lines
function Terminal:print(s)
  self.editor:print(s)
end

--- Restores the terminal.
function Terminal:close()
  self.editor:close()
end

-- ---- anything else ----

local Plain = { interactive = false }
Plain.__index = Plain

function Plain:read(shown)
  if self.is_terminal then self:print((shown:gsub("\1[^\1]*\1", ""))) end
  local line, err = self.next_line()
  if line and not err then return line end
  if err then io.stderr:write("moonfleet: ", text.plain(err.message), "\n") end
  if self.is_terminal then self:print("\n") end
  return nil, "eof"
end

-- Flushes, because the reader may wait for the output before it writes the next line.
function Plain:print(s)
  io.stdout:write(s)
  io.stdout:flush()
end

function Plain:close()
end

--- Opens the terminal, or plain stdin if that or stdout is no terminal. A terminal that cannot move
--- its cursor gets a prompt and no editing.
---@param options { history: fleet.History,
---  complete: fun(line: string, cursor: integer): string[], integer }
---@return fleet.Prompt
function prompt.open(options)
  local is_terminal = sys.isatty(0) and sys.isatty(1)
  if is_terminal and os.getenv("TERM") ~= "dumb" then
    local editor = line_editor.open()
    if editor then return prompt.new(editor, options) end
  end
  local stdin = stream.stdin()
  local next_line = input.lines(function() return stdin:read() end, "stdin")
  return setmetatable({ next_line = next_line, is_terminal = is_terminal }, Plain)
end

--- Makes a prompt over an editor.
---@param editor table as of host.line_editor
---@param options table as for `open`
---@return fleet.Prompt
function prompt.new(editor, options)
  return setmetatable({
    editor = editor, history = options.history, complete = options.complete,
  }, Terminal)
end

return prompt
