-- SPDX-License-Identifier: MIT
-- The encoder of fleet.json for specs that run without the host: sorts members,
-- keeps floats as floats, refuses what JSON cannot represent.

local errors = require("fleet.errors")

local json = {}

local NAMED = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function quote(s)
  return '"' .. s:gsub('[%c"\\]', function(c)
    return NAMED[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

local function float(n)
  if n ~= n then return '"NaN"' end
  if n == math.huge then return '"Infinity"' end
  if n == -math.huge then return '"-Infinity"' end
  for digits = 1, 17 do
    local s = ("%%.%dg"):format(digits):format(n)
    if tonumber(s) == n then return s:find("[.e]") and s or s .. ".0" end
  end
end

local function write(value)
  local kind = type(value)
  if kind == "nil" or kind == "boolean" or math.type(value) == "integer" then
    return value == nil and "null" or tostring(value)
  elseif kind == "number" then
    return float(value)
  elseif kind == "string" then
    return quote(value)
  elseif kind ~= "table" then
    error({ kind = "encode", message = "value: " .. kind }, 0)
  end
  local parts = {}
  if #value > 0 or next(value) == nil then
    for i, element in ipairs(value) do parts[i] = write(element) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  local names = {}
  for name in pairs(value) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do parts[i] = quote(name) .. ":" .. write(value[name]) end
  return "{" .. table.concat(parts, ",") .. "}"
end

function json.encode(value)
  local ok, result = pcall(write, value)
  if ok then return result end
  return nil, errors.new(result)
end

function json.encode_record(...)
  local parts, args = {}, table.pack(...)
  for i = 1, args.n, 2 do
    local member, err = json.encode(args[i + 1])
    if not member then return nil, err end
    parts[#parts + 1] = quote(args[i]) .. ":" .. member
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

return json
