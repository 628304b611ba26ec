-- SPDX-License-Identifier: MIT
-- Nodes that are started by ssh: which command that takes, and what it means when it fails. The
-- user's own ssh_config, agent, jump hosts and known_hosts apply, and ssh never asks anything.

local address = require("fleet.discovery.address")
local errors = require("fleet.errors")
local file = require("fleet.base.file")
local shell = require("fleet.base.shell")
local subprocess = require("fleet.base.subprocess")

local ssh = {}

local CONNECT_TIMEOUT = 10
local MAX_WORKERS = 1024
-- A connection that is silent is given up after 3 x 5 s, as a node is after --dead-after.
local OPTIONS = {
  "-T", "-a", "-x", "-S", "none", "-o", "BatchMode=yes", "-o",
  "ConnectTimeout=" .. CONNECT_TIMEOUT, "-o", "ServerAliveInterval=5", "-o",
  "ServerAliveCountMax=3",
}

local usage = errors.formatter("usage")

--- @class fleet.SshTarget
--- @field text string as ssh and people write it: alice@build1, alice@build1:2222
--- @field login string [user@]host
--- @field host string
--- @field port integer|nil
--- @field workers integer|nil worker processes there; default: one per core

--- Parses [N/][user@]host[:port]; an IPv6 address with a port stands in brackets. As in GNU
--- parallel, N is the number of workers.
---@param text string
---@return fleet.SshTarget|nil target; or nil and what is wrong, worded to follow the text
---@return string|nil
function ssh.parse(text)
  local workers, login = text:match("^(%d+)/(.*)$")
  login = login or text
  local user, place = login:match("^([^@]*)@(.*)$")
  place = place or login
  if login:find("^%-") or place:find("^%-") then return nil, "begins with a dash" end
  if login:find("[%s%c]") then return nil, "has white space in it" end
  if user == "" then return nil, "has no user before the @" end
  local count = tonumber(workers)
  if count and (count < 1 or count > MAX_WORKERS) then
    return nil, ("has a number of workers outside 1 to %d"):format(MAX_WORKERS)
  end
  local host, port = address.split(place)
  if not host then return nil, "is not [user@]host[:port]" end
  local name = user and user .. "@" .. host or host
  return {
    text = port and (user and user .. "@" or "") .. address.join(host, port) or name,
    login = name, host = host, port = port, workers = count,
  }
end

--- Parses an --sshlogin-file: a target in each line, # begins a comment.
---@param content string
---@param name string of the file, for errors
---@return fleet.SshTarget[]|nil
---@return fleet.Error|nil of kind "input"
function ssh.parse_file(content, name)
  local targets = {}
  for number, word in file.entries(content) do
    local target, fault = ssh.parse(word)
    if not target then
      return nil, errors.format("input", "%s:%d: '%s' %s", name, number, word:sub(1, 60), fault)
    end
    targets[#targets + 1] = target
  end
  return targets
end

--- @class fleet.SshOptions
--- @field command string[] the ssh program and flags of the user's
--- @field program string moonfleet on the other host, in the words of its shell
--- @field in_path boolean|nil whether that is the default, which is in the PATH there
--- @field node_flags string[] of `moonfleet serve`

--- The words that run a command on the target, without a terminal, and ask nothing.
---@param target fleet.SshTarget
---@param command string[] the ssh program and flags of the user's
---@param remote string for the shell there
---@return string[] argv
function ssh.argv(target, command, remote)
  local argv = { table.unpack(command) }
  table.move(OPTIONS, 1, #OPTIONS, #argv + 1, argv)
  if target.port then
    argv[#argv + 1], argv[#argv + 2] = "-p", tostring(target.port)
  end
  argv[#argv + 1], argv[#argv + 2], argv[#argv + 3] = "--", target.login, remote
  return argv
end

--- Says why a command on the target failed.
---@param target fleet.SshTarget
---@param code integer|nil exit code of ssh; nil: a signal ended it
---@param signal integer|nil
---@param output string what ssh and the other side wrote to stderr
---@param command string[] the ssh that was used, with its flags
---@param in_path boolean|nil whether the command is moonfleet in the PATH there
---@return string message
function ssh.explain(target, code, signal, output, command, in_path)
  local place = target.text
  if signal then return ("%s: ssh was killed by signal %d"):format(place, signal) end
  if code == 255 then
    if output:find("Host key verification failed", 1, true)
      or output:find("HOST IDENTIFICATION HAS CHANGED", 1, true)
      or output:find("host key is known for", 1, true) then
      local port = target.port and (" -p %d"):format(target.port) or ""
      return ("%s: host key unknown or changed; connect once by hand: %s%s %s"):format(place,
        shell.join(command), port, target.login)
    end
    local methods = output:match("Permission denied (%b())")
    if methods then
      return ("%s: permission denied %s; ssh never asks here: ssh-add, or IdentityFile in "
        .. "~/.ssh/config"):format(place, methods)
    end
  elseif code == 127 and in_path and not output:find("shared libraries", 1, true) then
    return ("%s: no moonfleet in the PATH of a non-interactive shell; --ssh-program PATH or "
      .. "--ssh-copy"):format(place)
  end
  local last = subprocess.last_line(output)
  return last and ("%s: %s"):format(place, last)
    or ("%s: ssh ended with exit code %d"):format(place, code or 0)
end

--- Makes the launch of a node.
---@param target fleet.SshTarget
---@param options fleet.SshOptions
---@return fleet.Launch
function ssh.launch(target, options)
  local words = { "serve", "--stdio", table.unpack(options.node_flags) }
  if target.workers then words[#words + 1] = "--workers=" .. target.workers end
  local remote = ("exec %s %s"):format(options.program, shell.join(words))
  return {
    name = "ssh " .. target.text, title = target.text, shown = "ssh " .. target.text,
    host = target.host,
    argv = ssh.argv(target, options.command, remote),
    explain = function(code, signal, output)
      return ssh.explain(target, code, signal, output, options.command, options.in_path)
    end,
  }
end

--- Checks the path of --ssh-program, and quotes it for the shell there; ~/ is the home folder.
---@param path string
---@return string|nil program
---@return fleet.Error|nil of kind "usage"
function ssh.program(path)
  local home, rest = path:match("^(~/)(.+)$")
  if home then return home .. shell.quote(rest) end
  if path == "" or path:find("^%-") or path:find("%c") then
    return nil, usage("--ssh-program needs the path of moonfleet on the other hosts, got '%s'",
      path)
  end
  return shell.quote(path)
end

--- Splits the command of --ssh-command into words.
---@param text string
---@return string[]|nil words
---@return fleet.Error|nil of kind "usage"
function ssh.command(text)
  local words, fault = shell.split(text)
  if not words or #words == 0 then
    return nil, usage("--ssh-command %s, got '%s'", fault or "needs a program", text)
  end
  return words
end

return ssh
