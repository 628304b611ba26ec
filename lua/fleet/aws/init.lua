-- SPDX-License-Identifier: MIT
-- AWS for the program itself (not for jobs): its configuration, the credentials to use, calls of
-- its APIs, and the metadata of the instance. This file only wires them.

local caller = require("fleet.aws.caller")
local chain = require("fleet.aws.provider_chain")
local credential_process = require("fleet.aws.credential_process")
local credentials = require("fleet.aws.credentials")
local endpoint = require("fleet.aws.endpoint")
local imds = require("fleet.aws.imds")
local json_rpc = require("fleet.aws.json_rpc")
local log = require("fleet.log")
local query = require("fleet.aws.query")
local request = require("host.http").request
local settings = require("fleet.aws.settings")
local task = require("host.task")
local time = require("fleet.aws.time")

local aws = {}

--- @class fleet.aws.Tools what this library needs of its surroundings; specs provide their own
--- @field request fun(url: string, keep: string, options: host.HttpOptions):
---   fleet.HttpResponse|nil, fleet.Error|nil as host.http
--- @field sleep fun(seconds: number)
--- @field now fun(): number seconds since 1970
--- @field random fun(): number from 0 to 1
--- @field run fun(words: string[], seconds: number): string|nil, fleet.Error|nil
--- @field log table as fleet.log

local TOOLS = {
  request = request, sleep = task.sleep, now = os.time, random = math.random,
  run = credential_process.run, log = log,
}

--- @class fleet.Aws
--- @field settings fleet.aws.Settings
--- @field imds fleet.aws.Imds
--- @field credentials fleet.aws.CredentialCache
local Aws = {}
Aws.__index = Aws

--- Makes a view of AWS. Reads and requests nothing before it is needed.
---@param options table|nil `flags`: fleet.aws.Flags; `getenv` and `read` as in fleet.aws.Settings;
---  and any of the fields of fleet.aws.Tools
---@return fleet.Aws
function aws.new(options)
  options = options or {}
  local tools = {}
  for name, tool in pairs(TOOLS) do tools[name] = options[name] or tool end
  local set = settings.new({
    flags = options.flags, getenv = options.getenv, read = options.read, warn = tools.log.warn,
  })
  local self = setmetatable({ settings = set }, Aws)
  self.imds = imds.new({ settings = set, tools = tools })
  set.imds = self.imds
  self.caller = caller.new({ settings = set, tools = tools })
  local context = {
    settings = set, tools = tools, imds = self.imds, caller = self.caller,
    providers = chain.providers,
  }
  self.credentials = credentials.cache({
    tools = tools,
    find = function()
      set:forget() -- the files may have changed
      return chain.find(context)
    end,
  })
  self.caller.credentials = self.credentials
  return self
end

--- Calls an action of a Query API, signed, with retries, and returns the XML of the answer.
--- Errors from the service have `status`, `code` and `request_id`.
---
---     local xml, err = view:query("ec2", "2016-11-15", "DescribeInstances", {
---       ["Filter.1.Name"] = "instance-state-name", ["Filter.1.Value.1"] = "running",
---     })
---@param service string "ec2", "sts" or "autoscaling"
---@param version string
---@param action string
---@param params table<string, string|number|boolean>|nil
---@param opts fleet.aws.CallOptions|nil
---@return string|nil
---@return fleet.Error|nil
function Aws:query(service, version, action, params, opts)
  return query.call(self.caller, service, version, action, params, opts)
end

--- The same for an action of a JSON API; the answer is JSON.
---@param service string "ssm"
---@param target string "AmazonSSM"
---@param action string "GetParameter"
---@param params table<string, any>
---@param opts fleet.aws.JsonOptions|nil
---@return string|host.Secret|nil
---@return fleet.Error|nil
function Aws:json(service, target, action, params, opts)
  return json_rpc.call(self.caller, service, target, action, params, opts)
end

--- The region, and where it is configured. May wait.
---@return string|nil region
---@return string|nil source
---@return fleet.Error|nil
function Aws:region() return self.settings:region() end

--- The URL of a service, and where it is configured. May wait.
---@param service string
---@return string|nil url
---@return string|nil source
---@return fleet.Error|nil
function Aws:endpoint(service) return endpoint.find(self.settings, service) end

--- The identity of the caller, as far as the configuration determines it. What is cached of an
--- answer is for the same identity only.
---@return string
function Aws:identity() return chain.identity(self.settings) end

--- The configuration and where each part of it comes from, for people: rows with `value` and
--- `source`, or `err`. Finds the credentials as well. May wait.
---@return {name: string, value: string|nil, source: string|nil, err: fleet.Error|nil}[]
function Aws:describe()
  local rows = {}
  local function add(name, value, source, err)
    rows[#rows + 1] = { name = name, value = value, source = source, err = err }
  end
  local name, source = self.settings:profile_name()
  local _, wrong = self.settings:profile()
  add("profile", name, source, wrong)
  add("region", self:region())
  add("ec2 endpoint", self:endpoint("ec2"))
  local found, err = self.credentials:get()
  local expiry = found and found.expires and ", until " .. time.write(found.expires) or ""
  add("credentials", found and found.key .. expiry, found and found.source, err)
  return rows
end

return aws
