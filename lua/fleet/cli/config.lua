-- SPDX-License-Identifier: MIT
-- The configuration file: flags that stay the same, for a machine or a user.
--
--     -- /etc/moonfleet/moonfleet.lua
--     return {
--       discover = "ec2",
--       tag_key = "csrelease",
--       workers = 4,
--       filter = { "vpc-id=vpc-1234" },
--     }
--
-- It is Lua, so it may have comments and compute; of the library it has os.getenv and Lua's own
-- functions for strings, tables and numbers. fleet.cli defines the keys.

local errors = require("fleet.errors")
local file = require("fleet.base.file")
local pretty = require("fleet.base.pretty")

local config = {}

--- The default path; the file need not exist.
config.FILE = "/etc/moonfleet/moonfleet.lua"

local MAX_BYTES = 1024 * 1024

local usage = errors.formatter("usage")

local function environment()
  return {
    os = { getenv = os.getenv }, string = string, table = table, math = math,
    ipairs = ipairs, pairs = pairs, next = next, select = select, tonumber = tonumber,
    tostring = tostring, type = type, assert = assert, error = error,
  }
end

--- Reads a configuration.
---@param path string|nil default: config.FILE, if it exists
---@return table<string, any>|nil values by the name of the flag with _ for -; or nil and an error
---@return fleet.Error|nil
function config.read(path)
  local source, message, missing = file.read_text(path or config.FILE, MAX_BYTES)
  if missing and not path then return {} end
  if not source then return nil, usage("cannot read the configuration %s", message) end
  path = path or config.FILE
  local chunk
  chunk, message = load(source, "@" .. path, "t", environment())
  if not chunk then return nil, usage("%s", message) end
  local ok, values = pcall(chunk)
  if not ok then return nil, usage("%s", pretty.message(values)) end
  if type(values) ~= "table" then
    return nil, usage("%s: a configuration returns a table, such as return { discover = \"ec2\" }",
      path)
  end
  return values
end

return config
