-- SPDX-License-Identifier: MIT
-- The last good answer of a source, on disk: what a command begins with when the source does not
-- answer. One small JSON file a question (which fleet, where), in the user's cache folder; it may
-- be deleted at any time.

local digest = require("fleet.digest")
local file = require("host.file")
local json = require("fleet.json")
local read = require("fleet.base.file").read

local store = {}

local FORMAT = 1

--- @class fleet.Store
--- @field path string
--- @field question string
local Store = {}
Store.__index = Store

--- The folder for such files: $MOONFLEET_CACHE (empty: nothing is kept), the service's own
--- (systemd's CacheDirectory=), or the user's.
---@param getenv fun(name: string): string|nil
---@return string|nil
function store.folder(getenv)
  local folder = getenv("MOONFLEET_CACHE")
  if folder then return folder ~= "" and folder or nil end
  folder = getenv("CACHE_DIRECTORY")
  if folder and folder ~= "" then return (folder:match("^[^:]+")) end
  folder = getenv("XDG_CACHE_HOME")
  if folder and folder:find("^/") then return folder .. "/moonfleet" end
  local home = getenv("HOME")
  return home and home ~= "" and home .. "/.cache/moonfleet" or nil
end

--- What is kept for a question. Nothing is read or written yet.
---@param folder string|nil nil: nothing is kept
---@param question string all that the answer depends on
---@return fleet.Store|nil
function store.new(folder, question)
  if not folder then return nil end
  local name = digest.sha256(question):sub(1, 16)
  return setmetatable({
    path = ("%s/fleet-%s.json"):format(folder, name), question = question,
  }, Store)
end

--- Keeps an answer, in the place of the one before: the file is always whole.
---@param members fleet.Member[]
---@param own string|nil see fleet.Answer
---@param time integer seconds since 1970
---@return true|nil
---@return fleet.Error|nil
function Store:save(members, own, time)
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
    or { kind = "output", message = ("cannot rename '%s': %s"):format(new, err) }
end

local function is_member(m)
  return type(m) == "table" and type(m.id) == "string" and type(m.address) == "string"
    and (m.zone == nil or type(m.zone) == "string")
end

--- What was kept, or nil: nothing, or nothing that can be used.
---@return {members: fleet.Member[], own: string|nil, time: integer}|nil
function Store:load()
  local kept = json.decode(read(self.path) or "")
  if type(kept) ~= "table" or kept.format ~= FORMAT or kept.question ~= self.question
    or math.type(kept.time) ~= "integer" or type(kept.members) ~= "table" then
    return nil
  end
  for _, m in ipairs(kept.members) do
    if not is_member(m) then return nil end
  end
  return { members = kept.members, own = type(kept.own) == "string" and kept.own or nil,
    time = kept.time }
end

return store
