-- SPDX-License-Identifier: MIT
-- The command line: parses the words of a command, the environment and the configuration
-- according to declarative tables (fleet.cli.commands has those of this program). The help
-- (fleet.cli.help) is written from the same tables, so that the two cannot disagree.

local check = require("fleet.base.check")
local errors = require("fleet.errors")
local help = require("fleet.cli.help")
local text = require("fleet.base.text")

local cli = {}

--- @class fleet.cli.Flag
--- @field name string as typed, without the dashes; the key in `flags` has _ for -
--- @field type string one of the keys of `readers`
--- @field help string what it does, without a full stop
--- @field value? string what the help calls the value: FILE; a choice needs none
--- @field min? integer smallest value of type "integer"
--- @field max? integer largest value of type "integer"
--- @field choices? string[] of type "choice"
--- @field words? string[] some values, for shells to complete
--- @field completes? string what shells complete besides, see fleet.cli.Completion; default: files
--- for FILE, folders for DIR
--- @field default? any the value when the flag is not set
--- @field hidden? boolean not in the help, never suggested
--- @field typed_only? boolean taken from neither the environment nor the configuration
--- @field section? string title of its section in the help, for flags of every command

--- @class fleet.cli.Command
--- @field name string
--- @field summary string one line for the list of commands
--- @field flags fleet.cli.Flag[]
--- @field usage? string the arguments, for the help
--- @field min_args? integer together with `needs`
--- @field needs? string what is missing when there are fewer arguments
--- @field max_args? integer default: any number
--- @field completes? fleet.cli.Completion[] what shells complete for each argument
--- @field owns_words? fun(first: string): boolean whether all words after the first argument are
--- arguments, even those that look like flags
--- @field text string[] paragraphs under the usage
--- @field examples? string[][] {words after the program's name, meaning}
--- @field notes? table[] sections {title=, {word, meaning}...} after the flags

--- @class fleet.cli.Commands: {[integer]: fleet.cli.Command}
--- @field program string
--- @field summary string
--- @field flags fleet.cli.Flag[] those of every command
--- @field variables? string[][] {name, meaning} of environment variables that set no flag

--- @class fleet.cli.Invocation
--- @field command string
--- @field flags table<string, any>
--- @field args string[]
--- @field origins table<string, fleet.cli.Origin> by key, of the flags that are set; not for "help"

--- @class fleet.cli.Origin
--- @field precedence integer 1: the command line, 2: the environment, 3: the configuration
--- @field typed boolean whether it is on the command line
--- @field of_command boolean whether it is a flag of this command, not of every one
--- @field name string what the user calls the flag there

local BOOLEANS = {
  ["true"] = true, yes = true, on = true, ["1"] = true,
  ["false"] = false, no = false, off = false, ["0"] = false,
}
-- Units of numbers, by type of flag: seconds, bytes (k and KiB are 1024, kB is 1000, as in the GNU
-- tools) and percent.
local UNITS = {
  duration = { [""] = 1, ms = 0.001, s = 1, m = 60, h = 3600 },
  size = { [""] = 1, b = 1 },
  percent = { ["%"] = 1 },
}
local binary, decimal = 1.0, 1.0
for letter in ("kmgt"):gmatch(".") do
  binary, decimal = binary * 1024, decimal * 1000
  UNITS.size[letter], UNITS.size[letter .. "ib"] = binary, binary
  UNITS.size[letter .. "b"] = decimal
end

local usage = errors.formatter("usage")

--- The number of a word of decimal digits and a unit. (tonumber accepts "0x10", " 1" and "1e9".)
local function quantity(s, units)
  local digits, unit = s:lower():match("^(%d*%.?%d*)([%a%%]*)$")
  local value = tonumber(digits)
  return value and units[unit] and value * units[unit]
end

-- By type of flag: each returns the value of the word `s`; or nil and what is
-- needed instead, worded to follow "--flag needs ".
local readers = {}

function readers.string(s)
  return s
end

function readers.boolean(s)
  return BOOLEANS[s:lower()], "true or false"
end

function readers.integer(s, flag)
  local value = s:find("^[+-]?%d+$") and math.tointeger(tonumber(s))
  local min, max = flag.min or math.mininteger, flag.max or math.maxinteger
  if value and value >= min and value <= max then return value end
  local range = flag.max and (" from %d to %d"):format(min, max)
    or flag.min and (" of at least %d"):format(min)
  return nil, "a whole number" .. (range or "")
end

function readers.duration(s)
  local seconds = quantity(s, UNITS.duration)
  return seconds and seconds > 0 and seconds or nil, "a time above 0 such as 30, 1.5s, 2m or 500ms"
end

function readers.size(s)
  local bytes = quantity(s, UNITS.size)
  if not bytes then return nil, "a size such as 4096, 10k or 64MiB" end
  return math.tointeger(bytes), "a size that is a whole number of bytes"
end

--- A fraction: "1%" is 0.01.
function readers.percent(s)
  local value = quantity(s, UNITS.percent)
  if value and value > 0 and value <= 100 then return value / 100 end
  return nil, "a share above 0% and up to 100%, such as 1%"
end

function readers.choice(s, flag)
  for _, choice in ipairs(flag.choices) do
    if s == choice then return s end
  end
  return nil, check.one_of(flag.choices, tostring)
end

-- A text that is taken as it is, as an element of a list.
function readers.texts(s)
  return { s }
end

function readers.list(s)
  local list = {}
  for entry in (s .. ","):gmatch("([^,]*),") do
    local word = entry:match("^%s*(.-)%s*$")
    if word == "" then return nil, "entries separated by single commas" end
    list[#list + 1] = word
  end
  return list
end

--- Reads the word `s` for `flag`; `origin` is what the user calls the flag.
local function read(flag, s, origin)
  if s == "" then return nil, usage("%s needs a value", origin) end
  local value, needs = readers[flag.type](s, flag)
  if value ~= nil then return value end
  return nil, usage("%s needs %s, got %s%s", origin, needs, text.quote(s),
    check.hint(s, flag.choices or {}) or "")
end

local function key_of(flag)
  return (flag.name:gsub("-", "_"))
end

local function variable_of(flag)
  return "MOONFLEET_" .. key_of(flag):upper()
end

local function find(list, name)
  for _, entry in ipairs(list) do
    if entry.name == name then return entry end
  end
  return nil
end

local function visible_names(...)
  local names = {}
  for _, list in ipairs({ ... }) do
    for _, entry in ipairs(list) do
      if not entry.hidden then names[#names + 1] = entry.name end
    end
  end
  return names
end

--- What `describe` returns for each flag that can be set without typing it, and a set of these;
--- and the names of the flags that must be typed, by what it returns for them.
local function each_flag(commands, describe)
  local list, set, typed = {}, {}, {}
  for _, owner in ipairs({ commands, table.unpack(commands) }) do
    for _, flag in ipairs(owner.flags) do
      local name = describe(flag)
      if flag.typed_only then
        typed[name] = flag.name
      elseif not set[name] then
        list[#list + 1], set[name] = name, true
      end
    end
  end
  return list, set, typed
end

--- "(moonfleet help run)"
local function see(commands, command)
  return ("(%s help%s)"):format(commands.program, command and " " .. command.name or "")
end

local function unknown_command(commands, word)
  local names = visible_names(commands)
  return usage("unknown command %s%s", text.quote(word), check.hint(word, names)
    or ("; there are %s %s"):format(table.concat(names, ", "), see(commands)))
end

local function unknown_flag(commands, command, word)
  local name = word:match("^%-%-([^=]+)")
  local shown = text.fit(text.escape(word:match("^[^=]+")), 60)
  if not name then
    return usage("unknown flag %s; write -- before arguments that begin with a dash %s", shown,
      see(commands, command))
  end
  for _, other in ipairs(commands) do
    local flag = find(other.flags, name)
    if flag and not flag.hidden then
      return usage("--%s is a flag of %s%s %s", name, other.name, command and ", not of "
        .. command.name or ": write it after the command", see(commands, command or other))
    end
  end
  local names = visible_names(command and command.flags or {}, commands.flags,
    { { name = "help" }, { name = "version" } })
  return usage("unknown flag %s%s %s", shown, check.hint(name, names, "--%s") or "",
    see(commands, command))
end

--- The answer to -h, --help, -V and --version, which count wherever they stand before
--- `stop`, so that they work on a line that is otherwise wrong.
local function asked_for_help(commands, argv, stop)
  for i = 1, stop - 1 do
    local word = argv[i]
    if word == "--" then break end
    if word == "--version" or word == "-V" then
      return { command = "version", flags = {}, args = {} }
    end
    if word == "--help" or word == "-h" then
      local args = {}
      for n = 1, stop - 1 do
        if #args == 0 and find(commands, argv[n]) then args[1] = argv[n] end
      end
      return { command = "help", flags = {}, args = args }
    end
  end
  return nil
end

-- Types of flags that may be given several times, each time with more.
local LISTS = { list = true, texts = true }

-- A flag that has one value must not be given two: the user might overlook the first.
local function add_given(given, flag, value)
  if given[flag] == nil then
    given[flag] = value
  elseif LISTS[flag.type] then
    table.move(value, 1, #value, #given[flag] + 1, given[flag])
  elseif given[flag] ~= value then
    return usage("--%s is given twice, as %s and %s", flag.name, text.quote(tostring(given[flag])),
      text.quote(tostring(value)))
  end
  return nil
end

--- Reads the flag at `at`. Returns the index of its last word, and an error if it is wrong.
local function take_flag(commands, line, argv, at)
  local word = argv[at]
  local name, value = word:match("^%-%-([^=]+)=?(.*)$")
  local flag = name and (find(line.command and line.command.flags or {}, name)
    or find(commands.flags, name))
  if not flag then return at, unknown_flag(commands, line.command, word) end
  if not word:find("=", 1, true) then
    if flag.type == "boolean" then
      value = "true"
    else
      at = at + 1
      value = argv[at] or ""
      if value:find("^%-%-") then value = "" end
    end
  end
  local result, err = read(flag, value, "--" .. name)
  return at, err or add_given(line.given, flag, result)
end

--- Sorts the words into {command, given: values by flag, args, stop: index of the first word
--- that belongs to an argument, err}.
local function split(commands, argv)
  local line = { given = {}, args = {}, stop = #argv + 1 }
  local at, only_args, args = 1, false, line.args
  while at <= #argv and not line.err do
    local word = argv[at]
    if word == "--" and not only_args then
      only_args = true
    elseif not only_args and word:find("^%-.") then
      at, line.err = take_flag(commands, line, argv, at)
    elseif not line.command then
      line.command = find(commands, word)
      if not line.command then line.err = unknown_command(commands, word) end
    else
      args[#args + 1] = word
      local owns_words = #args == 1 and not only_args and line.command.owns_words
      if owns_words and owns_words(word) then
        only_args, line.stop = true, at + 1
        if argv[at + 1] == "--" then at = at + 1 end -- as other programs do
      end
    end
    at = at + 1
  end
  return line
end

-- Types of flags that may be configured as a number. A name must not: 1.10 would be 1.1.
local NUMERIC = { integer = true, duration = true, size = true }
local NEEDS = {
  list = "a string or a list of strings", texts = "a string or a list of strings",
  boolean = "true or false",
}

-- A configured value is the Lua value itself where the flag has such, else a word as on the line.
local function read_configured(flag, value, origin)
  if flag.type == "boolean" and type(value) == "boolean" then return value end
  if LISTS[flag.type] and type(value) == "table" then
    for i, entry in ipairs(value) do
      if type(entry) ~= "string" then
        return nil, usage("%s needs a list of strings, got %s as number %d", origin, type(entry), i)
      end
    end
    return #value > 0 and table.move(value, 1, #value, 1, {}) or nil
  end
  if type(value) == "string" or type(value) == "number" and NUMERIC[flag.type] then
    return read(flag, tostring(value), origin)
  end
  return nil, usage("%s needs %s, got %s", origin, NEEDS[flag.type]
    or NUMERIC[flag.type] and "a number or a string" or "a string", type(value))
end

--- Returns the value of a flag from the most specific source that sets it; nil when none does, or
--- nil and an error. The last results are the precedence of the source and the flag's name there.
local function find_value(flag, given, getenv, configured)
  if given[flag] ~= nil then return given[flag], nil, 1, "--" .. flag.name end
  if flag.typed_only then return nil end
  local variable = variable_of(flag)
  local word = getenv(variable) or ""
  if word ~= "" then
    local value, err = read(flag, word, variable)
    return value, err, 2, variable
  end
  local key = key_of(flag)
  if configured[key] == nil then return nil end
  local name = "configured " .. key
  local value, err = read_configured(flag, configured[key], name)
  return value, err, 3, name
end

--- Adds the values of the flags in `list`, or their defaults, to `invocation`. Returns nothing,
--- or an error.
local function add_values(invocation, list, of_command, ...)
  for _, flag in ipairs(list) do
    local key = key_of(flag)
    local value, err, precedence, name = find_value(flag, ...)
    if err then return err end
    if value ~= nil then
      invocation.origins[key] = {
        precedence = precedence, typed = precedence == 1, name = name, of_command = of_command,
      }
    else
      value = flag.default
    end
    invocation.flags[key] = value
  end
  return nil
end

-- Reads the configuration, which may set flags of any command.
local function configure(commands, given, getenv, read_config)
  local flag = read_config and find(commands.flags, "config")
  if not flag then return {} end
  local path, err = find_value(flag, given, getenv, {})
  if err then return nil, err end
  local values
  values, err = read_config(path)
  if not values then return nil, err end
  local known, is_known, typed = each_flag(commands, key_of)
  for name in pairs(values) do
    if not is_known[name] and typed[name] then
      return nil, usage("the configuration has %s, which does not count there: --%s must be typed",
        text.quote(name), typed[name])
    elseif not is_known[name] then
      return nil, usage("the configuration has %s, which is no flag of any command%s",
        type(name) == "string" and text.quote(name) or "a key that is a " .. type(name),
        check.hint(name, known, "%s") or "")
    end
  end
  return values
end

--- Returns nothing, or an error.
local function check_args(commands, command, args)
  if #args < (command.min_args or 0) then
    return usage("%s needs %s: %s %s %s", command.name, command.needs, commands.program,
      command.name, command.usage)
  end
  if command.max_args and #args > command.max_args then
    return usage("%s takes %s, got %s %s", command.name, command.max_args == 0 and "no arguments"
      or "at most " .. text.count(command.max_args, "argument"),
      text.quote(args[command.max_args + 1]), see(commands, command))
  end
  return nil
end

--- Reads the words of a command line. Flags may stand anywhere, except after the first argument
--- of a command when that argument owns all words that follow it. A list that is given several
--- times grows; any other flag must not be given different values. A flag that is not on the line
--- is taken from the variable MOONFLEET_<FLAG> (upper case, _ for -; empty counts as unset), else
--- from the configuration, else from its default.
--- -h and --help give the command "help", -V and --version "version", no words "help".
--- Failure: nil and an error of kind "usage" whose message is one line.
---@param commands fleet.cli.Commands
---@param argv string[] without the program's name
---@param getenv fun(name: string): string|nil
---@param read_config (fun(path: string|nil): table|nil, fleet.Error|nil)|nil reads the file that
--- --config names, or the default one; see fleet.cli.config
---@return fleet.cli.Invocation|nil
---@return fleet.Error|nil
function cli.parse(commands, argv, getenv, read_config)
  local line = split(commands, argv)
  local command, given = line.command, line.given
  local asked = asked_for_help(commands, argv, line.stop)
  if asked then return asked end
  if line.err then return nil, line.err end
  if not command then
    if next(given) or #argv > 0 then
      return nil, usage("no command given; there are %s %s",
        table.concat(visible_names(commands), ", "), see(commands))
    end
    return { command = "help", flags = {}, args = {} }
  end
  local configured, err = configure(commands, given, getenv, read_config)
  if not configured then return nil, err end
  local invocation = { command = command.name, flags = {}, args = line.args, origins = {} }
  err = add_values(invocation, commands.flags, false, given, getenv, configured)
    or add_values(invocation, command.flags, true, given, getenv, configured)
    or check_args(commands, command, line.args)
  if err then return nil, err end
  return invocation
end

--- Describes variables that begin with our prefix and that nothing reads, one line each.
---@param commands fleet.cli.Commands
---@param names string[] of variables
---@return string[]
function cli.unknown_variables(commands, names)
  local list, known, typed = each_flag(commands, variable_of)
  for _, variable in ipairs(commands.variables or {}) do
    list[#list + 1], known[variable[1]] = variable[1], true
  end
  local lines = {}
  table.sort(list)
  for _, name in ipairs(names) do
    if not known[name] and typed[name] then
      lines[#lines + 1] = ("the variable %s does not count: --%s must be typed"):format(name,
        typed[name])
    elseif not known[name] then
      lines[#lines + 1] = ("nothing reads the variable %s%s"):format(text.quote(name),
        check.hint(name, list, "%s") or "")
    end
  end
  table.sort(lines)
  return lines
end

--- Returns the help of the command `name`, of the flags of every command for "flags", or of the
--- program when nil: lines of at most 80 columns. An unknown name gives nil and an error of kind
--- "usage".
---@param commands fleet.cli.Commands
---@param name string|nil
---@return string|nil
---@return fleet.Error|nil
function cli.help(commands, name)
  local command, out = name and find(commands, name), nil
  if command then
    out = help.of_command(commands, command)
  elseif name == help.FLAGS then
    out = help.of_flags(commands)
  elseif name then
    return nil, unknown_command(commands, name)
  end
  return table.concat(out or help.of_program(commands), "\n") .. "\n"
end

return cli
