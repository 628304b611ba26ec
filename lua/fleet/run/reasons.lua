-- SPDX-License-Identifier: MIT
-- The reasons why items failed, for the closing lines: failures of the same kind and message are
-- counted together; numbers in the message and the item itself may differ.

local errors = require("fleet.errors")
local pretty = require("fleet.base.pretty")
local text = require("fleet.base.text")

local reasons = {}

-- Different reasons that are kept; later ones are counted together.
local MAX_KEPT = 1000
-- Bytes and columns.
local MAX_MESSAGE, MAX_ITEM = 200, 40

--- @class fleet.run.Reason
--- @field kind string
--- @field message string of the first
--- @field item any the first
--- @field count integer

local Reasons = {}
Reasons.__index = Reasons

-- Returns what messages of one reason have in common. An item that is a number is replaced as any
-- number is, and the position in a script is not taken for the item, even where the two look alike.
local function pattern_of(kind, message, item)
  if type(item) == "string" and item:find("%D") then
    local _, place = message:find("^[^%s:]+:%d+: ")
    local from, to = message:find(item, (place or 0) + 1, true)
    if from then message = message:sub(1, from - 1) .. "\0" .. message:sub(to + 1) end
  end
  return kind .. "\0" .. message:sub(1, MAX_MESSAGE):gsub("%d+", "0")
end

--- Counts the failure of an item.
---@param item any
---@param err any
function Reasons:add(item, err)
  local kind = errors.is(err) and err.kind or "raise"
  local message = text.one_line(pretty.message(err))
  local key = pattern_of(kind, message, item)
  local known = self.by_key[key]
  if known then
    known.count = known.count + 1
  elseif #self.list < MAX_KEPT then
    known = { kind = kind, message = message, item = item, count = 1 }
    self.by_key[key] = known
    self.list[#self.list + 1] = known
  else
    self.others = self.others + 1
  end
end

--- Returns the most common reasons, equally common ones in the order in which they came.
---@param max integer
---@return fleet.run.Reason[]
---@return integer others how many failures had another reason
function Reasons:top(max)
  local order, others = {}, self.others
  for i in ipairs(self.list) do order[i] = i end
  table.sort(order, function(a, b)
    local x, y = self.list[a].count, self.list[b].count
    if x ~= y then return x > y end
    return a < b
  end)
  local top = {}
  for i, at in ipairs(order) do
    if i <= max then
      top[i] = self.list[at]
    else
      others = others + self.list[at].count
    end
  end
  return top, others
end

--- Returns lines for people, each ended by LF; "" when nothing failed.
---@param max integer reasons
---@return string
function Reasons:text(max)
  local top, others = self:top(max)
  local lines = {}
  for i, reason in ipairs(top) do
    lines[i] = ("%d failed with %s: %s (%s%s)\n"):format(reason.count, text.escape(reason.kind),
      text.fit(reason.message, MAX_MESSAGE), reason.count > 1 and "first " or "",
      pretty.line(reason.item, MAX_ITEM))
  end
  if others > 0 then lines[#lines + 1] = ("%d failed with other errors\n"):format(others) end
  return table.concat(lines)
end

---@return table reasons with :add, :top and :text
function reasons.new()
  return setmetatable({ list = {}, by_key = {}, others = 0 }, Reasons)
end

return reasons
