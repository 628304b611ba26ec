-- SPDX-License-Identifier: MIT
-- Determines what moonfleet does in a set-up of spec/support/aws_setups.lua, in the form in which
-- spec/support/aws_outcomes.py does it for others. No request is sent: `answer` stands in for AWS.

local errors = require("fleet.errors")
local fleet_aws = require("fleet.aws")

local outcomes = {}

local INSTANCE = "http://169.254.169.254/"
local CREDENTIALS = [[<A><R><Credentials><AccessKeyId>%s</AccessKeyId>
<SecretAccessKey>S</SecretAccessKey><SessionToken>T</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></R></A>]]

local function form_of(body)
  local form = {}
  for name, value in (body or ""):gmatch("([^&=]+)=([^&]*)") do
    form[name] = value:gsub("+", " "):gsub("%%(%x%x)", function(hex)
      return string.char(tonumber(hex, 16))
    end)
  end
  return form
end

-- Returns the key id of a role.
local function role_of(form, sign)
  local parts = { form.RoleArn:match("[^/]*$"), "by", sign and sign.key or form.WebIdentityToken }
  local session = form.RoleSessionName
  if session:find("^moonfleet%-%d+$") then session = nil end
  local function add(name, value)
    if value then table.move({ name, value }, 1, 2, #parts + 1, parts) end
  end
  add("as", session)
  add("external", form.ExternalId)
  add("for", form.DurationSeconds)
  return table.concat(parts, "-")
end

local function of_instance(world, method, path, headers)
  if method == "PUT" then return world.version_1 and 404 or 200, "token" end
  if not world.version_1 and headers["x-aws-ec2-metadata-token"] ~= "token" then return 401 end
  local body = world.instance and world.instance[path]
  return body and 200 or 404, body
end

local function answer(world, result, url, options)
  local at, headers = world.instance_at or INSTANCE, options.headers or {}
  if url:sub(1, #at) == at then
    return of_instance(world, options.method, url:sub(#at + 1), headers)
  end
  local given = world[url]
  if given then
    if (headers.authorization or "") ~= (given.authorization or "") then return 401 end
    return 200, given.body
  end
  local form, sign = form_of(options.body), options.sign
  if (form.Action or ""):find("^AssumeRole") then
    result.sts[#result.sts + 1] = url
    return 200, CREDENTIALS:format(role_of(form, sign))
  elseif form.Action == "DescribeInstances" then
    result.key, result.region, result.endpoint = sign.key, sign.region, url
    result.token = headers["x-amz-security-token"]
    return 200, "<DescribeInstancesResponse/>"
  end
  return 404
end

--- Returns the key id, token, region and URL of a DescribeInstances request, and the URLs of STS
--- that were used before it; or `error`. `warned` has the warnings.
---@param setup table as setups.place gives it; its files are there
---@return table result
---@return string[] warned
function outcomes.of(setup)
  local result, warned = { sts = {} }, {}
  local function nothing() end
  local flags = {
    profile = setup.flags.profile, region = setup.flags.region,
    endpoints = setup.flags.endpoint and { ec2 = setup.flags.endpoint },
  }
  local view = fleet_aws.new({
    flags = flags, sleep = nothing,
    getenv = function(name) return setup.env[name] end,
    request = function(url, _, options)
      local status, body = answer(setup.world, result, url, options)
      if not status then return nil, errors.new({ kind = "connect", message = url }) end
      return { status = status, body = body or "", headers = {}, url = url }
    end,
    log = {
      debug = nothing, info = nothing, error = nothing,
      warn = function(message) warned[#warned + 1] = message end,
    },
  })
  local body, err = view:query("ec2", "2016-11-15", "DescribeInstances")
  if not body then return { error = err.message }, warned end
  return result, warned
end

return outcomes
