-- SPDX-License-Identifier: MIT
-- Why items failed, for the closing lines: failures with one kind and one message are counted
-- together, numbers in messages and the item itself apart.

local errors = require("fleet.errors")
local pretty = require("fleet.base.pretty")
local text = require("fleet.base.text")

local reasons = {}

-- Different reasons that are kept apart; what comes later is counted together.
local MOST_KEPT = 1000
local MESSAGE_MAX, ITEM_MAX = 200, 40

--- @class fleet.run.Reason
--- @field kind string
--- @field message string of the first
--- @field item any the first
--- @field count integer

local Reasons = {}
Reasons.__index = Reasons

-- What messages of one reason have in common. An item that is a number is a number like others, and
-- the place in a script is no part of the item, even where the two look alike.
local function pattern_of(kind, message, item)
  if type(item) == "string" and item:find("%D") then
    local _, place = message:find("^[^%s:]+:%d+: ")
    local from, to = message:find(item, (place or 0) + 1, true)
    if from then message = message:sub(1, from - 1) .. "\0" .. message:sub(to + 1) end
  end
  return kind .. "\0" .. message:sub(1, MESSAGE_MAX):gsub("%d+", "0")
end

--- Takes the failure of an item.
---@param item any
---@param err any
function Reasons:add(item, err)
  local kind = errors.is(err) and err.kind or "raise"
  local message = text.one_line(pretty.message(err))
  local key = pattern_of(kind, message, item)
  local known = self.by_key[key]
  if known then
    known.count = known.count + 1
  elseif #self.list < MOST_KEPT then
    known = { kind = kind, message = message, item = item, count = 1 }
    self.by_key[key] = known
    self.list[#self.list + 1] = known
  else
    self.others = self.others + 1
  end
end

--- The commonest, the first of those that are equally common first.
---@param most integer
---@return fleet.run.Reason[]
---@return integer others how many failures had another reason
function Reasons:top(most)
  local order, others = {}, self.others
  for i in ipairs(self.list) do order[i] = i end
  table.sort(order, function(a, b)
    local x, y = self.list[a].count, self.list[b].count
    if x ~= y then return x > y end
    return a < b
  end)
  local top = {}
  for i, at in ipairs(order) do
    if i <= most then
      top[i] = self.list[at]
    else
      others = others + self.list[at].count
    end
  end
  return top, others
end

--- Lines for people, each ended by LF; "" when nothing failed.
---@param most integer
---@return string
function Reasons:text(most)
  local top, others = self:top(most)
  local lines = {}
  for i, reason in ipairs(top) do
    lines[i] = ("%d failed with %s: %s (%s%s)\n"):format(reason.count, text.escape(reason.kind),
      text.fit(reason.message, MESSAGE_MAX), reason.count > 1 and "first " or "",
      pretty.line(reason.item, ITEM_MAX))
  end
  if others > 0 then lines[#lines + 1] = ("%d failed with other errors\n"):format(others) end
  return table.concat(lines)
end

---@return table reasons with :add, :top and :text
function reasons.new()
  return setmetatable({ list = {}, by_key = {}, others = 0 }, Reasons)
end

return reasons
