-- SPDX-License-Identifier: MIT
-- Checks the machine on which the command runs.

local file = require("fleet.base.file")
local sys = require("host.sys")
local text = require("fleet.base.text")

local machine = {}

-- Enough for a driver, which has two connections per node, and for a worker, which has up to 64 per
-- origin.
local MIN_FILES = 4096

---@param report fleet.Report
---@param flags table of the command line
---@param read (fun(path: string): string|nil)|nil reads a file; specs pass their own
function machine.check(report, flags, read)
  report:ok("program", ("moonfleet %s, %s"):format(sys.version, text.count(sys.cores(), "core")))
  if flags.release then
    report:ok("release", ("%s, from %s"):format(flags.release, flags.release_source))
  else
    report:fail("release", flags.release_error.message)
  end
  local limits = (read or file.read)("/proc/self/limits") or ""
  local soft, hard = limits:match("Max open files%s+(%S+)%s+(%S+)")
  local number = math.tointeger(tonumber(soft))
  if number and number < MIN_FILES then
    report:warn("open files", ("at most %d in a process"):format(number),
      ("raise it: ulimit -n %s, or LimitNOFILE= of the service"):format(hard))
  elseif soft then
    report:ok("open files", ("at most %s in a process"):format(soft))
  end
  local filters, err = sys.can_filter()
  if filters then
    report:ok("jobs", "workers run with a system call filter")
  else
    report:warn("jobs", ("workers have no system call filter here: %s"):format(err.message),
      "run nodes on a kernel with CONFIG_SECCOMP_FILTER, and outside of emulators")
  end
end

return machine
