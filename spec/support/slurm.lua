-- SPDX-License-Identifier: MIT
-- A cluster of Slurm on this machine: one machine with some CPUs, real daemons, on loopback. Needs
-- root, and Debian's slurmctld, slurmd, slurm-client and munge.

local e2e = require("spec.support.e2e")
local sys = require("host.sys")

local slurm = {}

local CONFIG = [[
ClusterName=moonfleet
SlurmctldHost=HOST(127.0.0.1)
SlurmctldPort=PORT1
SlurmdPort=PORT2
SlurmUser=root
SlurmdUser=root
AuthInfo=socket=DIR/munge
StateSaveLocation=DIR/state
SlurmdSpoolDir=DIR/spool
SlurmctldPidFile=DIR/slurmctld.pid
SlurmdPidFile=DIR/slurmd.pid
SlurmctldLogFile=DIR/slurmctld.log
SlurmdLogFile=DIR/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
NodeName=HOST NodeAddr=127.0.0.1 CPUs=CORES State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
]]

--- Whether this machine has what a cluster needs; and, if not, what is missing.
---@return boolean, string|nil
function slurm.available()
  if not e2e.read("/proc/self/status"):find("Uid:%s*0%s") then
    return false, "not root: Slurm's daemons need to be"
  end
  for _, program in ipairs({ "slurmctld", "slurmd", "munged" }) do
    if not e2e.exists("/usr/sbin/" .. program) then return false, "no " .. program end
  end
  return true
end

--- Starts a cluster, and waits until its machine is idle.
---@param world e2e.World
---@param cores integer how many CPUs its machine pretends to have
---@return string[] the environment of srun, sbatch and the like, as words NAME=VALUE
function slurm.start(world, cores)
  local host = assert(sys.hostname():match("^[^.]+"))
  local config = world:write("slurm.conf", (CONFIG:gsub("%u+%d?", {
    HOST = host, DIR = world.dir, CORES = tostring(cores),
    PORT1 = tostring(e2e.free_port()), PORT2 = tostring(e2e.free_port()),
  })))
  assert(os.execute(("cd '%s' && mkdir state spool && umask 077 && head -c 1024 /dev/urandom >key")
    :format(world.dir)))
  world:start({
    "/usr/sbin/munged", "--foreground", "--force", "--socket", world:path("munge"), "--key-file",
    world:path("key"), "--pid-file", world:path("munged.pid"), "--log-file",
    world:path("munged.log"), "--seed-file", world:path("seed"),
  })
  e2e.wait_until("munged", function() return e2e.exists(world:path("munge")) end)
  local environment = { "SLURM_CONF=" .. config }
  for _, daemon in ipairs({ "slurmctld", "slurmd" }) do
    world:start({ "/usr/sbin/" .. daemon, "-D" }, { env = environment })
  end
  e2e.wait_until("Slurm", function()
    local pipe = assert(io.popen(("SLURM_CONF='%s' sinfo -h -o %%t 2>/dev/null"):format(config)))
    local state = pipe:read("a")
    pipe:close()
    return state == "idle\n"
  end, 30)
  return environment
end

return slurm
