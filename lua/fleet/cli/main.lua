-- SPDX-License-Identifier: MIT
-- The entry point of the command line, which the host (driver.c) calls in a task: parses the
-- words, runs the command, and returns the exit code.

local cli = require("fleet.cli")
local commands = require("fleet.cli.commands")
local config = require("fleet.cli.config")
local errors = require("fleet.errors")
local program = require("fleet.cli.program")
local sys = require("host.sys")

local main = {}

local run = {}

function run.version(invocation)
  local libraries = sys.libraries()
  if invocation.flags.json then
    local fields = { "moonfleet", sys.version, "commit", sys.commit }
    for _, library in ipairs(libraries) do table.move(library, 1, 2, #fields + 1, fields) end
    io.write(require("fleet.json").encode_record(table.unpack(fields)), "\n")
    return program.OK
  end
  for i, library in ipairs(libraries) do libraries[i] = table.concat(library, " ") end
  io.write("moonfleet ", sys.version, "\ncommit ", sys.commit, "\n", table.concat(libraries, ", "),
    "\n")
  return program.OK
end

function run.help(invocation)
  local text, err = cli.help(commands, invocation.args[1])
  if not text then return nil, err end
  io.write(text)
  return program.OK
end

-- Commands that have nothing to do with nodes.
local WITHOUT_NODES = { keygen = true, completion = true, version = true, help = true }

-- Loaded when used, so that a node and short commands start fast.
for _, command in ipairs(commands) do
  local name = command.name
  run[name] = run[name] or function(invocation)
    if name ~= "serve" and not WITHOUT_NODES[name] then
      require("fleet.driver").configure(invocation.flags, name)
    end
    return require("fleet.cli.command." .. name)(invocation)
  end
end

-- Resolves the release. Returns an error, or nothing. A fleet on EC2 is found by its release, so
-- there the program's version is no fallback.
local function resolve_release(invocation)
  local resolve = require("fleet.discovery.resolve")
  local flags = invocation.flags
  local kind, err = resolve.kind(flags.discover)
  if flags.discover and not kind then return err end
  local on_ec2 = kind == "ec2"
  flags.release, flags.release_source, err = require("fleet.discovery.release").find({
    flag = flags.release, is_node = invocation.command == "serve",
    file = flags.release_file, tag_key = flags.tag_key,
    imds = on_ec2 and resolve.aws(flags).imds or nil,
    default = not on_ec2 and sys.version or nil,
  })
  return err
end

-- What the driver and its private node allow by default.
local DEFAULT_HOSTS = { "loopback", "private" }

-- Selects nodes that get the flags of the private one.
local STARTED_LIKE_PRIVATE = { ssh = true, sshlogin_file = true }

-- Resolves the flags that select nodes, and tells the host what jobs of a private node may reach
-- and require. Returns an error, or nothing. Nodes that are not started with these flags have their
-- own, so those on the line would have no effect.
local function select_and_allow(invocation)
  local resolve = require("fleet.discovery.resolve")
  local flags, origins = invocation.flags, invocation.origins or {}
  local is_server = invocation.command == "serve" -- which only discovers itself
  local ok, err
  if not is_server then
    ok, err = resolve.most_specific(flags, origins)
    if not ok then return err end
  end
  local remote
  for _, key in ipairs(is_server and {} or resolve.SELECTORS) do
    if flags[key] and not STARTED_LIKE_PRIVATE[key] then remote = remote or origins[key] end
  end
  for _, key in ipairs({ "allow_hosts", "modules" }) do
    local origin = origins[key]
    if remote and origin and origin.typed then
      return errors.format("usage", "%s is for the private node and --ssh; with %s each node "
        .. "has its own: moonfleet serve %s", origin.name, remote.name, origin.name)
    end
  end
  ok, err = sys.allow_hosts(table.concat(flags.allow_hosts or DEFAULT_HOSTS, ","))
  if not ok then return err end
  if not flags.modules or not is_server and resolve.selects(flags) then return nil end
  ok, err = require("fleet.ship.trusted").check(flags.modules)
  if not ok then return err end
  sys.trust_modules(table.concat(flags.modules, ","))
end

-- Commands that connect to nodes over TCP only when some are named.
local CONNECTS = { web = true, run = true, eval = true, repl = true, nodes = true }

-- Checks the flags about keys, once the nodes are selected. Returns an error, or nothing.
local function check_keys(invocation)
  local flags, origins = invocation.flags, invocation.origins or {}
  if flags.tls and flags.insecure then
    return errors.format("usage", "--insecure is TCP without keys, and %s names keys: give only "
      .. "one of them", origins.tls.name)
  end
  for _, key in ipairs(CONNECTS[invocation.command] and { "tls", "insecure" } or {}) do
    local origin = origins[key]
    if origin and origin.typed and not (flags.peers or flags.discover) then
      return errors.format("usage", "%s is for nodes over TCP: name them with --peers or "
        .. "--discover", origin.name)
    end
  end
  if flags.insecure and CONNECTS[invocation.command] then
    program.note("--insecure: anyone on the way can read and change what is sent, or pass for a "
      .. "node")
  end
end

-- Prepares what the command does with nodes. Returns an error, or nothing.
local function prepare(invocation)
  if invocation.command ~= "serve" then
    -- before any code of the user, whose functions may be shipped
    require("fleet.ship.source_cache").install()
    require("fleet.ship.modules").install()
  end
  local err = select_and_allow(invocation) or check_keys(invocation)
  if err then return err end
  err = resolve_release(invocation)
  if not err or err.kind ~= "config" or invocation.command ~= "doctor" then return err end
  invocation.flags.release_error = err -- which it reports
end

-- A misspelt variable would be ignored silently. A private node inherits its driver's environment,
-- so the driver's warning is enough.
local function warn_of_variables(flags)
  if flags.session_fd then return end
  for _, line in ipairs(cli.unknown_variables(commands, sys.variables("MOONFLEET_"))) do
    program.note("%s", line)
  end
end

-- By kind of error; default: FAILED.
local CODES = {
  usage = program.USAGE, input = program.USAGE, config = program.USAGE,
  connect = program.NO_WORKERS,
}

--- Runs a command. An error is one line on stderr, with the traceback below it when the user's own
--- code raised.
---@param argv string[] words from index 1 on
---@return integer|table exit code; for serve the options of the node that the host is to run
function main.main(argv)
  local invocation, err = cli.parse(commands, argv, os.getenv, config.read)
  local result
  if invocation then
    local flags = invocation.flags
    warn_of_variables(flags)
    -- what a node with --stdio logs is shown on the driver's terminal
    local is_server = invocation.command == "serve" and not flags.stdio
      or invocation.command == "web"
    sys.set_log(flags.log_level or is_server and "info" or "warn")
    if flags.lua_path then sys.set_lua_path(flags.lua_path) end
    err = not WITHOUT_NODES[invocation.command] and prepare(invocation) or nil
    if not err then
      result, err = run[invocation.command](invocation)
      if result then return result end
    end
  end
  local traceback = err.kind == "raise" and err.traceback
  program.note("%s%s", err.message, traceback and "\n" .. traceback or "")
  return CODES[err.kind] or program.FAILED
end

return main
