---@meta host.file
-- SPDX-License-Identifier: MIT
-- A plain file that is read anywhere and appended to (host/bindings/lib_file.c). The calls block
-- for as long as the disk takes. Failures return nil and an error of kind "output" or "input".

local file = {}

--- @class host.File
local File = {}

--- Opens a file for reading and appending; creates it if it does not exist.
---@param path string
---@return host.File|nil
---@return fleet.Error|nil
function file.open(path) end

--- Describes the file at a path, links followed, or of a descriptor. No other file has the same
--- `id`; `mode` has its permissions.
---@param of string|integer
---@return {type: "file"|"folder"|"other", id: string, mode: integer}|nil
function file.about(of) end

--- Reads a symbolic link.
---@param path string
---@return string|nil nil if it is not a link
function file.link(path) end

--- Appends to or replaces a file that only its owner may read; makes missing folders.
---@param path string
---@param bytes string
---@param mode "a"|"w"
---@return true|nil
---@return fleet.Error|nil
function file.write_private(path, bytes, mode) end

--- Makes a folder of mode 0700, whatever the umask.
---@param path string
---@return true|nil
---@return fleet.Error|nil
function file.make_folder(path) end

--- Makes a file of mode 0600, whatever the umask, which is on the disk when the call returns. Fails
--- if there is one; leaves none when it fails.
---@param path string
---@param bytes string
---@return true|nil
---@return fleet.Error|nil
function file.create(path, bytes) end

--- Gives a file or folder another name, which must be free.
---@param from string
---@param to string
---@return true|nil
---@return fleet.Error|nil
function file.move(from, to) end

--- Returns when all names in a folder are on the disk.
---@param path string
---@return true|nil
---@return fleet.Error|nil
function file.sync_folder(path) end

--- The names in a folder, in no order, without "." and "..".
---@param path string
---@return string[]|nil
---@return fleet.Error|nil
function file.list(path) end

--- Locks the file until it is closed or the process ends.
---@return boolean|nil false if another process has the lock
---@return fleet.Error|nil
function File:lock() end

--- Its size.
---@return integer|nil bytes
---@return fleet.Error|nil
function File:size() end

--- Reads bytes; fewer than `n` only at the end.
---@param at integer offset, from 0
---@param n integer
---@return string|nil bytes
---@return fleet.Error|nil
function File:read(at, n) end

--- Appends bytes. After a failure the part that was written is cut off again, if possible.
---@param bytes string
---@return true|nil
---@return fleet.Error|nil
function File:append(bytes) end

--- Truncates the file.
---@param size integer
---@return true|nil
---@return fleet.Error|nil
function File:truncate(size) end

--- Returns when all written bytes are on the disk.
---@return true|nil
---@return fleet.Error|nil
function File:sync() end

--- Closes the file. Idempotent.
function File:close() end

return file
