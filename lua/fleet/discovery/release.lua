-- SPDX-License-Identifier: MIT
-- The release of this program: nodes of another release are not used, and EC2 instances are found
-- by it. It comes from the command line, a file of the machine, or the instance's tag. A driver may
-- use several, r1,r2, or every one, *, as long as the nodes speak its version of the protocol.

local errors = require("fleet.errors")
local file = require("fleet.base.file")

local release = {}

--- In place of a release: every one.
release.ANY = "*"

--- The file of a machine's image that has it, in one line.
release.FILE = "/etc/moonfleet/release"
--- The tag of EC2 instances that has it, unless --tag-key names another.
release.TAG_KEY = "moonfleet:release"

-- As long as the value of a tag may be.
local MAX_BYTES = 256
local MAX_FILE_BYTES = 4096

local bad = errors.formatter("config")

--- The releases that a driver uses.
---@param wanted string "r1", "r1,r2" or "*"
---@return string[]|nil nil: every one
function release.list(wanted)
  if wanted == release.ANY then return nil end
  local list = {}
  for name in wanted:gmatch("[^,]+") do list[#list + 1] = name:match("^%s*(.-)%s*$") end
  return list
end

--- Whether a driver that uses `wanted` uses a node of a release.
---@param wanted string
---@param theirs string|nil of the node
---@return boolean
function release.accepts(wanted, theirs)
  for _, each in ipairs(release.list(wanted) or { theirs }) do
    if each == theirs then return true end
  end
  return false
end

--- The one release of a node that such a driver starts: the first.
---@param wanted string
---@param otherwise string for every one
---@return string
function release.first(wanted, otherwise)
  return (release.list(wanted) or { otherwise })[1]
end

-- What is wrong with the releases on a command line, or nil. A node has one.
local function fault(wanted, is_node)
  if is_node and (wanted == release.ANY or wanted:find(",", 1, true)) then
    return errors.format("usage", "--release of a node is one release, got '%s'; a driver may use "
      .. "several", wanted)
  end
  for name in (wanted .. ","):gmatch("([^,]*),") do
    name = name:match("^%s*(.-)%s*$")
    if name == "" or name == release.ANY and wanted ~= release.ANY then
      return errors.format("usage", "--release takes a release, several such as r1,r2, or * for "
        .. "every one, got '%s'", wanted)
    end
  end
end

--- @class fleet.ReleaseOptions
--- @field flag string|nil from the command line
--- @field file string|nil path of the file; default: release.FILE
--- @field tag_key string|nil default: release.TAG_KEY
--- @field imds fleet.aws.Imds|nil nil: do not read the instance's tag
--- @field default string|nil
--- @field is_node boolean|nil whether it is that of a node

--- Finds the release: the command line, the file, the instance's tag, then `default`. May wait.
---@param options fleet.ReleaseOptions
---@return string|nil release or nil, nil and an error
---@return string|nil source where it comes from, for people
---@return fleet.Error|nil
function release.find(options)
  if options.flag then
    local err = fault(options.flag, options.is_node)
    if err then return nil, nil, err end
    return options.flag, "--release"
  end
  local path = options.file or release.FILE
  local text, message, missing = file.read_text(path, MAX_FILE_BYTES)
  if text then
    local line = text:match("^%s*(.-)%s*$")
    if line ~= "" and #line <= MAX_BYTES and not line:find("%c") then return line, path end
    return nil, nil, bad("%s must have one line, the release, of at most %d bytes", path, MAX_BYTES)
  elseif not missing then
    return nil, nil, bad("cannot read the release of this machine from %s", message)
  end
  local key, reason = options.tag_key or release.TAG_KEY, "this machine has no such tag"
  if options.imds then
    local value, failure = options.imds:tag(key)
    if value then return value, ("tag %s of this instance"):format(key) end
    if failure then reason = failure.message end
  end
  if options.default then return options.default, "the program's version" end
  return nil, nil, bad("the release is unknown: give --release, or %s, or the tag %s with "
    .. "InstanceMetadataTags enabled (%s)", path, key, reason)
end

return release
