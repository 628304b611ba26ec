-- SPDX-License-Identifier: MIT
-- What those need that run other programs (host.process): all of the output, the end, and the last
-- words.

local sys = require("host.sys")
local task = require("host.task")

local subprocess = {}

-- Seconds between two polls for the end of a process.
local POLL_INTERVAL = 0.01

--- Reads the output of a process to its end. Waits.
---@param p host.Process
---@param max integer|nil bytes; nil: no limit
---@return string|nil output nil when there is more
function subprocess.read_all(p, max)
  local parts, size = {}, 0
  for bytes in p.read, p do
    size = size + #bytes
    if size > (max or math.huge) then return nil end
    parts[#parts + 1] = bytes
  end
  return table.concat(parts)
end

--- Waits until a process has ended.
---@param p host.Process
---@param seconds number|nil at most; nil: as long as it takes
---@return integer|nil code its exit code
---@return integer|nil signal that ended it; both nil: it has not ended
function subprocess.wait(p, seconds)
  local deadline = sys.now() + (seconds or math.huge)
  while true do
    local code, signal = p:ended()
    if code or signal or sys.now() >= deadline then return code, signal end
    task.sleep(POLL_INTERVAL)
  end
end

--- The last line of an output that is not blank.
---@param output string
---@return string|nil
function subprocess.last_line(output)
  local last
  for line in output:gmatch("[^\r\n]+") do
    if line:find("%S") then last = line end
  end
  return last
end

return subprocess
