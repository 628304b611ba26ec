-- SPDX-License-Identifier: MIT
-- Dates in AWS's formats as seconds since 1970. UTC, whatever the time zone of the machine.

local time = {}

local MONTHS = {
  Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10,
  Nov = 11, Dec = 12,
}

-- Days since 1970-01-01 in the Gregorian calendar. Years begin in March here, so that the leap day
-- is their last day.
local function days(year, month, day)
  if month <= 2 then year, month = year - 1, month + 12 end
  local leaps = year // 4 - year // 100 + year // 400
  return 365 * year + leaps + (153 * (month - 3) + 2) // 5 + day - 1 - 719468
end

local function seconds(year, month, day, hour, minute, second)
  year, month, day = math.tointeger(year), math.tointeger(month), math.tointeger(day)
  hour, minute, second = math.tointeger(hour), math.tointeger(minute), math.tointeger(second)
  if month < 1 or month > 12 or day < 1 or day > 31 or hour > 24 or minute > 59 or second > 60 then
    return nil
  end
  return days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second
end

--- Reads "2026-11-27T03:08:34Z", also with a fraction and an offset ("+01:00"); nil for anything
--- else.
---@param text any
---@return integer|nil
function time.iso(text)
  if type(text) ~= "string" or #text > 64 then return nil end
  local year, month, day, hour, minute, second, rest =
    text:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)[Tt ](%d%d):(%d%d):(%d%d)(.*)$")
  local at = year and seconds(year, month, day, hour, minute, second)
  if not at then return nil end
  rest = rest:gsub("^%.%d+", "")
  if rest == "Z" or rest == "z" then return at end
  local sign, h, m = rest:match("^([+-])(%d%d):?(%d%d)$")
  if not sign then return nil end
  local offset = math.tointeger(h) * 3600 + math.tointeger(m) * 60
  return sign == "+" and at - offset or at + offset
end

--- Reads a Date header, "Fri, 27 Nov 2026 03:08:34 GMT"; nil for anything else.
---@param text any
---@return integer|nil
function time.http(text)
  if type(text) ~= "string" or #text > 64 then return nil end
  local day, month, year, hour, minute, second =
    text:match("^%a+, (%d%d?) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$")
  if not day or not MONTHS[month] then return nil end
  return seconds(year, MONTHS[month], day, hour, minute, second)
end

--- Writes seconds since 1970 as "2026-11-27T03:08:34Z", without a fraction. Not by os.date, which
--- ends in 2038 where the system's time has 32 bits; expiry dates do not.
---@param at number
---@return string
function time.write(at)
  local whole = math.floor(at)
  local day, second = whole // 86400 + 719468, whole % 86400
  local era, of_era = day // 146097, day % 146097 -- of 400 years
  local year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
  local of_year = of_era - (365 * year + year // 4 - year // 100) -- from 1 March
  local month = (5 * of_year + 2) // 153
  local of_month = of_year - (153 * month + 2) // 5 + 1
  month = month < 10 and month + 3 or month - 9
  year = year + era * 400 + (month <= 2 and 1 or 0)
  return ("%04d-%02d-%02dT%02d:%02d:%02dZ"):format(year, month, of_month, second // 3600,
    second // 60 % 60, second % 60)
end

return time
