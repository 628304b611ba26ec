-- SPDX-License-Identifier: MIT
-- The protocol of the JSON APIs of AWS (Systems Manager), version 1.1: an object by POST, whose
-- action is in a header, and an object as the answer.

local json = require("fleet.json")
local query = require("fleet.aws.query")

local json_rpc = {}

local TYPE = "application/x-amz-json-1.1"

local function text(value)
  return type(value) == "string" and value or nil
end

--- Reads what an answer says that is not 200:
--- {"__type": "com.amazonaws.ssm#ParameterNotFound", "message": "..."}. The part before # may be
--- missing, and the name of the message may begin with a capital. What stands in front of a service
--- may answer in XML.
---@param response fleet.HttpResponse
---@return {code: string|nil, message: string|nil, id: string|nil}
function json_rpc.read_error(response)
  local fields = json.decode(response.body)
  if type(fields) ~= "table" then
    local by_xml = query.read_error(response)
    if by_xml.code then return by_xml end
    fields = {}
  end
  local code = text(fields.__type) or text(response.headers["x-amzn-errortype"])
  return {
    code = code and code:match("([^#]*)$"):match("^[^:]*"),
    message = text(fields.message) or text(fields.Message),
    id = text(response.headers["x-amzn-requestid"]),
  }
end

--- @class fleet.aws.JsonOptions: fleet.aws.CallOptions
--- @field resource? string as in fleet.aws.Request
--- @field secret? boolean the same

--- Calls an action and returns the body of its answer, JSON. Errors as of fleet.aws.caller.
---@param caller fleet.aws.Caller
---@param service string "ssm"
---@param target string what the header has before the action: "AmazonSSM"
---@param action string "GetParameter"
---@param params table<string, any>
---@param options fleet.aws.JsonOptions|nil
---@return string|host.Secret|nil
---@return fleet.Error|nil
function json_rpc.call(caller, service, target, action, params, options)
  local body, err = json.encode(params)
  if not body then return nil, err end
  return caller:call({
    service = service, action = action, body = body, read_error = json_rpc.read_error,
    headers = { ["content-type"] = TYPE, ["x-amz-target"] = target .. "." .. action },
    resource = options and options.resource, secret = options and options.secret,
  }, options)
end

return json_rpc
