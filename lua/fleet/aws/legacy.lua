-- SPDX-License-Identifier: MIT
-- Keys where the first tools for AWS had them, and the AWS CLI still looks after the profile: the
-- file that AWS_CREDENTIAL_FILE names, and the files of boto 2 (gsutil writes ~/.boto).

local errors = require("fleet.errors")
local ini = require("fleet.aws.ini")
local secret = require("fleet.aws.credential")

local legacy = {}

local fail = errors.formatter("credentials")

local function keys(path, key, secret_key)
  if key and not secret_key then
    return nil, fail("%s has an access key id, and no secret access key", path)
  end
  return key and secret.new({ key = key, secret = secret_key, source = path })
end

-- Lines of AWSAccessKeyId=KEY and AWSSecretKey=SECRET.
local function credential_file(settings)
  local named = settings:variable("AWS_CREDENTIAL_FILE")
  if not named then return nil end
  local path = settings:expand(named) or named
  local text, err = settings.read(path)
  if err then return nil, err end
  if not text then
    return nil, fail("there is no file %s, which AWS_CREDENTIAL_FILE names", path)
  end
  local values = {}
  for name, value in text:gmatch("([^=\r\n]*)=([^\r\n]*)") do
    values[name:match("^%s*(.-)%s*$")] = value:match("^%s*(.-)%s*$")
  end
  return keys(path, values.AWSAccessKeyId, values.AWSSecretKey)
end

local function boto_file(settings, path, named)
  local text, err = settings.read(path)
  if not text and not err and named then
    settings:warn_once("there is no file %s, which BOTO_CONFIG names", path)
  end
  if not text then return nil, err end
  local sections
  sections, err = ini.sections(text, path)
  for _, section in ipairs(sections or {}) do
    if section.title == "Credentials" then
      return keys(path, section.values.aws_access_key_id, section.values.aws_secret_access_key)
    end
  end
  return nil, err
end

--- The keys of these files; nothing when there are none. Does not wait.
---@param settings fleet.aws.Settings
---@return fleet.aws.Credentials|nil
---@return fleet.Error|nil
function legacy.credentials(settings)
  local credentials, err = credential_file(settings)
  if credentials or err then return credentials, err end
  local named = settings:variable("BOTO_CONFIG")
  for _, name in ipairs(named and { named } or { "/etc/boto.cfg", "~/.boto" }) do
    local path = settings:expand(name)
    if path then credentials, err = boto_file(settings, path, named) end
    if credentials or err then return credentials, err end
  end
  return nil
end

return legacy
