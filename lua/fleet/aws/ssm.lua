-- SPDX-License-Identifier: MIT
-- Parameter Store of AWS Systems Manager: encrypted texts by name, each with a version that grows.
-- The text of a parameter is a host.secret, never a Lua string. May wait.

local errors = require("fleet.errors")
local json = require("fleet.json")

require("host.secret") -- what host.http makes of an answer that is secret

local ssm = {}

local TARGET = "AmazonSSM"
-- Bytes of the largest answer: a text has at most 8 KB.
local MAX_BYTES = 64 * 1024
-- Parameters in a page: the most that DescribeParameters accepts.
local PAGE = 50
-- More than any folder of parameters has: the answer must be endless.
local MAX_PAGES = 100
--- Bytes of a text; above the first number it costs money each month (an advanced parameter).
ssm.STANDARD_BYTES = 4096
ssm.ADVANCED_BYTES = 8192

--- @class fleet.aws.Parameter
--- @field value host.Secret
--- @field version integer
--- @field modified number|nil seconds since 1970

-- What the policy of the caller has to name.
local function resource_of(name)
  return "arn:aws:ssm:*:*:parameter" .. name
end

-- What the codes of Systems Manager mean, in words; nil for those that its message explains.
local function explain(view, name, err)
  if err.code == "ParameterNotFound" then
    return ("there is no parameter %s in %s (another region: --region or AWS_REGION)"):format(name,
      view:region() or "this region")
  elseif err.code == "InvalidKeyId" or err.message:find("ciphertext refers to", 1, true) then
    return ("the KMS key of parameter %s cannot be used: it is disabled or deleted, or its policy "
      .. "or ours lacks kms:Decrypt for it (%s)"):format(name, err.message)
  end
end

local function call(view, action, name, params, options)
  options.max_bytes, options.resource = MAX_BYTES, resource_of(name)
  local body, err = view:json("ssm", TARGET, action, params, options)
  if body then return body end
  err.message = explain(view, name, err) or err.message
  return nil, err
end

-- The object of an answer, or nil and an error.
local function object(body, action)
  local value = json.decode(body)
  if type(value) == "table" then return value end
  return nil, errors.format("protocol", "ssm %s: the answer is no JSON object", action)
end

--- Reads a parameter, decrypted. Refuses one that is not encrypted: others may have read it.
---@param view fleet.Aws
---@param name string
---@return fleet.aws.Parameter|nil
---@return fleet.Error|nil
function ssm.get(view, name)
  local body, err = call(view, "GetParameter", name, { Name = name, WithDecryption = true },
    { secret = true })
  if not body then return nil, err end
  local found = body:member("Parameter", "Value")
  body:close()
  if not found or not found.Value or math.type(found.Version) ~= "integer" then
    return nil, errors.format("protocol", "ssm GetParameter: the answer has no parameter")
  elseif found.Type ~= "SecureString" then
    return nil, errors.format("config", "parameter %s is a %s, which is not encrypted: store keys "
      .. "as SecureString, as moonfleet keygen --store does", name, tostring(found.Type))
  end
  return {
    value = found.Value, version = found.Version, modified = tonumber(found.LastModifiedDate),
  }
end

--- Reads the version of a parameter, which decrypts nothing.
---@param view fleet.Aws
---@param name string
---@return integer|nil
---@return fleet.Error|nil
function ssm.version(view, name)
  local body, err = call(view, "GetParameter", name, { Name = name, WithDecryption = false }, {})
  if not body then return nil, err end
  local value
  value, err = object(body, "GetParameter")
  if not value then return nil, err end
  local version = type(value.Parameter) == "table" and value.Parameter.Version
  if math.type(version) == "integer" then return version end
  return nil, errors.format("protocol", "ssm GetParameter: the answer has no version")
end

--- Lists the parameters directly below a path, without their texts.
---@param view fleet.Aws
---@param path string "/moonfleet/search"
---@return table<string, {key: string|nil, version: integer|nil}>|nil by name; `key`: the KMS key
---@return fleet.Error|nil
function ssm.list(view, path)
  local found, token = {}, nil
  for _ = 1, MAX_PAGES do
    local body, err = call(view, "DescribeParameters", path, {
      MaxResults = PAGE, NextToken = token,
      ParameterFilters = { { Key = "Path", Option = "OneLevel", Values = { path } } },
    }, {})
    if not body then return nil, err end
    local page
    page, err = object(body, "DescribeParameters")
    if not page then return nil, err end
    for _, each in ipairs(type(page.Parameters) == "table" and page.Parameters or {}) do
      found[each.Name] = { key = each.KeyId, version = each.Version }
    end
    token = page.NextToken
    if not token then return found end
  end
  return nil, errors.format("protocol", "ssm DescribeParameters: more than %d pages", MAX_PAGES)
end

--- @class fleet.aws.PutOptions
--- @field description string
--- @field key? string KMS key; default: the account's own for Parameter Store
--- @field overwrite? boolean whether there is such a parameter
--- @field tags? table<string, string> of a new one

--- Writes an encrypted parameter. Up to 4 KB it costs nothing.
---@param view fleet.Aws
---@param name string
---@param text string
---@param options fleet.aws.PutOptions
---@return integer|nil version
---@return fleet.Error|nil
function ssm.put(view, name, text, options)
  local tags
  for key, value in pairs(options.tags or {}) do
    tags = tags or {}
    tags[#tags + 1] = { Key = key, Value = value }
  end
  local body, err = call(view, "PutParameter", name, {
    Name = name, Value = text, Type = "SecureString", Tier = "Intelligent-Tiering",
    Description = options.description, KeyId = options.key, Overwrite = options.overwrite or false,
    Tags = tags,
  }, {})
  if not body then return nil, err end
  local value
  value, err = object(body, "PutParameter")
  if not value then return nil, err end
  if math.type(value.Version) == "integer" then return value.Version end
  return nil, errors.format("protocol", "ssm PutParameter: the answer has no version")
end

return ssm
