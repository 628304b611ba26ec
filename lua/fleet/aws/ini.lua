-- SPDX-License-Identifier: MIT
-- Parses the files of AWS profiles (~/.aws/config and ~/.aws/credentials) as the AWS CLI does:
--
--   [profile build]            in the credentials file: [build]; [default] in both
--   region = eu-west-1         # a comment: on its own line, or behind a blank
--   output: json               a colon is equivalent to =
--   services = local
--   s3 =                       a property without a value has indented properties of its own
--     addressing_style = path
--   [services local]
--   [DEFAULT]                  defaults for the other sections of the file
--
-- A line that is indented more than the property above it continues its value. Names of properties
-- are converted to lower case, titles are not; the title of a profile is split into words as sh
-- does it. If two titles denote one profile ([default], [profile default]), the later section wins.
-- Sections with the same title are merged, and the later property wins; the AWS CLI rejects such a
-- file. Other sections are ignored. Accepts any bytes, takes time linear in their number, and never
-- raises.

local base_text = require("fleet.base.text")
local errors = require("fleet.errors")
local shell = require("fleet.base.shell")

local ini = {}

--- @alias fleet.aws.Properties table<string, string|table<string, string>>

--- @class fleet.aws.Section
--- @field title string
--- @field values fleet.aws.Properties

--- @class fleet.aws.File
--- @field profiles table<string, fleet.aws.Properties>
--- @field services table<string, fleet.aws.Properties>

-- ---- blanks ----

-- Blanks of Unicode that Lua does not know; text that is copied from web pages often has them.
local BLANKS = {
  ["\xC2\x85"] = true, ["\xC2\xA0"] = true, ["\xE1\x9A\x80"] = true, ["\xE2\x80\xA8"] = true,
  ["\xE2\x80\xA9"] = true, ["\xE2\x80\xAF"] = true, ["\xE2\x81\x9F"] = true,
  ["\xE3\x80\x80"] = true,
}
for code = 0x2000, 0x200A do BLANKS[utf8.char(code)] = true end

-- The last byte of the blank character at `at`; nil when there is none.
local function blank_end(s, at)
  if s:find("^%s", at) then return at end
  local stop = s:find("^[\xC2-\xE3]", at) and (utf8.offset(s, 2, at) or #s + 1) - 1
  return stop and BLANKS[s:sub(at, stop)] and stop or nil
end

-- Returns `s`, which is UTF-8, without blanks at its ends, and the number of the leading ones.
local function strip(s)
  local first, last = 1, #s
  while first <= last do
    local stop = blank_end(s, first)
    if not stop then break end
    first = stop + 1
  end
  while last >= first do
    local at = utf8.offset(s, -1, last + 1)
    if not blank_end(s, at) then break end
    last = at - 1
  end
  return s:sub(first, last), utf8.len(s, 1, first - 1)
end

-- A comment begins the text, or follows a blank.
local function without_comment(s)
  if s:find("^[#;]") then return "" end
  local at = s:find("%s[#;]")
  return at and strip(s:sub(1, at - 1)) or s
end

-- Properties without comments: their values may contain " #" and " ;".
local UNCOMMENTED = { credential_process = true }

-- ---- sections ----

--- @class fleet.aws.IniReader
--- @field name string of the file
--- @field line integer
--- @field list fleet.aws.Section[]
--- @field by_title table<string, fleet.aws.Properties>
--- @field section fleet.aws.Properties|nil the current section; nil before the first
--- @field indent integer blanks before its last property, or before its title
--- @field property {name: string, parts: string[]|nil, nested: table|nil}|nil the last property
local Reader = {}
Reader.__index = Reader

function Reader:fail(what)
  return errors.format("config", "%s:%d: %s", self.name, self.line, what)
end

-- Joins the lines of a property's value; once, as there may be many.
function Reader:close_property()
  local property = self.property
  self.property = nil
  if property and property.parts and #property.parts > 1 then
    self.section[property.name] = table.concat(property.parts, "\n"):gsub("\n+$", "")
  end
end

function Reader:read_section(line)
  local title = line:match("^%[([^%]]*)%]")
  if not title then return self:fail("a section has no end; write it as [name]") end
  title = strip(title)
  if title == "" then return self:fail("a section has no name; write it as [name]") end
  if not self.by_title[title] then
    self.by_title[title] = {}
    self.list[#self.list + 1] = { title = title, values = self.by_title[title] }
  end
  self.section = self.by_title[title]
end

-- Splits "name = value" into the name in lower case and the value; nil and what is wrong. `marks`
-- is a pattern of the characters that may separate the two.
local function split(line, marks)
  local at = line:find(marks)
  if not at then return nil, "no '='; write it as name = value, and comments after a #" end
  local name = strip(line:sub(1, at - 1)):lower()
  if name == "" then return nil, "there is no name before '" .. line:sub(at, at) .. "'" end
  local value = strip(line:sub(at + 1))
  return name, UNCOMMENTED[name] and value or without_comment(value)
end

function Reader:read_property(line)
  if not self.section then
    return self:fail("this stands before any section; put [default] or [profile NAME] above it")
  end
  local name, value = split(line, "[=:]")
  if not name then return self:fail(value) end
  self.section[name] = value
  self.property = { name = name, parts = { value } }
end

-- Reads a line that continues the property above it.
function Reader:read_more(line)
  local property = self.property
  if property.parts and property.parts[1] ~= "" then
    property.parts[#property.parts + 1] = line
    return nil
  end
  local name, value = split(line, "=")
  if not name then return self:fail(value) end
  if property.parts then
    property.parts, property.nested = nil, {}
    self.section[property.name] = property.nested
  end
  property.nested[name] = value
end

-- An empty line may be part of a value of several lines.
function Reader:read_blank()
  local parts = self.property and self.property.parts
  if parts and parts[1] ~= "" then parts[#parts + 1] = "" end
end

function Reader:read(line)
  local indent
  line, indent = strip(line)
  if line:find("^[#;]") then return nil end
  if line == "" then return self:read_blank() end
  if self.property and indent > self.indent then return self:read_more(line) end
  self:close_property()
  self.indent = indent
  if line:find("^%[") then return self:read_section(line) end
  return self:read_property(line)
end

-- The error of a text that is not readable as UTF-8, or nil.
local function check_text(text, name)
  local what = base_text.utf16_fault(text)
  if not what then
    local _, bad = utf8.len(text)
    bad = bad or text:find("\0", 1, true)
    if not bad then return nil end
    what = ("byte %d is not text in UTF-8; save the file as UTF-8, or name another"):format(bad)
  end
  return errors.format("config", "%s: %s", name, what)
end

--- The sections of a file in their order, each with the properties of [DEFAULT] that it does not
--- set itself. Nil and an error of kind "config", with file and line, when the text is not valid.
---@param text string
---@param name string the file's name, for errors
---@return fleet.aws.Section[]|nil
---@return fleet.Error|nil
function ini.sections(text, name)
  local err = check_text(text, name)
  if err then return nil, err end
  text = base_text.without_mark(text):gsub("\r\n?", "\n")
  local reader = setmetatable({
    name = name, line = 0, list = {}, by_title = {}, indent = 0,
  }, Reader)
  local at = 1
  while at <= #text do
    local stop = text:find("\n", at, true) or #text + 1
    reader.line = reader.line + 1
    err = reader:read(text:sub(at, stop - 1))
    if err then return nil, err end
    at = stop + 1
  end
  reader:close_property()
  local common, list = reader.by_title.DEFAULT, {}
  for _, section in ipairs(reader.list) do
    for key, value in pairs(common or {}) do
      if section.values[key] == nil then section.values[key] = value end
    end
    if section.title ~= "DEFAULT" then list[#list + 1] = section end
  end
  return list
end

-- ---- profiles and services ----

-- The set and the name under which to store a section of the config file; nil for other sections.
local function place(file, title)
  if title == "default" then return file.profiles, title end
  local list = shell.split(title) or {}
  if #list ~= 2 then return nil end
  return ({ profile = file.profiles, services = file.services })[list[1]], list[2]
end

--- Parses the text of a file. Nil and an error of kind "config", with file and line, when it is not
--- valid.
---@param text string
---@param name string the file's name, for errors
---@param kind "config"|"credentials" which of the two it is
---@return fleet.aws.File|nil
---@return fleet.Error|nil
function ini.parse(text, name, kind)
  local sections, err = ini.sections(text, name)
  if not sections then return nil, err end
  local file = { profiles = {}, services = {} }
  for _, section in ipairs(sections) do
    local set, key = file.profiles, section.title -- the credentials file has only profiles
    if kind == "config" then set, key = place(file, section.title) end
    if set then set[key] = section.values end
  end
  return file
end

return ini
