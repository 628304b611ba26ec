-- SPDX-License-Identifier: MIT
-- The few words that are read of short XML answers: an error of any service, and credentials
-- from STS. By plain search, not as XML: these answers have each of the elements once, without
-- attributes. Whoever reads lists (DescribeInstances) reads XML.

local answer = {}

-- Errors and credentials are short; of a longer text only this much is looked at.
local MAX_BYTES = 64 * 1024

local ENTITIES = { amp = "&", lt = "<", gt = ">", quot = '"', apos = "'" }

local function unescape(s)
  return (s:gsub("&(#?)(x?)(%w+);", function(numeric, hex, name)
    if numeric == "" then return ENTITIES[hex .. name] end
    local code = tonumber(name, hex == "x" and 16 or 10)
    return code and code > 0 and code < 0x110000 and utf8.char(math.tointeger(code)) or nil
  end))
end

-- The text of the first element of that name, from a byte on; nil when there is none.
local function text_of(xml, name, from)
  local _, open = xml:find("<" .. name .. ">", from, true)
  local close = open and xml:find("</" .. name .. ">", open, true)
  if not close then return nil end
  local text = xml:sub(open + 1, close - 1)
  return not text:find("<", 1, true) and unescape(text) or nil
end

--- Code, message and id of a refusal, in Response/Errors/Error as EC2 has it or in
--- ErrorResponse/Error as the others do; nil when the text is none.
---@param body string
---@return {code: string, message: string, request_id: string|nil}|nil
function answer.refusal(body)
  local xml = body:sub(1, MAX_BYTES)
  local at = xml:find("<Error>", 1, true)
  local code = at and text_of(xml, "Code", at)
  if not code then return nil end
  return {
    code = code, message = text_of(xml, "Message", at) or "",
    request_id = text_of(xml, "RequestID") or text_of(xml, "RequestId"),
  }
end

--- The credentials that STS gives; nil when there are none.
---@param body string
---@return {key: string|nil, secret: string|nil, token: string|nil, expires: string|nil}|nil
function answer.credentials(body)
  local xml = body:sub(1, MAX_BYTES)
  local at = xml:find("<Credentials>", 1, true)
  if not at then return nil end
  return {
    key = text_of(xml, "AccessKeyId", at), secret = text_of(xml, "SecretAccessKey", at),
    token = text_of(xml, "SessionToken", at), expires = text_of(xml, "Expiration", at),
  }
end

return answer
