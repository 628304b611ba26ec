-- SPDX-License-Identifier: MIT
-- Starts an sshd on this machine, with throw-away keys. Returns the command of an ssh that goes
-- there, up to its flags: ssh .. " HOST COMMAND", where HOST is 127.0.0.1; or nil if OpenSSH is not
-- installed.

local SSHD = "/usr/sbin/sshd"

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

return function(bench)
  if not bench:has("ssh", "ssh-keygen", SSHD) then return nil end
  local port, dir = bench:port(), bench.dir
  bench:shell([[mkdir -p /run/sshd 2>/dev/null # only root needs it
    for name in host user; do ssh-keygen -q -t ed25519 -N '' -f "$1/$name"; done
    echo "[127.0.0.1]:$2 $(cat "$1/host.pub")" >"$1/known"]], dir, port)
  write(dir .. "/sshd.conf", ([[
    Port %d
    ListenAddress 127.0.0.1
    HostKey %s/host
    AuthorizedKeysFile %s/user.pub
    PidFile none
    StrictModes no
    UsePAM no
    PermitRootLogin yes
  ]]):format(port, dir, dir))
  bench:spawn(SSHD .. " -D -e -f $1/sshd.conf", dir)
  bench:wait_port(port)
  return ("ssh -T -F none -i %s/user -o IdentitiesOnly=yes -o IdentityAgent=none "
    .. "-o UserKnownHostsFile=%s/known -o BatchMode=yes -p %d"):format(dir, dir, port)
end
