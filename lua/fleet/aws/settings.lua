-- SPDX-License-Identifier: MIT
-- The configuration for AWS, and where each setting comes from: flags, then environment
-- variables, then the profile of the shared files. The files are read once, until `forget`.

local check = require("fleet.base.check")
local errors = require("fleet.errors")
local file = require("fleet.base.file")
local ini = require("fleet.aws.ini")
local text = require("fleet.base.text")

local settings = {}

--- @class fleet.aws.Flags from the command line or our own configuration; they win
--- @field region? string
--- @field profile? string
--- @field endpoints? table<string, string> URL by service: "ec2", "sts", "autoscaling"
--- @field credentials? {key: string, secret: string, token?: string}

--- @class fleet.aws.Profile
--- @field name string
--- @field source string where its name comes from: "flag", "AWS_PROFILE", "default"
--- @field explicit boolean whether it was named, and is not the default
--- @field values fleet.aws.Properties of both files; those of the credentials file win
--- @field files {config: fleet.aws.Properties|nil, credentials: fleet.aws.Properties|nil} those of
---   each file: keys and tokens of different files are never combined
--- @field exists boolean

--- @class fleet.aws.Settings
--- @field flags fleet.aws.Flags
--- @field getenv fun(name: string): string|nil
--- @field read fun(path: string): string|nil, fleet.Error|nil
--- @field warn fun(message: string)
--- @field warned table<string, boolean> the messages that `warn` was given
--- @field imds fleet.aws.Imds|nil asked for the region when nothing else sets it
local Settings = {}
Settings.__index = Settings

-- Names of files and profiles may be anything: escaped so that a terminal does not obey them.
local function bad(message, ...)
  return errors.format("config", "%s", text.escape(message:format(...)))
end

-- Longer files are not read.
local MAX_BYTES = 1024 * 1024

--- Reads a small file; nil when there is none, nil and an error when it cannot be read.
---@param path string
---@return string|nil
---@return fleet.Error|nil
function settings.read_file(path)
  local bytes, message, missing = file.read(path, MAX_BYTES)
  if bytes or missing then return bytes end
  return nil, bad("cannot read %s", message)
end

--- Makes settings. `options` may have `flags`, `getenv` (default: os.getenv), `read` (default:
--- settings.read_file), and `warn`, which is called for what is odd but not an error.
---@param options table|nil
---@return fleet.aws.Settings
function settings.new(options)
  options = options or {}
  return setmetatable({
    flags = options.flags or {}, getenv = options.getenv or os.getenv,
    read = options.read or settings.read_file, warn = options.warn or function() end, warned = {},
  }, Settings)
end

--- An environment variable; an empty one counts as unset.
---@param name string
---@return string|nil
function Settings:variable(name)
  local value = self.getenv(name)
  return value ~= "" and value or nil
end

-- The home of an account by the passwd file; nil: of the account of this process.
local function home_of(name, read)
  local uid = not name and (read("/proc/self/status") or ""):match("\nUid:%s*(%d+)")
  for line in (read("/etc/passwd") or ""):gmatch("[^\n]+") do
    local account, id, home = line:match("^([^:]*):[^:]*:(%d+):[^:]*:[^:]*:([^:]*)")
    if account and (name and account == name or id == uid) then return home end
  end
  return nil
end

--- Replaces $NAME, ${NAME}, ~ and ~USER in a path of a variable or a file, as a shell would have
--- done and a service manager does not. What is not known stays as it is. Nil when the path begins
--- with ~/ and there is no home.
---@param path string
---@return string|nil
function Settings:expand(path)
  path = path:gsub("%$([%w_]+)", self.getenv):gsub("%${([^}]*)}", self.getenv)
  local user, rest = path:match("^~([^/]*)(.*)$")
  if not user then return path end
  local home
  if user == "" then
    home = self:variable("HOME") or home_of(nil, self.read)
    if not home then return nil end
  else
    home = home_of(user, self.read)
    if not home then return path end
  end
  path = home:gsub("/+$", "") .. rest
  return path ~= "" and path or "/"
end

--- Warns of something for the first time only.
---@param message string as for string.format
---@param ... any
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

--- The path of one of the two files, and the variable that sets it.
---@param kind "config"|"credentials"
---@return string|nil
---@return string|nil variable nil: it is the default path
function Settings:path(kind)
  local path = self:variable(FILES[kind].variable)
  return self:expand(path or FILES[kind].path), path and FILES[kind].variable
end

--- A shared file as ini.parse returns it. A file that does not exist is empty; if a variable names
--- it, a warning is given.
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
  self.files[kind], err = ini.parse(bytes or "", path or kind, kind)
  return self.files[kind], err
end

--- Forgets the files, which may have changed: they are read again when they are needed.
function Settings:forget() self.files = nil end

--- Name of the profile in use, where it comes from, and whether it is explicit.
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

-- Profiles that an error names.
local MAX_NAMES = 20

local function known_names(files)
  local known = {}
  for _, each in ipairs(files) do
    for name in pairs(each.profiles) do known[name] = true end
  end
  if not next(known) then return "; there are none" end
  return "; there are " .. text.list(check.sorted_keys(known), MAX_NAMES)
end

--- A profile. One that does not exist is an error when it is explicit, and empty otherwise.
---@param name string|nil default: the profile in use
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
    local parsed, err = self:file(kind)
    if not parsed then return nil, err end
    files[i], profile.files[kind] = parsed, parsed.profiles[name]
    for key, value in pairs(parsed.profiles[name] or {}) do profile.values[key] = value end
    profile.exists = profile.exists or parsed.profiles[name] ~= nil
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

--- A property of a profile; one that is empty, or has properties of its own, counts as unset.
---@param values fleet.aws.Properties
---@param key string
---@return string|nil
function settings.property(values, key)
  local value = values[key]
  return type(value) == "string" and value ~= "" and value or nil
end

--- A setting: the flag, the first variable that is set, or the property of the profile.
--- Nothing when it is not set; nil, nil and an error when the files are wrong.
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
  local value = settings.property(profile.values, key)
  if value then return value, "profile " .. profile.name end
end

-- That a setting has another value than it may have.
local function wrong_value(variable, key, source, expected, value)
  return bad("%s must be %s, not '%s'",
    source == variable and variable or ("%s in %s"):format(key, source), expected, value)
end

--- The same for a setting that is true or false; default: false.
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
  return nil, nil, wrong_value(variable, key, source, "true or false", value)
end

--- The same for an integer of at least 1 with at most five digits.
---@param variable string
---@param key string|nil
---@param default integer
---@return integer|nil nil on failure
---@return fleet.Error|nil
function Settings:count(variable, key, default)
  local value, source, err = self:value(nil, { variable }, key)
  if err then return nil, err end
  if not value then return default end
  local n = value:find("^%d%d?%d?%d?%d?$") and math.tointeger(tonumber(value))
  if n and n >= 1 then return n end
  return nil, wrong_value(variable, key, source, "a whole number of at least 1", value)
end

--- Whether `name` can be part of a host name, as a region is.
---@param name any
---@return boolean
function settings.is_label(name)
  return type(name) == "string" and #name <= 63 and name:find("^%l[%l%d-]*[%l%d]$") ~= nil
end

--- The region, and where it comes from: a flag, AWS_REGION, AWS_DEFAULT_REGION, the profile, or the
--- instance itself. There is no default. "fips-eu-west-1" and "eu-west-1-fips" are old ways to ask
--- for a FIPS host in eu-west-1. May wait.
---@return string|nil region
---@return string|nil source
---@return fleet.Error|nil
---@return boolean|nil fips whether it was written in such a way
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
    return nil, nil, bad("'%s' (%s) is not a region; one looks like eu-west-1", region, source)
  end
  local plain = region:gsub("fips%-", ""):gsub("%-fips", "")
  return plain, source, nil, plain ~= region or nil
end

return settings
