-- SPDX-License-Identifier: MIT
-- A real sshd on this machine, with throw-away keys: it accepts one key for the user that runs the
-- specs, and the ssh that goes there reads nothing of that user's.
--
--   local host = sshd.start(world)
--   world:run({ "run", "--ssh", host.target, "--ssh-command", host.command, ... })

local e2e = require("spec.support.e2e")
local launching = require("spec.support.launching")
local socket = require("socket")

local sshd = {}

--- @class spec.Sshd
--- @field port integer
--- @field target string USER@127.0.0.1:PORT
--- @field command string the ssh to use
--- @field config string path of its configuration
--- @field process e2e.Process

local function key(world, name)
  local path = world:path(name)
  assert(os.execute(("ssh-keygen -q -t ed25519 -N '' -C test -f '%s'"):format(path)))
  return path
end

--- Starts an sshd, and waits until it listens. Options: `path` (PATH of its commands; default: with
--- the world's copy of the program), `home` (home folder of its commands), `accepts` (false: no
--- key), `known` (false: ssh does not know its host key), `changed` (true: ssh knows another one),
--- `banner` (a text that commands print first).
---@param world e2e.World
---@param options table|nil
---@return spec.Sshd
function sshd.start(world, options)
  options = options or {}
  world.sshds = (world.sshds or 0) + 1
  local name, port = "sshd" .. world.sshds, e2e.free_port()
  local host_key, user_key = key(world, name .. "_host"), key(world, name .. "_user")
  local keys = options.accepts == false and "" or e2e.read(user_key .. ".pub")
  local authorized = world:write(name .. "_authorized", keys)
  local known_key = e2e.read((options.changed and user_key or host_key) .. ".pub")
  local known = world:write(name .. "_known", options.known == false and ""
    or ("[127.0.0.1]:%d %s"):format(port, known_key))
  local user = os.getenv("USER") or "root"
  local environment = { "PATH=" .. (options.path or launching.path(world)) }
  if options.home then environment[2] = "HOME=" .. options.home end
  local config = world:write(name .. "_config", ([[
Port %d
ListenAddress 127.0.0.1
HostKey %s
AuthorizedKeysFile %s
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
SetEnv %s
%s]]):format(port, host_key, authorized, table.concat(environment, " "), options.banner
    and ("ForceCommand echo '%s'; eval \"$SSH_ORIGINAL_COMMAND\"\n"):format(options.banner) or ""))
  os.execute("mkdir -p /run/sshd")
  local process = world:start({ "/usr/sbin/sshd", "-D", "-e", "-f", config })
  e2e.wait_until("sshd", function()
    local client = socket.connect("127.0.0.1", port)
    if client then client:close() end
    return client ~= nil
  end)
  local client = world:write(name .. "_client", ([[
IdentityFile %s
IdentitiesOnly yes
IdentityAgent none
UserKnownHostsFile %s
GlobalKnownHostsFile /dev/null
StrictHostKeyChecking yes
LogLevel INFO
]]):format(user_key, known))
  return {
    port = port, target = ("%s@127.0.0.1:%d"):format(user, port), process = process,
    command = "ssh -F " .. client, config = client,
  }
end

return sshd
