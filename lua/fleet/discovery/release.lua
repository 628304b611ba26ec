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

-- The line of the file; nil when there is no file; nil, nil and an error when it is not valid.
local function read(path)
  local text, message, missing = file.read_text(path, MAX_FILE_BYTES)
  if missing then return nil end
  if not text then
    return nil, nil, bad("cannot read the release of this machine from %s", message)
  end
  local line = text:match("^%s*(.-)%s*$")
  if line == "" or #line > MAX_BYTES or line:find("%c") then
    return nil, nil, bad("%s must have one line, the release, of at most %d bytes", path, MAX_BYTES)
  end
  return line
end

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
  local line, _, err = read(path)
  if err then return nil, nil, err end
  if line then return line, path end
  local key, why = options.tag_key or release.TAG_KEY, "this machine has no such tag"
  if options.imds then
    local value, failure = options.imds:tag(key)
    if value then return value, ("tag %s of this instance"):format(key) end
    if failure then why = failure.message end
  end
  if options.default then return options.default, "the program's version" end
  return nil, nil, bad("the release is unknown: give --release, or %s, or the tag %s with "
    .. "InstanceMetadataTags enabled (%s)", path, key, why)
end

return release
