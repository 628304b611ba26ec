-- SPDX-License-Identifier: MIT
-- The release of this program: nodes of another release are not used, and EC2 instances are found
-- by it. It comes from the command line, a file of the machine, or the instance's tag.

local errors = require("fleet.errors")
local file = require("fleet.base.file")

local release = {}

--- The file of a machine's image that has it, in one line.
release.FILE = "/etc/moonfleet/release"
--- The tag of EC2 instances that has it, unless --tag-key names another.
release.TAG_KEY = "moonfleet:release"

-- As long as the value of a tag may be.
local MAX_BYTES = 256
local MAX_FILE_BYTES = 4096

local bad = errors.formatter("config")

--- @class fleet.ReleaseOptions
--- @field flag string|nil from the command line
--- @field file string|nil path of the file; default: release.FILE
--- @field tag_key string|nil default: release.TAG_KEY
--- @field imds fleet.aws.Imds|nil nil: do not read the instance's tag
--- @field default string|nil

--- Finds the release: the command line, the file, the instance's tag, then `default`. May wait.
---@param options fleet.ReleaseOptions
---@return string|nil release or nil, nil and an error
---@return string|nil source where it comes from, for people
---@return fleet.Error|nil
function release.find(options)
  if options.flag then return options.flag, "--release" end
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
