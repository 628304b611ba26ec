-- SPDX-License-Identifier: MIT
-- The protocol of the Query APIs of AWS (EC2, STS, Auto Scaling): a form by POST, an answer in XML.

local check = require("fleet.base.check")
local xml_reply = require("fleet.aws.xml_reply")

local query = {}

local FORM = "application/x-www-form-urlencoded; charset=utf-8"

local function escape(s)
  return (s:gsub("[^%w_.~ -]", function(c) return ("%%%02X"):format(c:byte()) end):gsub(" ", "+"))
end

--- Encodes parameters as a form: names sorted, all bytes but A-Za-z0-9_.-~ as upper-case
--- hexadecimal, blanks as +.
---@param params table<string, string|number|boolean>
---@return string
function query.encode(params)
  local fields = {}
  for i, name in ipairs(check.sorted_keys(params)) do
    fields[i] = escape(name) .. "=" .. escape(tostring(params[name]))
  end
  return table.concat(fields, "&")
end

--- Reads what an answer says that is not 200: Response/Errors/Error and RequestID from EC2,
--- ErrorResponse/Error and RequestId from the others.
---@param response fleet.HttpResponse
---@return {code: string|nil, message: string|nil, id: string|nil}
function query.read_error(response)
  local fields = xml_reply.read(response.body, {
    code = "Error/Code", message = "Error/Message", id = "RequestID", other_id = "RequestId",
  })
  fields.id = fields.id or fields.other_id
  return fields
end

--- Calls an action and returns the body of its answer, XML. Errors as of fleet.aws.caller.
---@param caller fleet.aws.Caller
---@param service string "ec2", "sts" or "autoscaling"
---@param version string "2016-11-15"
---@param action string "DescribeInstances"
---@param params table<string, string|number|boolean>|nil
---@param options fleet.aws.CallOptions|nil
---@return string|nil
---@return fleet.Error|nil
function query.call(caller, service, version, action, params, options)
  local all = { Action = action, Version = version }
  for name, value in pairs(params or {}) do all[name] = value end
  return caller:call({
    service = service, action = action, headers = { ["content-type"] = FORM },
    body = query.encode(all), read_error = query.read_error, role = all.RoleArn,
  }, options)
end

return query
