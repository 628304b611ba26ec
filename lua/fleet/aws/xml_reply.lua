-- SPDX-License-Identifier: MIT
-- The few texts that are read of short XML answers: errors of any service, and credentials from
-- STS. Elements are compared by their local names, as each service and version has a namespace of
-- its own. (fleet.aws.instances reads lists of instances.)

local xml = require("fleet.xml")

local xml_reply = {}

-- Errors and credentials are short.
local MAX_BYTES = 1024 * 1024

--- The texts, without white space around them, of the first elements anywhere in the answer that
--- paths of local names such as "Error/Code" lead to. What is missing or empty is nil; all is when
--- the answer is not XML.
---@param body string
---@param paths table<string, string> by the names of the fields to return
---@return table<string, string>
function xml_reply.read(body, paths)
  local doc <close> = #body <= MAX_BYTES and xml.parse(body) or nil
  local fields = {}
  for field, path in pairs(doc and paths or {}) do
    local text = doc:xpath(("string(//%s)"):format(path:gsub("%a+", "*[local-name()='%0']")))
    text = type(text) == "string" and text:match("^%s*(.-)%s*$")
    fields[field] = text ~= "" and text or nil
  end
  return fields
end

return xml_reply
