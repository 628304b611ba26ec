-- SPDX-License-Identifier: MIT
-- The command line's entry, called by the host (driver.c) as a task: reads the
-- words, runs the command, gives back the exit code.

local cli = require("fleet.cli")
local commands = require("fleet.cli.commands")
local config = require("fleet.cli.config")
local sys = require("host.sys")

local main = {}

--- Exit codes, for all commands.
main.OK, main.FAILED, main.USAGE, main.NO_WORKERS = 0, 1, 2, 3

local run = {}

function run.version(invocation)
  local libraries = sys.libraries()
  if invocation.flags.json then
    local fields = { "moonfleet", sys.version }
    for _, library in ipairs(libraries) do table.move(library, 1, 2, #fields + 1, fields) end
    io.write(require("fleet.json").encode_record(table.unpack(fields)), "\n")
    return main.OK
  end
  for i, library in ipairs(libraries) do libraries[i] = table.concat(library, " ") end
  io.write("moonfleet ", sys.version, "\n", table.concat(libraries, ", "), "\n")
  return main.OK
end

function run.help(invocation)
  local text, err = cli.help(commands, invocation.args[1])
  if not text then return nil, err end
  io.write(text)
  return main.OK
end

-- Loaded when used: a node and a short command need not pay for them.
for _, command in ipairs(commands) do
  local name = command.name
  run[name] = run[name] or function(invocation)
    if name ~= "serve" then require("fleet.driver").configure(invocation.flags) end
    return require("fleet.cli.command." .. name)(invocation)
  end
end

local NEEDS_NO_RELEASE = { version = true, help = true }

-- Settles which nodes are meant, and the release. Returns an error, or nothing. A fleet on EC2 is
-- found by its release, so there the program's version is not good enough.
local function settle(invocation)
  local choose = require("fleet.discovery.resolve")
  local flags = invocation.flags
  if invocation.command ~= "serve" then -- what it discovers is itself
    local ok, err = choose.nearer(flags, invocation.origins)
    if not ok then return err end
  end
  local kind, err = choose.kind(flags.discover)
  if flags.discover and not kind then return err end
  local on_ec2 = kind == "ec2"
  flags.release, flags.release_source, err = require("fleet.discovery.release").find({
    flag = flags.release, file = flags.release_file, tag_key = flags.tag_key,
    imds = on_ec2 and choose.aws(flags).imds or nil,
    otherwise = not on_ec2 and sys.version or nil,
  })
  return err
end

-- A variable that is misspelt would be passed over without a word. The private node of a driver has
-- the environment of that.
local function warn_of_variables(flags)
  if flags.parent then return end
  for _, line in ipairs(cli.unknown_variables(commands, sys.variables("MOONFLEET_"))) do
    io.stderr:write("moonfleet: ", line, "\n")
  end
end

-- Those that are not named here are failures.
local CODES = {
  usage = main.USAGE, input = main.USAGE, config = main.USAGE,
  connect = main.NO_WORKERS,
}

--- Runs a command. `argv` has the words from index 1 on. What goes wrong is one
--- line on stderr; below it the traceback when the user's own code raised.
---@param argv string[]
---@return integer|table exit code; or, for serve, what the host is to serve
function main.main(argv)
  local invocation, err = cli.parse(commands, argv, os.getenv, config.read)
  local result
  if invocation then
    local flags = invocation.flags
    warn_of_variables(flags)
    sys.set_log(flags.log_level or invocation.command == "serve" and "info" or "warn")
    if flags.lua_path then sys.set_lua_path(flags.lua_path) end
    -- before any code of the user's: functions in it may travel
    require("fleet.ship.chunks").install()
    require("fleet.ship.modules").install()
    if not NEEDS_NO_RELEASE[invocation.command] then err = settle(invocation) end
    if invocation.command == "doctor" and err and err.kind == "config" then
      flags.release_error, err = err, nil -- it tells
    end
    if not err then
      result, err = run[invocation.command](invocation)
      if result then return result end
    end
  end
  local text = require("fleet.base.text")
  io.stderr:write("moonfleet: ", text.plain(err.message), "\n")
  if err.kind == "raise" and err.traceback then
    io.stderr:write(text.plain(err.traceback), "\n")
  end
  return CODES[err.kind] or main.FAILED
end

return main
