-- SPDX-License-Identifier: MIT
-- A world for lua/fleet/aws without network and time: an environment, files, a clock that advances
-- by sleeping only, and a function that answers requests. Keeps requests, sleeps and warnings.
--
--   local fake = fake_aws.new({ env = { AWS_REGION = "x-1" }, answer = function(url, q) ... end })
--   local view = aws.new(fake:options())

local errors = require("fleet.errors")
local secret = require("host.secret")
local settings = require("fleet.aws.settings")

local fake_aws = {}

--- @class fake_aws.World
--- @field env table<string, string>
--- @field files table<string, string>
--- @field clock number
--- @field asked table[] {url=, method=, headers=, body=, sign=, at=}
--- @field slept number[]
--- @field warned string[]
--- @field said string everything that was logged
local World = {}
World.__index = World

--- `answer` returns a status and a body (and headers), or nil and the kind of an error.
---@param fields {env: table|nil, files: table|nil, answer: function|nil, run: function|nil}
---@return fake_aws.World
function fake_aws.new(fields)
  return setmetatable({
    env = fields.env or {}, files = fields.files or {}, answer = fields.answer, run = fields.run,
    clock = 1700000000, asked = {}, slept = {}, warned = {}, said = "",
  }, World)
end

function World:request(url, keep, options)
  assert(keep == "buffer")
  local q = { url = url, at = self.clock }
  for name, value in pairs(options) do q[name] = value end
  self.asked[#self.asked + 1] = q
  assert(self.answer, "nothing is to be asked: " .. url)
  local status, body, headers = self.answer(url, q, #self.asked)
  if not status then return nil, errors.new({ kind = body, message = url .. ": " .. body }) end
  body = body or ""
  if options.secret and status == 200 then body = secret.new(body) end
  return { status = status, body = body, headers = headers or {}, url = url }
end

--- Returns the options of aws.new, and the same as tools.
---@return table
function World:options(flags)
  local function log(level)
    return function(message, words)
      if level == "warn" then self.warned[#self.warned + 1] = message end
      local parts = { message }
      for name, value in pairs(words or {}) do
        parts[#parts + 1] = name .. "=" .. tostring(value)
      end
      self.said = self.said .. table.concat(parts, " ") .. "\n"
    end
  end
  return {
    flags = flags,
    getenv = function(name) return self.env[name] end,
    read = function(path) return self.files[path] end,
    request = function(...) return self:request(...) end,
    sleep = function(seconds)
      self.slept[#self.slept + 1] = seconds
      self.clock = self.clock + seconds
    end,
    now = function() return self.clock end,
    random = function() return 0.5 end,
    run = self.run or function() error("no program is to be run") end,
    log = { debug = log("debug"), info = log("info"), warn = log("warn"), error = log("error") },
  }
end

--- Returns the settings only.
---@return fleet.aws.Settings
function World:settings(flags)
  local options = self:options()
  return settings.new({ flags = flags, getenv = options.getenv, read = options.read })
end

return fake_aws
