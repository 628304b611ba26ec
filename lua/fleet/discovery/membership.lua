-- SPDX-License-Identifier: MIT
-- Who belongs to the fleet, out of what a source answers again and again: a pure state machine.
-- Sources err. EC2 answers late and in part, a name server forgets; so whoever is seen belongs
-- at once, and nobody leaves for one answer. Discovery adds, health removes:
--
--   - a member goes after `misses` good answers in a row without it, and not while it lives
--   - one that is known from an earlier time only goes at the first good answer without it
--   - an answer that is a part only takes nobody out
--   - an answer without our own machine, which should be in it, is not believed for removals
--   - nor is one that lacks more than half of all members, until the next one says the same
--
-- That an error is no answer is the caller's part: it observes answers only.

local membership = {}

--- @class fleet.Member
--- @field id string what it is known by: an instance's id, or its address
--- @field address string HOST:PORT
--- @field zone string|nil

--- @class fleet.Answer what a source says at one time
--- @field members fleet.Member[] of different ids
--- @field own string|nil the id of this machine, when it should be among them
--- @field wait number seconds until it is worth asking again
--- @field partial boolean|nil more may belong than it says
--- @field note string|nil what the source wants to be known, such as what it left out

--- @class fleet.Membership
--- @field members table<string, fleet.Member> by id
--- @field doubt string|nil why the last answer is not believed for removals
local Membership = {}
Membership.__index = Membership

--- @class fleet.MembershipRules
--- @field misses integer good answers in a row without a member, until it goes
--- @field keep_live boolean whether one that lives stays all the same
--- @field confirm boolean whether an answer that lacks more than half is to be confirmed

--- What suits sources that answer late and in part.
membership.CAUTIOUS = { misses = 3, keep_live = true, confirm = true }

--- Nobody belongs yet.
---@param rules fleet.MembershipRules
---@return fleet.Membership
function membership.new(rules)
  return setmetatable({
    rules = rules, members = {},
    missed = {},       -- by id: good answers in a row without it
    unconfirmed = nil, -- ids that the last answer lacked, more than half of all
  }, Membership)
end

local function by_id(list)
  local map = {}
  for _, member in ipairs(list) do map[member.id] = member end
  return map
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

-- Why the answer is not believed for removals, or nil. What an answer lacked that is confirmed
-- now counts as missed then, too.
local function doubt_of(self, answer, present, missing, count)
  local before = self.unconfirmed
  self.unconfirmed = nil
  if answer.partial then
    return "only a part of it came"
  elseif answer.own and not present[answer.own] then
    return ("this machine (%s) is not in it"):format(answer.own)
  elseif self.rules.confirm and 2 * #missing > count and not self.shrunk then
    self.shrunk = true
    self.unconfirmed = missing
    return ("%d of %d members are not in it"):format(#missing, count)
  end
  self.shrunk = self.rules.confirm and 2 * #missing > count
  for _, id in ipairs(before or {}) do
    if self.members[id] and not present[id] then self.missed[id] = (self.missed[id] or 0) + 1 end
  end
  return nil
end

--- Takes an answer in. What changed comes back in order: first all removals.
---@param answer fleet.Answer
---@param is_live fun(id: string): boolean whether there is a live connection to that member
---@return fleet.Member[] added
---@return fleet.Member[] removed one whose address changed is in both
function Membership:observe(answer, is_live)
  local present, added, removed = by_id(answer.members), {}, {}
  local missing, count = absent(self, present)
  self.doubt = doubt_of(self, answer, present, missing, count)
  for _, id in ipairs(self.doubt and {} or missing) do
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

--- Takes in who belonged at an earlier time: the first answer that is believed, and lacks them,
--- takes them out.
---@param members fleet.Member[]
function Membership:recall(members)
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
