-- SPDX-License-Identifier: MIT
-- Files and folders that appear in a folder whole or not at all. They are written to a subfolder,
-- `.keygen`, and get their names when all of them are on the disk. The subfolder is also the lock:
-- while it exists, nobody else changes the folder this way.

local errors = require("fleet.errors")
local file = require("host.file")

local staging = {}

staging.NAME = ".keygen"

--- @class fleet.keys.Staging
--- @field folder string
--- @field staged string the subfolder
--- @field made string[] what exists in the subfolder, with itself, in the order of creation
--- @field moved string[] what has its name, in that order
--- @field new_folder boolean whether `open` made the folder
local Staging = {}
Staging.__index = Staging

--- Begins. Makes the folder if it does not exist.
---@param folder string
---@return fleet.keys.Staging|nil
---@return fleet.Error|nil
function staging.open(folder)
  local self = setmetatable({ folder = folder, staged = folder .. "/" .. staging.NAME, made = {},
    moved = {}, new_folder = false }, Staging)
  local ok, err
  if not file.about(folder) then
    ok, err = file.make_folder(folder)
    if not ok then return nil, err end
    self.new_folder = true
  end
  local exists = file.about(self.staged)
  ok, err = file.make_folder(self.staged)
  if ok then
    self.made[1] = self.staged
    return self
  end
  if self.new_folder then os.remove(folder) end
  if not exists then return nil, err end
  return nil, errors.format("output", "%s exists: another keygen is at work there, or one was "
    .. "interrupted. If none is, remove it with all that it contains, and repeat this command",
    self.staged)
end

--- Makes a folder below the folder.
---@param name string
---@return true|nil
---@return fleet.Error|nil
function Staging:make_folder(name)
  local path = self.staged .. "/" .. name
  local ok, err = file.make_folder(path)
  if ok then table.insert(self.made, path) end
  return ok, err
end

--- Makes a file, below a folder that `make_folder` made or directly below the folder.
---@param name string
---@param bytes string
---@return true|nil
---@return fleet.Error|nil
function Staging:write(name, bytes)
  local path = self.staged .. "/" .. name
  local ok, err = file.create(path, bytes)
  if ok then table.insert(self.made, path) end
  return ok, err
end

--- Gives files and folders their names in the folder, all or none. Replaces nothing.
---@param names string[]
---@return true|nil
---@return fleet.Error|nil
function Staging:publish(names)
  for _, path in ipairs(self.made) do
    if file.about(path).type == "folder" then
      local ok, err = file.sync_folder(path)
      if not ok then return nil, err end
    end
  end
  for _, name in ipairs(names) do
    local ok, err = file.move(self.staged .. "/" .. name, self.folder .. "/" .. name)
    if not ok then return nil, err end
    table.insert(self.moved, name)
  end
  local ok, err = file.sync_folder(self.folder)
  if ok and self.new_folder then
    ok, err = file.sync_folder(self.folder:match("^(.*/)[^/]+$") or ".")
  end
  if ok then self.moved = {} end
  return ok, err
end

--- Gives a file the name `path`, and replaces what had it.
---@param name string
---@param path string
---@return true|nil
---@return fleet.Error|nil
function Staging:replace(name, path)
  local ok, message = os.rename(self.staged .. "/" .. name, path)
  if not ok then return nil, errors.format("output", "cannot replace '%s': %s", path, message) end
  return file.sync_folder(path:match("^(.*)/"))
end

--- Ends: removes what has not been published, and a new folder in which nothing is.
function Staging:close()
  for i = #self.moved, 1, -1 do
    os.rename(self.folder .. "/" .. self.moved[i], self.staged .. "/" .. self.moved[i])
  end
  for i = #self.made, 1, -1 do os.remove(self.made[i]) end
  if self.new_folder then os.remove(self.folder) end -- fails if it is not empty
end

Staging.__close = Staging.close

return staging
