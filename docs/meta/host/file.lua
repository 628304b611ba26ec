---@meta host.file
-- SPDX-License-Identifier: MIT
-- A plain file that is read anywhere and written at its end (host/bindings/lib_file.c). Nothing
-- here waits
-- for its turn: calls take as long as the disk does. Failures return nil and an error of kind
-- "output" or "input".

local file = {}

--- @class host.File
local File = {}

--- Opens a file to read and to append; makes it when there is none.
---@param path string
---@return host.File|nil
---@return fleet.Error|nil
function file.open(path) end

--- What has a name, links followed, or a descriptor. `id` is a string that no other file has.
---@param of string|integer
---@return {type: "file"|"folder"|"other", id: string}|nil
function file.about(of) end

--- The text of a symbolic link.
---@param path string
---@return string|nil nil when it is none
function file.link(path) end

--- Appends to a file, or makes it anew, that only its owner may read; makes missing folders.
---@param path string
---@param bytes string
---@param mode "a"|"w"
---@return true|nil
---@return fleet.Error|nil
function file.write_private(path, bytes, mode) end

--- Takes the lock of the file, until it is closed or the process ends.
---@return boolean|nil false when another process has it
---@return fleet.Error|nil
function File:lock() end

--- Its size.
---@return integer|nil bytes
---@return fleet.Error|nil
function File:size() end

--- Reads; fewer bytes than asked for only at the end.
---@param at integer offset, from 0
---@param n integer
---@return string|nil bytes
---@return fleet.Error|nil
function File:read(at, n) end

--- Writes at the end; after a failure what was written is cut off again, if that can be done.
---@param bytes string
---@return true|nil
---@return fleet.Error|nil
function File:append(bytes) end

--- Cuts the file.
---@param size integer
---@return true|nil
---@return fleet.Error|nil
function File:truncate(size) end

--- Returns when all that was written is on the disk.
---@return true|nil
---@return fleet.Error|nil
function File:sync() end

--- Closes it. Idempotent.
function File:close() end

return file
