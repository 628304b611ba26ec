---@meta host.line_editor
-- SPDX-License-Identifier: MIT
-- A line that is edited at the terminal while the loop runs (host/bindings/lib_line_editor.c).

local line_editor = {}

--- @class host.Editor
local Editor = {}

--- Makes an editor; fails if stdin or stdout is not a terminal.
---@return host.Editor|nil
---@return fleet.Error|nil
function line_editor.open() end

--- Shows an empty line. Escape sequences in the prompt stand between two bytes \1.
---@param prompt string
---@return true|nil
---@return fleet.Error|nil
function Editor:start(prompt) end

--- Ends editing: moves the cursor below the line and restores the terminal.
function Editor:stop() end

--- Waits for the next key or pasted text.
---@return string|nil bytes nil when the terminal is gone
---@return boolean|nil pasted
function Editor:key() end

--- Does what the key does in an editor.
---@param bytes string
function Editor:feed(bytes) end

--- The line.
---@return string text
---@return integer cursor the number of bytes before the cursor
function Editor:text() end

--- Replaces the line.
---@param text string
---@param cursor integer|nil default: its end
function Editor:set(text, cursor) end

--- Replaces the prompt.
---@param prompt string
function Editor:prompt(prompt) end

--- Writes above the line, or plainly while no line is edited.
---@param lines string
function Editor:print(lines) end

--- Stops the program, as ^Z does.
function Editor:suspend() end

--- Stops editing and frees the editor. Later use raises.
function Editor:close() end

return line_editor
