-- SPDX-License-Identifier: MIT
-- The file source: a file with a node in each line, written by a script or a configuration
-- manager that knows the fleet. It is read every second. When a line is removed, its node gets no
-- more work and is left once what runs there has ended.
--
--     # HOST[:PORT] [ZONE]
--     10.0.0.11:5440   eu-west-1a
--     10.0.0.12

local address = require("fleet.discovery.address")
local errors = require("fleet.errors")
local file = require("fleet.base.file")

local source = {}

local INTERVAL = 1
local MAX_BYTES = 4 * 1024 * 1024

--- @class fleet.FileSource: fleet.DiscoverySource
local FileSource = {}
FileSource.__index = FileSource

-- The file is authoritative: a node without a line is not a member. An editor may write the file in
-- two steps, so a line has to be missing twice.
local RULES = { misses = 2, keep_live = false, confirm = false }

--- Makes a source; it does not read yet.
---@param path string
---@param parse fun(text: string, path: string): fleet.Member[]|nil, fleet.Error|nil
---@return fleet.FileSource
function source.new(path, parse)
  return setmetatable({
    path = path, parse = parse, rules = RULES, name = "file " .. path,
    interval = INTERVAL,
  }, FileSource)
end

local wrong = errors.formatter("input")

--- Parses the text of such a file.
---@param text string
---@param name string for errors
---@param port integer for lines without one
---@return fleet.Member[]|nil members or nil and an error
---@return fleet.Error|nil
function source.parse(text, name, port)
  local members, seen = {}, {}
  for number, entry in file.entries(text) do
    local words = {}
    for word in entry:gmatch("%S+") do words[#words + 1] = word end
    local host, at = address.split(words[1])
    if not host then
      return nil, wrong("%s:%d: '%s' %s", name, number, words[1]:sub(1, 60), at)
    elseif #words > 2 then
      return nil, wrong("%s:%d: a line is HOST[:PORT] [ZONE], got %d words", name, number, #words)
    end
    local full = address.join(host, at or port)
    if not seen[full] then
      seen[full] = true
      members[#members + 1] = { id = full, address = full, zone = words[2] }
    end
  end
  return members
end

--- A function that parses such files.
---@param port integer for lines without one
---@return fun(text: string, path: string): fleet.Member[]|nil, fleet.Error|nil
function source.addresses(port)
  return function(text, path) return source.parse(text, path, port) end
end

--- Reads the file.
---@return fleet.Answer|nil
---@return fleet.Error|nil
function FileSource:poll()
  local text, message = file.read_text(self.path, MAX_BYTES)
  if not text then return nil, wrong("cannot read the list of nodes %s", message) end
  if text ~= self.text then
    local members, err = self.parse(text, self.path)
    if not members then return nil, err end
    self.text, self.members = text, members
  end
  return { members = self.members, wait = INTERVAL }
end

--- Why there may be no members.
---@return string
function FileSource:why_empty()
  return ("there is no node in %s"):format(self.path)
end

return source
