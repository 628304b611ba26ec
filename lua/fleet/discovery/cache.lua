-- SPDX-License-Identifier: MIT
-- The last good answer of a source, on disk: a command starts with it when the source does not
-- answer. Each question (which fleet, where) has a small JSON file in the user's cache folder. The
-- files may be deleted at any time.

local digest = require("fleet.digest")
local errors = require("fleet.errors")
local file = require("host.file")
local json = require("fleet.json")
local read = require("fleet.base.file").read

local cache = {}

local FORMAT = 1

--- @class fleet.DiscoveryCache
--- @field path string
--- @field question string
local Cache = {}
Cache.__index = Cache

--- The folder for the files: $MOONFLEET_CACHE (empty: there is no cache), the service's own
--- (systemd's CacheDirectory=), or the user's.
---@param getenv fun(name: string): string|nil
---@return string|nil
function cache.folder(getenv)
  local folder = getenv("MOONFLEET_CACHE")
  if folder then return folder ~= "" and folder or nil end
  folder = getenv("CACHE_DIRECTORY")
  if folder and folder ~= "" then return (folder:match("^[^:]+")) end
  folder = getenv("XDG_CACHE_HOME")
  if folder and folder:find("^/") then return folder .. "/moonfleet" end
  local home = getenv("HOME")
  return home and home ~= "" and home .. "/.cache/moonfleet" or nil
end

--- Makes the cache of a question. Reads and writes nothing yet.
---@param folder string|nil nil: there is no cache
---@param question string all that the answer depends on
---@return fleet.DiscoveryCache|nil
function cache.new(folder, question)
  if not folder then return nil end
  local name = digest.sha256(question):sub(1, 16)
  return setmetatable({
    path = ("%s/fleet-%s.json"):format(folder, name), question = question,
  }, Cache)
end

--- Replaces the cached answer. The file is complete at any time.
---@param members fleet.Member[]
---@param own string|nil see fleet.Answer
---@param time integer seconds since 1970
---@return true|nil
---@return fleet.Error|nil
function Cache:save(members, own, time)
  local text, err = json.encode({
    format = FORMAT, question = self.question, time = time, own = own, members = members,
  })
  if not text then return nil, err end
  local new = ("%s.%d"):format(self.path, math.random(1 << 30)) -- several commands may save
  local ok
  ok, err = file.write_private(new, text .. "\n", "w")
  if ok then ok, err = os.rename(new, self.path) end
  if ok then return true end
  os.remove(new)
  return nil, type(err) == "table" and err
    or errors.format("output", "cannot rename '%s': %s", new, err)
end

local function is_member(m)
  return type(m) == "table" and type(m.id) == "string" and type(m.address) == "string"
    and (m.zone == nil or type(m.zone) == "string")
end

--- Reads the cached answer; nil when there is none, or it is not valid.
---@return {members: fleet.Member[], own: string|nil, time: integer}|nil
function Cache:load()
  local answer = json.decode(read(self.path) or "")
  if type(answer) ~= "table" or answer.format ~= FORMAT or answer.question ~= self.question
    or math.type(answer.time) ~= "integer" or type(answer.members) ~= "table" then
    return nil
  end
  for _, m in ipairs(answer.members) do
    if not is_member(m) then return nil end
  end
  return { members = answer.members, own = type(answer.own) == "string" and answer.own or nil,
    time = answer.time }
end

return cache
