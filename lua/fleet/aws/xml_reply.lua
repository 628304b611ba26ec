-- SPDX-License-Identifier: MIT
-- The few words that are read of short XML answers: an error of any service, and credentials
-- from STS. Elements count by their local names: each service and version has a namespace of its
-- own. (Lists of instances are fleet.aws.instances's.)

local xml = require("fleet.xml")

local answer = {}

-- Errors and credentials are short.
local MAX_BYTES = 1024 * 1024

-- The text of the first element that a path of local names leads to; nil when there is none.
local function text_of(doc, ...)
  local query = { "string(/" }
  for i, name in ipairs({ ... }) do
    query[i + 1] = ("/*[local-name()='%s']"):format(name)
  end
  local text = doc:xpath(table.concat(query) .. ")")
  text = type(text) == "string" and text:match("^%s*(.-)%s*$")
  return text ~= "" and text or nil
end

local function parse(body)
  return #body <= MAX_BYTES and xml.parse(body) or nil
end

--- Code, message and id of a refusal, in Response/Errors/Error as EC2 has it or in
--- ErrorResponse/Error as the others do; nil when the text is none.
---@param body string
---@return {code: string, message: string, request_id: string|nil}|nil
function answer.refusal(body)
  local doc <close> = parse(body)
  local code = doc and text_of(doc, "Error", "Code")
  if not code then return nil end
  return {
    code = code, message = text_of(doc, "Error", "Message") or "",
    request_id = text_of(doc, "RequestID") or text_of(doc, "RequestId"),
  }
end

--- The credentials that STS gives; nil when there are none.
---@param body string
---@return {key: string|nil, secret: string|nil, token: string|nil, expires: string|nil}|nil
function answer.credentials(body)
  local doc <close> = parse(body)
  if not doc or doc:xpath("count(//*[local-name()='Credentials'])") == 0 then return nil end
  local function field(name) return text_of(doc, "Credentials", name) end
  return {
    key = field("AccessKeyId"), secret = field("SecretAccessKey"), token = field("SessionToken"),
    expires = field("Expiration"),
  }
end

return answer
