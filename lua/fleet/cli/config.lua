-- SPDX-License-Identifier: MIT
-- The configuration file: flags that are the same each time, for a machine or a user.
--
--     -- /etc/moonfleet/moonfleet.lua
--     return {
--       discover = "ec2",
--       tag_key = "csrelease",
--       workers = 4,
--       filter = { "vpc-id=vpc-1234" },
--     }
--
-- It is Lua, so it may have comments and compute; it sees no library but os.getenv and Lua's own
-- for strings, tables and numbers. fleet.cli says what a key may be.

local errors = require("fleet.errors")

local pretty = require("fleet.base.pretty")
local utf16_fault = require("fleet.base.text").utf16_fault
local without_mark = require("fleet.base.text").without_mark

local config = {}

--- Where the file of the machine is; it need not exist.
config.FILE = "/etc/moonfleet/moonfleet.lua"

local MAX_BYTES = 1024 * 1024
local ENOENT = 2

local function usage(format, ...)
  return nil, errors.new({ kind = "usage", message = format:format(...) })
end

local function environment()
  return {
    os = { getenv = os.getenv }, string = string, table = table, math = math,
    ipairs = ipairs, pairs = pairs, next = next, select = select, tonumber = tonumber,
    tostring = tostring, type = type, assert = assert, error = error,
  }
end

--- Reads a configuration.
---@param path string|nil nil: config.FILE, if there is one
---@return table<string, any>|nil values by the name of the flag with _ for -; or nil and an error
---@return fleet.Error|nil
function config.read(path)
  local file, message, code = io.open(path or config.FILE, "rb")
  if not file and not path and code == ENOENT then return {} end
  local text
  if file then
    text, message = file:read(MAX_BYTES)
    file:close()
  end
  path = path or config.FILE
  if message then
    return usage("cannot read the configuration %s", message:find(path, 1, true) and message
      or path .. ": " .. message)
  end
  local fault = utf16_fault(text or "")
  if fault then return usage("%s: %s", path, fault) end
  local chunk
  chunk, message = load(without_mark(text or ""), "@" .. path, "t", environment())
  if not chunk then return usage("%s", message) end
  local fine, values = pcall(chunk)
  if not fine then return usage("%s", pretty.message(values)) end
  if type(values) ~= "table" then
    return usage("%s: a configuration returns a table, such as return { discover = \"ec2\" }", path)
  end
  return values
end

return config
