-- SPDX-License-Identifier: MIT
-- The structured log on stderr, one line per event:
--   time=... level=info role=worker pid=... msg="page fetched" bytes=1024
-- Lines below the level in force (--log-level) cost next to nothing.

local host = require("host.log")

local log = {}

local function writer(level)
  return function(message, fields) host.write(level, message, fields) end
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

return log
