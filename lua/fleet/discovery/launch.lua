-- SPDX-License-Identifier: MIT
-- Nodes that this command starts itself: by ssh (--ssh, --sshlogin-file) or by any command that
-- runs `moonfleet serve --stdio` somewhere (--launch). They speak the session over their stdin and
-- stdout, so they need no port and no key, and they end with the driver.

local errors = require("fleet.errors")
local release = require("fleet.discovery.release")
local ssh = require("fleet.discovery.ssh")
local ssh_copy = require("fleet.discovery.ssh_copy")
local subprocess = require("fleet.base.subprocess")
local sys = require("host.sys")
local text = require("fleet.base.text")

local launch = {}

-- Nodes of one --launch N*CMD.
local MAX_COPIES = 1000
-- Seconds without a driver after which a node ends by itself: its connection may be cut where
-- nobody notices.
local LEASE_EXIT = 60
-- Of a command, in messages.
local MAX_SHOWN = 60

local usage = errors.formatter("usage")

--- @class fleet.Launch how to start a node
--- @field name string for people, and unique: "ssh alice@build1", "launch 3"
--- @field title string begins messages: "alice@build1", "launch 3 (docker run -i ...)"
--- @field shown string how it is started, in lists: "ssh alice@build1", or as the title
--- @field argv string[]
--- @field host string|nil on which only some are started at a time, see fleet.cluster.launched
--- @field prepare? fun(): string[]|nil, fleet.Error|nil returns the argv to use; waits
--- @field explain fun(code: integer|nil, signal: integer|nil, output: string): string says why it
--- did not start, or ended

-- ---- any command ----

local function explain_command(name, code, signal, output)
  local last = subprocess.last_line(output)
  local how = signal and "it was killed by signal " .. signal
    or "it ended with exit code " .. (code or 0)
  return ("%s: %s"):format(name, last and ("%s (%s)"):format(last, how) or how)
end

--- Parses the commands of --launch: CMD, or N*CMD for N nodes. A shell runs each.
---@param commands string[]
---@return fleet.Launch[]|nil
---@return fleet.Error|nil of kind "usage"
function launch.parse(commands)
  local list = {}
  for _, word in ipairs(commands) do
    local copies, command = word:match("^%s*(%d+)%*(.*)$")
    command = (command or word):match("^%s*(.-)%s*$")
    local count = tonumber(copies) or 1
    if command == "" then
      return nil, usage("--launch needs a command such as 'ssh build1 moonfleet serve --stdio', "
        .. "got %s", text.quote(word))
    elseif count < 1 or count > MAX_COPIES then
      return nil, usage("--launch N*CMD takes an N from 1 to %d, got %s", MAX_COPIES,
        text.quote(word))
    end
    for _ = 1, count do
      local name = ("launch %d"):format(#list + 1)
      local shown = ("%s (%s)"):format(name, text.fit(text.escape(command), MAX_SHOWN))
      list[#list + 1] = {
        name = name, title = shown, shown = shown, argv = { "/bin/sh", "-c", command },
        explain = function(...) return explain_command(shown, ...) end,
      }
    end
  end
  return list
end

-- ---- ssh ----

-- The flags of a node that ssh starts. Its release is the driver's when that was given or this
-- program is copied there; else the other program says what it is. Jobs may do what they may on the
-- private node.
local function node_flags(flags)
  local words = {
    ("--lease-exit=%d"):format(LEASE_EXIT), "--log-level=" .. (flags.log_level or "warn"),
  }
  if flags.release and (flags.ssh_copy or flags.release_source == "--release") then
    local first = release.first(flags.release, sys.version)
    words[#words + 1] = "--release=" .. first
  end
  for _, key in ipairs({ "allow_hosts", "modules" }) do
    if flags[key] then
      words[#words + 1] = ("--%s=%s"):format(key:gsub("_", "-"), table.concat(flags[key], ","))
    end
  end
  return words
end

local function ssh_options(flags)
  local command, err = ssh.command(flags.ssh_command or "ssh")
  if not command then return nil, err end
  local program
  program, err = ssh.program(flags.ssh_program or "moonfleet")
  if not program then return nil, err end
  if flags.ssh_copy and flags.ssh_program then
    return nil, usage("--ssh-copy and --ssh-program both name the program over there: give only "
      .. "one of them")
  end
  return {
    command = command, program = program, in_path = not (flags.ssh_program or flags.ssh_copy),
    node_flags = node_flags(flags),
  }
end

local function make(target, flags, options)
  local made = ssh.launch(target, options)
  if flags.ssh_copy then
    made.prepare = function()
      local program, err = ssh_copy.provide(target, options.command)
      if not program then return nil, err end
      return ssh.launch(target, setmetatable({ program = program }, { __index = options })).argv
    end
  end
  return made
end

-- A target that is listed twice makes two nodes, with names of their own.
local function members_of(targets, flags, options)
  local members, seen = {}, {}
  for i, target in ipairs(targets) do
    local made = make(target, flags, options)
    local n = (seen[made.name] or 0) + 1
    seen[made.name] = n
    if n > 1 then made.name = ("%s #%d"):format(made.name, n) end
    made.shown = made.name
    members[i] = { id = made.name, address = made.name, launch = made }
  end
  return members
end

--- The nodes of --ssh and --launch.
---@param flags table of the command line
---@return fleet.Member[]|nil members with the field `launch`
---@return fleet.Error|nil of kind "usage"
function launch.members(flags)
  local members = {}
  if flags.ssh then
    local options, err = ssh_options(flags)
    if not options then return nil, err end
    local targets = {}
    for i, word in ipairs(flags.ssh) do
      local target, fault = ssh.parse(word)
      if not target then return nil, usage("--ssh: %s %s", text.quote(word), fault) end
      targets[i] = target
    end
    members = members_of(targets, flags, options)
  end
  local launches, err = launch.parse(flags.launch or {})
  if not launches then return nil, err end
  for _, made in ipairs(launches) do
    members[#members + 1] = { id = made.name, address = made.name, launch = made }
  end
  return members
end

--- A function that reads the targets of --sshlogin-file.
---@param flags table of the command line
---@return (fun(content: string, path: string): fleet.Member[]|nil, fleet.Error|nil)|nil
---@return fleet.Error|nil of kind "usage"
function launch.file_parser(flags)
  local options, err = ssh_options(flags)
  if not options then return nil, err end
  return function(content, path)
    local targets, fault = ssh.parse_file(content, path)
    if not targets then return nil, fault end
    return members_of(targets, flags, options)
  end
end

return launch
