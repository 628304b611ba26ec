-- SPDX-License-Identifier: MIT
-- The public library, in jobs and in the driver. Submodules (fleet.http,
-- fleet.digest, fleet.json, fleet.log) are required by their own names.

local task = require("host.task")

local fleet = {}

--- Waits; other tasks of this process run meanwhile. Raises where waiting is
--- impossible (a table.sort comparator, a string.gsub callback, __gc).
---@param seconds number not negative
function fleet.sleep(seconds)
  task.sleep(seconds)
end

return fleet
