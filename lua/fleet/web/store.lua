-- SPDX-License-Identifier: MIT
-- The runs that are kept: a folder for each in the folder of the page. The oldest make room for new
-- ones; those that are running stay.

local errors = require("fleet.errors")
local file = require("host.file")
local run = require("fleet.web.run")
local sys = require("host.sys")

local store = {}

local MAX_KEPT = 50

--- @class fleet.WebStore
--- @field runs fleet.WebRun[] the newest first
--- @field results integer that have come since it was opened
local Store = {}
Store.__index = Store

-- Counts the results that come, over all runs.
local function counting(self)
  return function() self.results = self.results + 1 end
end

local function new_id()
  return (sys.random(8):gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- Only one program has the folder: two would write the same files.
local function lock(folder)
  local held, err = file.open(folder .. "/lock")
  if not held then return nil, err end
  local mine = held:lock()
  if mine then return held end
  held:close()
  return nil, errors.format("usage", "another moonfleet web keeps its runs in %s; choose another "
    .. "folder with --state", folder)
end

--- Opens the runs in a folder, which is made if there is none. Waits.
---@param folder string
---@return fleet.WebStore|nil
---@return fleet.Error|nil
function store.open(folder)
  if not file.about(folder) then
    local made, err = file.make_folder(folder)
    if not made then return nil, err end
  end
  local held, err = lock(folder)
  if not held then return nil, err end
  local self = setmetatable({ folder = folder, held = held, runs = {}, by_id = {}, results = 0 },
    Store)
  for _, name in ipairs(file.list(folder) or {}) do
    local opened = name:find("^%x+$") and run.open(folder .. "/" .. name, name)
    if opened then
      self.runs[#self.runs + 1] = opened
      self.by_id[name] = opened
      opened.on_result = counting(self)
    end
  end
  table.sort(self.runs, function(a, b)
    if a.created ~= b.created then return a.created > b.created end
    return a.id < b.id
  end)
  return self
end

--- Returns the run with that id, or nil.
---@param id string
---@return fleet.WebRun|nil
function Store:find(id) return self.by_id[id] end

--- Removes a run, unless it is running. Returns whether it did.
---@param which fleet.WebRun
---@return boolean
function Store:remove(which)
  if which.state == "running" then return false end
  which:remove()
  self.by_id[which.id] = nil
  for i, other in ipairs(self.runs) do
    if other == which then table.remove(self.runs, i) end
  end
  return true
end

--- Makes a run; the oldest one that does not run is removed if there are too many. Waits.
---@param about table as for run.create
---@param source fleet.ItemSource
---@return fleet.WebRun|nil
---@return fleet.Error|nil
function Store:add(about, source)
  for i = #self.runs, 1, -1 do
    if #self.runs < MAX_KEPT then break end
    self:remove(self.runs[i])
  end
  if #self.runs >= MAX_KEPT then
    return nil, errors.format("full", "There are %d runs under way; stop one first.", MAX_KEPT)
  end
  local id = new_id()
  local made, err = run.create(self.folder .. "/" .. id, id, about, source)
  if not made then return nil, err end
  table.insert(self.runs, 1, made)
  self.by_id[id] = made
  made.on_result = counting(self)
  return made
end

--- Lets another program have the folder.
function Store:close() self.held:close() end

return store
