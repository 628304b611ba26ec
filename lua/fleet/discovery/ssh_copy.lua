-- SPDX-License-Identifier: MIT
-- --ssh-copy: copies the running program to the other host, once for each version, into
-- ~/.cache/moonfleet there (XDG_CACHE_HOME is obeyed). The name has the digest of the program as
-- well, so that two builds of one version do not meet.

local digest = require("fleet.digest")
local errors = require("fleet.errors")
local file = require("fleet.base.file")
local process = require("host.process")
local shell = require("fleet.base.shell")
local singleflight = require("fleet.base.singleflight")
local ssh = require("fleet.discovery.ssh")
local subprocess = require("fleet.base.subprocess")
local sys = require("host.sys")

local ssh_copy = {}

local PROGRAM = "/proc/self/exe"
local DIGEST_CHARACTERS = 12
local CACHE = '"${XDG_CACHE_HOME:-$HOME/.cache}"/moonfleet'

-- The file over there, in the words of its shell; found once.
local remote_path

local function path_there()
  if remote_path then return remote_path end
  local bytes, message = file.read(PROGRAM)
  if not bytes then
    return nil, errors.format("system", "cannot read the running program %s", message)
  end
  remote_path = ("%s/%s-%s"):format(CACHE, sys.version,
    digest.sha256(bytes):sub(1, DIGEST_CHARACTERS))
  return remote_path
end

-- Runs a command over there to its end; returns what it wrote, or nil and an error. `input` is a
-- redirection of our shell.
local function run(target, command, remote, input)
  local name = shell.quote(command[1])
  local p, err = process.start({ "/bin/sh", "-c", ("command -v %s >/dev/null || "
    .. "{ echo cannot run %s; exit 126; }; exec %s 2>&1 %s"):format(name, name,
    shell.join(ssh.argv(target, command, remote)), input or "") })
  if not p then return nil, err end
  local output = subprocess.read_all(p)
  local code, signal = subprocess.wait(p)
  if code == 0 then return output end
  return nil, errors.format("connect", "%s", ssh.explain(target, code, signal, output,
    command))
end

-- The kernel and the architecture of this machine, as `uname -sm` has them.
local function machine_here()
  local p = process.start({ "uname", "-sm" })
  return p and subprocess.read_all(p):match("^%s*(.-)%s*$")
end

local function provide(target, command)
  local path, err = path_there()
  if not path then return nil, err end
  local output
  output, err = run(target, command, ("if [ -x %s ]; then echo moonfleet: present; else "
    .. "echo moonfleet: $(uname -sm); fi"):format(path))
  if not output then return nil, err end
  local there = output:match("moonfleet: ([^\n]*)") -- a profile may print something before it
  if there == "present" then return path end
  local here = machine_here()
  if there ~= here then
    return nil, errors.format("connect", "%s: it is %s and this machine is %s, so the program "
      .. "cannot be copied: install moonfleet there, and give --ssh-program unless it is in the "
      .. "PATH", target.text, there or "unknown", here)
  end
  output, err = run(target, command, ("umask 077 && mkdir -p %s && t=$(mktemp %s.XXXXXX) && "
    .. '{ cat >"$t" && chmod 700 "$t" && mv -f "$t" %s || { rm -f "$t"; exit 1; }; }'):format(CACHE,
    path, path), "</proc/$PPID/exe")
  if not output then return nil, err end
  return path
end

local flights = {} -- by the text of their target

--- Makes sure that the host of the target has this program; once for all that ask for a target at
--- the same time. Waits.
---@param target fleet.SshTarget
---@param command string[] the ssh program and flags of the user's
---@return string|nil program in the words of the shell there; or nil and an error
---@return fleet.Error|nil
function ssh_copy.provide(target, command)
  local name = target.text
  flights[name] = flights[name] or singleflight.new(function()
    local program, err = provide(target, command)
    flights[name] = nil
    return program, err
  end)
  return flights[name]:run()
end

return ssh_copy
