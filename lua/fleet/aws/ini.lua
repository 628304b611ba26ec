-- SPDX-License-Identifier: MIT
-- The files of AWS profiles (~/.aws/config and ~/.aws/credentials), as the SDKs read them:
--
--   [profile build]            in the credentials file: [build]; [default] in both
--   region = eu-west-1         # a comment: of its own line, or after a blank
--   services = local
--   s3 =                       a property without a value has indented ones of its own
--     addressing_style = path
--   [sso-session corp]  [services local]
--
-- An indented line goes on with the value before it. Names of properties count in lower case,
-- names of profiles as written; [profile default] counts more than [default]; sections of one
-- name are one, the later property counts. Sections of other kinds are left out. Reads any
-- bytes, in time linear in their number, and never raises.

local errors = require("fleet.errors")

local ini = {}

--- @alias fleet.aws.Properties table<string, string|table<string, string>>

--- @class fleet.aws.File
--- @field profiles table<string, fleet.aws.Properties>
--- @field sso table<string, fleet.aws.Properties> the sso-session sections
--- @field services table<string, fleet.aws.Properties>

--- The longest file that is read.
ini.MAX_BYTES = 1024 * 1024

-- Both in time linear in #s, unlike a pattern that is tried at each of many blanks.
local function strip_end(s) return s:match("^.*%S") or "" end
local function strip(s) return strip_end(s:sub(s:find("%S") or #s + 1)) end

-- A comment follows a blank, or stands alone.
local function without_comment(s)
  if s:find("^[#;]") then return "" end
  local at = s:find("%s[#;]")
  return at and strip_end(s:sub(1, at - 1)) or s
end

--- @class fleet.aws.IniReader
--- @field name string of the file
--- @field kind "config"|"credentials"
--- @field line integer
--- @field file fleet.aws.File
--- @field section table|nil properties that are read; nil before the first section
--- @field property {name: string, parts: string[]|nil, nested: table|nil}|nil the last one
local Reader = {}
Reader.__index = Reader

function Reader:fail(what)
  return errors.new({ kind = "config", message = ("%s:%d: %s"):format(self.name, self.line, what) })
end

-- Where the properties of a section go: a table of the file, or one that nobody sees.
function Reader:open(title)
  local kind, name = title:match("^(%S+)%s+(%S.*)$")
  if name then name = name:match('^"([^"]*)"$') or name:match("^'([^']*)'$") or name end
  local set
  if self.kind == "credentials" then
    if not kind then set, name = self.file.profiles, title end
  elseif title == "default" then
    set, name = self.plain_default, title
  elseif kind == "profile" then
    set = self.file.profiles
  elseif kind == "sso-session" then
    set = self.file.sso
  elseif kind == "services" then
    set = self.file.services
  end
  if not set then return {} end
  set[name] = set[name] or {}
  return set[name]
end

-- The value of a property may go on over many lines: put together once.
function Reader:close_property()
  local property = self.property
  self.property = nil
  if property and property.parts and #property.parts > 1 then
    self.section[property.name] = table.concat(property.parts, "\n")
  end
end

function Reader:read_section(line)
  self:close_property()
  local title = line:match("^%[([^%]]*)%]")
  if not title then return self:fail("a section has no end; write it as [name]") end
  local rest = strip(line:sub(#title + 3))
  if rest ~= "" and not rest:find("^[#;]") then
    return self:fail("there is more after the section's name; start a new line after ]")
  end
  title = strip(title)
  if title == "" then return self:fail("a section has no name; write it as [name]") end
  self.section = self:open(title)
end

-- "name = value" -> name in lower case and value, or nil and what is wrong
local function split(line)
  local at = line:find("=", 1, true)
  if not at then return nil, "no '='; write it as name = value, and comments after a #" end
  local name = strip(line:sub(1, at - 1)):lower()
  if name == "" then return nil, "there is no name before '='" end
  return name, without_comment(strip(line:sub(at + 1)))
end

function Reader:read_property(line)
  self:close_property()
  if not self.section then
    return self:fail("this stands before any section; put [default] or [profile NAME] above it")
  end
  local name, value = split(line)
  if not name then return self:fail(value) end
  self.section[name] = value
  self.property = { name = name, parts = { value } }
end

function Reader:read_indented(line)
  local property = self.property
  if not property then
    return self:fail("an indented line goes on with a property, and there is none above it")
  end
  if property.parts and property.parts[1] ~= "" then
    property.parts[#property.parts + 1] = line
    return nil
  end
  local name, value = split(line)
  if not name then return self:fail(value) end
  if property.parts then
    property.parts, property.nested = nil, {}
    self.section[property.name] = property.nested
  end
  property.nested[name] = value
end

function Reader:read(line)
  local indented = line:find("^%s") ~= nil
  line = strip(line)
  if line == "" or line:find("^[#;]") then return nil end
  if indented and (self.property or not line:find("^%[")) then return self:read_indented(line) end
  if line:find("^%[") then return self:read_section(line) end
  return self:read_property(line)
end

--- Reads the text of a file. Nil and an error of kind "config", with file and line, for what
--- is no such text.
---@param text string
---@param name string the file's name, for errors
---@param kind "config"|"credentials" which of the two it is
---@return fleet.aws.File|nil
---@return fleet.Error|nil
function ini.parse(text, name, kind)
  local reader = setmetatable({
    name = name, kind = kind, line = 0, plain_default = {},
    file = { profiles = {}, sso = {}, services = {} },
  }, Reader)
  if #text > ini.MAX_BYTES then
    return nil, errors.new({
      kind = "config", message = ("%s: larger than %d bytes"):format(name, ini.MAX_BYTES),
    })
  end
  local at = text:find("^\xEF\xBB\xBF") and 4 or 1
  while at <= #text do
    local stop = text:find("\n", at, true) or #text + 1
    reader.line = reader.line + 1
    local err = reader:read(text:sub(at, stop - 1))
    if err then return nil, err end
    at = stop + 1
  end
  reader:close_property()
  local profiles = reader.file.profiles
  profiles.default = profiles.default or reader.plain_default.default
  return reader.file
end

return ini
