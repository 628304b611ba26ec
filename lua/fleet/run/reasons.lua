-- SPDX-License-Identifier: MIT
-- The reasons why items failed, for the closing lines: failures of the same kind and message are
-- counted together. Numbers in the message may differ, and so may the item where the message has
-- it.

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
--- @field number integer in the order in which they came

--- @class fleet.run.Reasons
local Reasons = {}
Reasons.__index = Reasons

-- Returns what messages that differ in numbers have in common.
local function pattern_of(kind, message)
  return kind .. "\0" .. message:sub(1, MAX_MESSAGE):gsub("%d+", "0")
end

-- Returns a message without the first occurrence of the item. An item that is a number stays, as
-- any number does, and the position in a script is not taken for the item, even where the two look
-- alike.
local function without_item(message, item)
  if type(item) ~= "string" or not item:find("%D") then return message end
  local _, place = message:find("^[^%s:]+:%d+: ")
  local from, to = message:find(item, (place or 0) + 1, true)
  return from and message:sub(1, from - 1) .. "\0" .. message:sub(to + 1) or message
end

--- Counts the failure of an item.
---@param item any
---@param err any
function Reasons:add(item, err)
  local kind = errors.is(err) and err.kind or "raise"
  local message = text.one_line(pretty.message(err))
  -- The item may occur in a message by chance, so the message as it is counts first.
  local key, general = pattern_of(kind, message), pattern_of(kind, without_item(message, item))
  local known = self.by_key[key] or self.by_key[general]
  if known then
    known.count = known.count + 1
  elseif #self.list < MAX_KEPT then
    known = { kind = kind, message = message, item = item, count = 1, number = #self.list + 1 }
    self.by_key[key], self.by_key[general], self.list[known.number] = known, known, known
  else
    self.others = self.others + 1
  end
end

--- Returns lines for people, each ended by LF: the most common reasons first, equally common ones
--- in the order in which they came; "" when nothing failed.
---@param max integer reasons
---@return string
function Reasons:text(max)
  local others, lines = self.others, {}
  table.sort(self.list, function(a, b)
    if a.count ~= b.count then return a.count > b.count end
    return a.number < b.number
  end)
  for i, reason in ipairs(self.list) do
    if i <= max then
      lines[i] = ("%d failed with %s: %s (%s%s)\n"):format(reason.count, text.escape(reason.kind),
        text.fit(reason.message, MAX_MESSAGE), reason.count > 1 and "first " or "",
        pretty.line(reason.item, MAX_ITEM))
    else
      others = others + reason.count
    end
  end
  if others > 0 then lines[#lines + 1] = ("%d failed with other errors\n"):format(others) end
  return table.concat(lines)
end

---@return fleet.run.Reasons
function reasons.new()
  return setmetatable({ list = {}, by_key = {}, others = 0 }, Reasons)
end

return reasons
