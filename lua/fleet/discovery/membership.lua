-- SPDX-License-Identifier: MIT
-- The members of the fleet, from the answers of a source: a pure state machine. Sources err: EC2
-- answers late and incompletely, a name server forgets. So a member is added as soon as it is in an
-- answer, and is not removed because of one answer. Discovery adds, health removes:
--
--   - a member is removed after `misses` good answers in a row without it, and not while it is live
--   - a member of the cached list is removed at the first good answer without it
--   - a partial answer removes no member
--   - an answer that should have this machine and does not is rejected: it removes no member
--   - so is one that lacks more than half of all members, until the next one says the same
--
-- The caller must not pass on errors: they are not answers.

local membership = {}

--- @class fleet.Member
--- @field id string an instance's id, or its address
--- @field address string HOST:PORT
--- @field zone string|nil

--- @class fleet.Answer
--- @field members fleet.Member[] of different ids
--- @field own string|nil the id of this machine, when it should be among them
--- @field wait number seconds until the next poll
--- @field partial boolean|nil whether there may be more members
--- @field note string|nil a message for the log, such as what was left out

--- @class fleet.Membership
--- @field members table<string, fleet.Member> by id
--- @field rejection string|nil why the last answer was rejected, and removed no member
local Membership = {}
Membership.__index = Membership

--- @class fleet.MembershipRules
--- @field misses integer good answers in a row without a member until it is removed
--- @field keep_live boolean whether a live member stays all the same
--- @field confirm boolean whether an answer that lacks more than half must be confirmed by the next

--- Rules for sources that answer late and incompletely.
membership.CAUTIOUS = { misses = 3, keep_live = true, confirm = true }

--- Makes a membership without members.
---@param rules fleet.MembershipRules
---@return fleet.Membership
function membership.new(rules)
  return setmetatable({
    rules = rules, members = {},
    missed = {},       -- by id: good answers in a row without it
    unconfirmed = nil, -- ids that the last answer lacked, if it was rejected for lacking too many
  }, Membership)
end

-- Ids of members that are not in `present`, and how many members there are.
local function absent(self, present)
  local ids, count = {}, 0
  for id in pairs(self.members) do
    count = count + 1
    if not present[id] then ids[#ids + 1] = id end
  end
  table.sort(ids)
  return ids, count
end

-- Why the answer is rejected, or nil. An answer that is confirmed now counts as a miss, too.
local function rejection_of(self, answer, present, missing, count)
  local before = self.unconfirmed
  self.unconfirmed = nil
  if answer.partial then
    return "it is partial"
  elseif answer.own and not present[answer.own] then
    return ("this machine (%s) is missing"):format(answer.own)
  elseif self.rules.confirm and 2 * #missing > count and not self.shrunk then
    self.shrunk = true
    self.unconfirmed = missing
    return ("%d of %d members are missing"):format(#missing, count)
  end
  self.shrunk = self.rules.confirm and 2 * #missing > count
  for _, id in ipairs(before or {}) do
    if self.members[id] and not present[id] then self.missed[id] = (self.missed[id] or 0) + 1 end
  end
  return nil
end

--- Takes an answer. Removals have to be applied before additions.
---@param answer fleet.Answer
---@param is_live fun(id: string): boolean whether there is a live connection to that member
---@return fleet.Member[] added
---@return fleet.Member[] removed a member whose address changed is in both
function Membership:observe(answer, is_live)
  local present, added, removed = {}, {}, {}
  for _, member in ipairs(answer.members) do present[member.id] = true end
  local missing, count = absent(self, present)
  self.rejection = rejection_of(self, answer, present, missing, count)
  for _, id in ipairs(self.rejection and {} or missing) do
    self.missed[id] = (self.missed[id] or 0) + 1
    if self.missed[id] >= self.rules.misses and not (self.rules.keep_live and is_live(id)) then
      removed[#removed + 1] = self.members[id]
      self.members[id], self.missed[id] = nil, nil
    end
  end
  for _, member in ipairs(answer.members) do
    local known = self.members[member.id]
    self.missed[member.id] = nil
    if known and known.address ~= member.address then removed[#removed + 1] = known end
    if not known or known.address ~= member.address then added[#added + 1] = member end
    self.members[member.id] = member
  end
  return added, removed
end

--- Adds the members of a cached list: the first answer that lacks them and is not rejected removes
--- them.
---@param members fleet.Member[]
function Membership:restore(members)
  for _, member in ipairs(members) do
    self.members[member.id], self.missed[member.id] = member, self.rules.misses - 1
  end
end

--- The members, sorted by address.
---@return fleet.Member[]
function Membership:list()
  local list = {}
  for _, member in pairs(self.members) do list[#list + 1] = member end
  table.sort(list, function(a, b)
    if a.address ~= b.address then return a.address < b.address end
    return a.id < b.id
  end)
  return list
end

return membership
