-- SPDX-License-Identifier: MIT
-- The structured log on stderr, one line per event:
--   time=... level=info role=worker pid=... msg="page fetched" bytes=1024
-- Those of a job are on the stderr of its node: the driver's own where the node is its private one,
-- else that of moonfleet serve. (What is printed comes to the driver.)
-- Lines below the level in force (--log-level) cost next to nothing. What the jobs of a worker
-- log is limited, see docs/limits.md: lines above that are left out, and one line says so.

local check = require("fleet.base.check")
local host = require("host.log")

local log = {}

local function writer(level)
  return function(message, fields)
    if type(message) ~= "string" and type(message) ~= "number" then
      check.misuse("log.%s: the message must be a string, got %s", level, type(message))
    elseif fields ~= nil and type(fields) ~= "table" then
      check.misuse("log.%s: the fields must be a table, got %s", level, type(fields))
    end
    host.write(level, message, fields)
  end
end

--- Writes one line of level "error". `fields` has string keys; values are written
--- as tostring gives them, quoted where needed; at most 16, sorted by key.
---@type fun(message: string, fields: table<string, any>|nil)
log.error = writer("error")
--- The same, of level "warn".
---@type fun(message: string, fields: table<string, any>|nil)
log.warn = writer("warn")
--- The same, of level "info".
---@type fun(message: string, fields: table<string, any>|nil)
log.info = writer("info")
--- The same, of level "debug".
---@type fun(message: string, fields: table<string, any>|nil)
log.debug = writer("debug")

return check.module("fleet.log", log)
