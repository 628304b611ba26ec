---@meta host.line_editor
-- SPDX-License-Identifier: MIT
-- Lines typed at the terminal, while the loop goes on (host/bindings/lib_line_editor.c).

local line_editor = {}

--- @class host.Editor
local Editor = {}

--- Makes an editor; fails if stdin or stdout is not a terminal.
---@return host.Editor|nil
---@return fleet.Error|nil
function line_editor.open() end

--- Begins an empty line. Escape sequences in the prompt stand between two bytes \1.
---@param prompt string
---@return true|nil
---@return fleet.Error|nil
function Editor:start(prompt) end

--- Ends editing: the cursor goes below the line, the terminal is as it was found.
function Editor:stop() end

--- The bytes of the next key, or a text that was pasted. Waits.
---@return string|nil bytes nil when the terminal is gone
---@return boolean|nil pasted
function Editor:key() end

--- Does what a key means in an editor.
---@param bytes string
function Editor:feed(bytes) end

--- The line.
---@return string text
---@return integer cursor the byte that the cursor is behind
function Editor:text() end

--- Replaces the line.
---@param text string
---@param cursor integer|nil at its end by default
function Editor:set(text, cursor) end

--- Replaces the prompt.
---@param prompt string
function Editor:prompt(prompt) end

--- Writes above the line; while there is none, just writes.
---@param lines string
function Editor:print(lines) end

--- Stops the process, as ^Z does.
function Editor:suspend() end

--- Stops editing and frees the editor. Later use raises.
function Editor:close() end

return line_editor
