-- SPDX-License-Identifier: MIT
-- What is configured for AWS, and where it says so: flags, then environment variables, then the
-- profile of the shared files. The files are read once, until `forget`.

local errors = require("fleet.errors")
local home = require("fleet.aws.home")
local ini = require("fleet.aws.ini")
local text = require("fleet.base.text")

local settings = {}

--- @class fleet.aws.Flags what the command line or our own configuration says; wins
--- @field region? string
--- @field profile? string
--- @field endpoints? table<string, string> URL by service: "ec2", "sts", "autoscaling"
--- @field credentials? {key: string, secret: string, token?: string}

--- @class fleet.aws.Profile
--- @field name string
--- @field source string where its name is from: "flag", "AWS_PROFILE", "default"
--- @field explicit boolean somebody named it
--- @field values fleet.aws.Properties of both files; those of the credentials file win
--- @field files {config: fleet.aws.Properties|nil, credentials: fleet.aws.Properties|nil} those of
---   each file: keys and tokens of different files are never put together
--- @field exists boolean

--- @class fleet.aws.Settings
--- @field flags fleet.aws.Flags
--- @field getenv fun(name: string): string|nil
--- @field read fun(path: string): string|nil, fleet.Error|nil
--- @field warn fun(message: string)
--- @field warned table<string, boolean> the messages that were given
--- @field imds fleet.aws.Imds|nil asked for the region when nobody says it
local Settings = {}
Settings.__index = Settings

-- Names of files and profiles may be anything: shown so that a terminal does not obey them.
local function bad(message, ...)
  return errors.format("config", "%s", text.escape(message:format(...)))
end

local ENOENT, ENOTDIR = 2, 20

--- Reads a small file; nil when there is none, nil and an error when it cannot be read.
---@param path string
---@return string|nil
---@return fleet.Error|nil
function settings.read_file(path)
  local file, why, code = io.open(path, "rb")
  if not file and (code == ENOENT or code == ENOTDIR) then return nil end
  if not file then return nil, bad("cannot read %s", why) end
  local bytes
  bytes, why = file:read(ini.MAX_BYTES + 1)
  file:close()
  if why then return nil, bad("cannot read %s: %s", path, why) end
  return bytes or ""
end

--- @class fleet.aws.SettingsOptions
--- @field flags? fleet.aws.Flags
--- @field getenv? fun(name: string): string|nil
--- @field read? fun(path: string): string|nil, fleet.Error|nil
--- @field warn? fun(message: string) takes what is odd, and no error; default: nobody

---@param options fleet.aws.SettingsOptions|nil
---@return fleet.aws.Settings
function settings.new(options)
  options = options or {}
  return setmetatable({
    flags = options.flags or {}, getenv = options.getenv or os.getenv,
    read = options.read or settings.read_file, warn = options.warn or function() end, warned = {},
  }, Settings)
end

--- An environment variable; an empty one counts as none.
---@param name string
---@return string|nil
function Settings:variable(name)
  local value = self.getenv(name)
  return value ~= "" and value or nil
end

--- A path with its variables and a leading ~ replaced; nil when there is no home.
---@param path string
---@return string|nil
function Settings:expand(path) return home.expand(path, self.getenv, self.read) end

-- Says it once.
function Settings:warn_once(message, ...)
  message = message:format(...)
  if not self.warned[message] then self.warn(message) end
  self.warned[message] = true
end

-- ---- the shared files ----

local FILES = {
  config = { variable = "AWS_CONFIG_FILE", path = "~/.aws/config" },
  credentials = { variable = "AWS_SHARED_CREDENTIALS_FILE", path = "~/.aws/credentials" },
}

--- The path of one of the two files, and whether a variable says so.
---@param kind "config"|"credentials"
---@return string|nil
---@return string|nil variable
function Settings:path(kind)
  local named = self:variable(FILES[kind].variable)
  return self:expand(named or FILES[kind].path), named and FILES[kind].variable
end

--- A shared file as ini.parse has it, an empty one when there is none; one that a variable names
--- in vain is warned of.
---@param kind "config"|"credentials"
---@return fleet.aws.File|nil
---@return fleet.Error|nil
function Settings:file(kind)
  self.files = self.files or {}
  if self.files[kind] then return self.files[kind] end
  local path, variable = self:path(kind)
  local bytes, err
  if path then bytes, err = self.read(path) end
  if err then return nil, err end
  if not bytes and variable then
    self:warn_once("there is no file %s, which %s names: no profile is read from it", path or "",
      variable)
  end
  local file
  file, err = ini.parse(bytes or "", path or kind, kind)
  if not file then return nil, err end
  self.files[kind] = file
  return file
end

--- The files are read anew at the next question: they may have changed.
function Settings:forget() self.files = nil end

--- Name of the profile in use, where it is from, and whether somebody named it.
---@return string name
---@return string source
---@return boolean explicit
function Settings:profile_name()
  if self.flags.profile then return self.flags.profile, "flag", true end
  for _, variable in ipairs({ "AWS_PROFILE", "AWS_DEFAULT_PROFILE" }) do
    local name = self:variable(variable)
    if name then return name, variable, true end
  end
  return "default", "default", false
end

local function known_names(files)
  local names, seen = {}, {}
  for _, file in ipairs(files) do
    for name in pairs(file.profiles) do
      if not seen[name] then names[#names + 1] = name end
      seen[name] = true
    end
  end
  table.sort(names)
  return #names > 0 and "; there are " .. table.concat(names, ", ", 1, math.min(#names, 20))
    or "; there are none"
end

--- A profile, the one in use when no name is given. One that does not exist is an error when
--- somebody named it, and empty otherwise.
---@param name string|nil
---@return fleet.aws.Profile|nil
---@return fleet.Error|nil
function Settings:profile(name)
  local source, explicit = "", true
  if not name then name, source, explicit = self:profile_name() end
  local profile = {
    name = name, source = source, explicit = explicit, values = {}, files = {}, exists = false,
  }
  local files = {}
  for i, kind in ipairs({ "config", "credentials" }) do
    local file, err = self:file(kind)
    if not file then return nil, err end
    files[i], profile.files[kind] = file, file.profiles[name]
    for key, value in pairs(file.profiles[name] or {}) do profile.values[key] = value end
    profile.exists = profile.exists or file.profiles[name] ~= nil
  end
  if explicit and not profile.exists then
    return nil, bad("there is no AWS profile '%s'%s in %s and %s%s", name,
      source ~= "" and source ~= "flag" and (" (%s)"):format(source) or "",
      self:path("config") or "the config file", self:path("credentials") or "the credentials file",
      known_names(files))
  end
  return profile
end

-- ---- single values ----

--- A setting: the flag, the first variable that is set, or the property of the profile.
--- Nothing when nobody says; nil, nil and an error when the files are wrong.
---@param flag string|nil the value itself
---@param variables string[]
---@param key string|nil property of the profile
---@return string|nil value
---@return string|nil source "flag", the variable, or "profile NAME"
---@return fleet.Error|nil
function Settings:value(flag, variables, key)
  if flag then return flag, "flag" end
  for _, variable in ipairs(variables) do
    local value = self:variable(variable)
    if value then return value, variable end
  end
  if not key then return nil end
  local profile, err = self:profile()
  if not profile then return nil, nil, err end
  local value = profile.values[key]
  if type(value) ~= "string" or value == "" then return nil end
  return value, "profile " .. profile.name
end

--- The same for what is true or false; false when nobody says.
---@param variable string
---@param key string|nil
---@return boolean|nil nil on failure
---@return string|nil source
---@return fleet.Error|nil
function Settings:flag(variable, key)
  local value, source, err = self:value(nil, { variable }, key)
  if err then return nil, nil, err end
  if not value then return false end
  local word = value:lower()
  if word == "true" or word == "false" then return word == "true", source end
  return nil, nil, bad("%s must be true or false, not '%s'",
    source == variable and variable or ("%s in %s"):format(key, source), value)
end

--- The same for whole numbers of at least 1.
---@param variable string
---@param key string|nil
---@param otherwise integer
---@return integer|nil nil on failure
---@return fleet.Error|nil
function Settings:count(variable, key, otherwise)
  local value, source, err = self:value(nil, { variable }, key)
  if err then return nil, err end
  if not value then return otherwise end
  local n = value:find("^%d%d?%d?%d?%d?$") and math.tointeger(tonumber(value))
  if n and n >= 1 then return n end
  return nil, bad("%s must be a whole number of at least 1, not '%s'",
    source == variable and variable or ("%s in %s"):format(key, source), value)
end

--- Whether `name` can be part of a host name, as a region is.
---@param name any
---@return boolean
function settings.is_label(name)
  return type(name) == "string" and #name <= 63 and name:find("^%l[%l%d-]*[%l%d]$") ~= nil
end

--- The region, and who says so: a flag, AWS_REGION, AWS_DEFAULT_REGION, the profile, or the
--- instance itself. There is none by default. "fips-eu-west-1" and "eu-west-1-fips" are old ways to
--- ask for a FIPS host in eu-west-1. May wait.
---@return string|nil region
---@return string|nil source
---@return fleet.Error|nil
---@return boolean|nil fips the region was written in such a way
function Settings:region()
  local region, source, err = self:value(self.flags.region, { "AWS_REGION", "AWS_DEFAULT_REGION" },
    "region")
  if err then return nil, nil, err end
  if not region and self.imds then
    region, err = self.imds:region()
    source = "instance metadata"
  end
  if not region then
    return nil, nil, bad("no AWS region is set: set AWS_REGION, or region in the profile%s",
      err and "; the instance gives none: " .. err.message or "")
  end
  if not settings.is_label(region) then
    return nil, nil, bad("'%s' (%s) is no region; one looks like eu-west-1", region, source)
  end
  local plain = region:gsub("fips%-", ""):gsub("%-fips", "")
  return plain, source, nil, plain ~= region or nil
end

return settings
