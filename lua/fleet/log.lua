-- SPDX-License-Identifier: MIT
-- The structured log on stderr, one line per event:
--   time=... level=info role=worker pid=... msg="page fetched" bytes=1024
-- Log lines of a job appear on the stderr of its node: that of the driver for a private node,
-- otherwise that of moonfleet serve. (Printed text appears at the driver.) Lines below the current
-- level (--log-level) cost almost nothing. The log lines of all jobs of a worker are limited
-- (docs/limits.md): excess lines are left out, and one line says so.

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

--- Writes a line of level "error". `fields` has string keys and at most 16 values, which are
--- written with tostring, quoted if necessary, sorted by key.
---@type fun(message: string, fields: table<string, any>|nil)
log.error = writer("error")
--- The same for level "warn".
---@type fun(message: string, fields: table<string, any>|nil)
log.warn = writer("warn")
--- The same for level "info".
---@type fun(message: string, fields: table<string, any>|nil)
log.info = writer("info")
--- The same for level "debug".
---@type fun(message: string, fields: table<string, any>|nil)
log.debug = writer("debug")

return check.module("fleet.log", log)
