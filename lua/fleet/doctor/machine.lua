-- SPDX-License-Identifier: MIT
-- Checks of the machine that the command runs on.

local file = require("fleet.base.file")
local sys = require("host.sys")

local machine = {}

-- A driver has two connections to each node, a worker 64 to each origin.
local FEW_FILES = 4096

-- The soft and the hard limit of open files; nil when the kernel does not say.
local function file_limits(read)
  local text = read("/proc/self/limits")
  return (text or ""):match("Max open files%s+(%S+)%s+(%S+)")
end

---@param report fleet.Report
---@param flags table of the command line
---@param read (fun(path: string): string|nil)|nil reads a file; specs have their own
function machine.check(report, flags, read)
  report:ok("program", ("moonfleet %s, %d cores"):format(sys.version, sys.cores()))
  if flags.release then
    report:ok("release", ("%s, from %s"):format(flags.release, flags.release_source))
  else
    report:fail("release", flags.release_error.message)
  end
  local soft, hard = file_limits(read or file.read)
  local number = math.tointeger(tonumber(soft))
  if number and number < FEW_FILES then
    report:warn("open files", ("at most %d in a process"):format(number),
      ("raise it: ulimit -n %s, or LimitNOFILE= of the service"):format(hard))
  elseif soft then
    report:ok("open files", ("at most %s in a process"):format(soft))
  end
  local filters, err = sys.can_filter()
  if filters then
    report:ok("jobs", "workers have a filter of system calls")
  else
    report:warn("jobs", ("workers here have no filter of system calls: %s"):format(err.message),
      "run nodes on a kernel with CONFIG_SECCOMP_FILTER, and outside of emulators")
  end
end

return machine
