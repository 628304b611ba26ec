-- SPDX-License-Identifier: MIT
-- The command line: reads the words of a command and the environment according
-- to declarative tables (fleet.cli.commands has the ones of this program), and
-- writes the help from the same tables, so that the two cannot disagree.

local check = require("fleet.base.check")
local errors = require("fleet.errors")
local text = require("fleet.base.text")

local cli = {}

--- @class fleet.cli.Flag
--- @field name string as typed, without the dashes; the key in `flags` has _ for -
--- @field type string one of the keys of `readers`
--- @field help string what it does, without a full stop
--- @field value? string how the help calls the value: FILE; a choice needs none
--- @field min? number least value of an integer or a number
--- @field choices? string[] of type "choice"
--- @field default? any the value when the flag is given nowhere
--- @field hidden? boolean not in the help, never suggested
--- @field section? string title of its section in the help, when it is of every command

--- @class fleet.cli.Command
--- @field name string
--- @field summary string one line for the list of commands
--- @field flags fleet.cli.Flag[]
--- @field usage? string the arguments, for the help
--- @field min_args? integer with `needs`: what is missing when there are fewer
--- @field needs? string
--- @field max_args? integer nil: any number
--- @field owns_words? fun(first: string): boolean whether all words after the first argument are
--- arguments, also those that look like flags
--- @field text string[] paragraphs under the usage
--- @field examples? string[][] {words behind the program's name, meaning}
--- @field notes? table[] sections {title=, {word, meaning}...} at the end

--- @class fleet.cli.Commands: {[integer]: fleet.cli.Command}
--- @field program string
--- @field summary string
--- @field flags fleet.cli.Flag[] those of every command
--- @field variables? string[][] {name, meaning} of the environment, beside those of flags

--- @class fleet.cli.Invocation
--- @field command string
--- @field flags table<string, any>
--- @field args string[]
--- @field origins table<string, fleet.cli.Origin> by key, of flags that are given; not of help

--- @class fleet.cli.Origin
--- @field place integer 1: the line, 2: the environment, 3: the configuration
--- @field of_command boolean it is a flag of this command, not of every one
--- @field name string what the user calls the flag there

local WIDTH = 80
local LABEL_MAX = 26

local TRUTH = {
  ["true"] = true, yes = true, on = true, ["1"] = true,
  ["false"] = false, no = false, off = false, ["0"] = false,
}
local SECONDS = { [""] = 1, ms = 0.001, s = 1, m = 60, h = 3600 }
local POWER = { [""] = 0, k = 1, m = 2, g = 3, t = 4 }

local usage = errors.formatter("usage")

--- "a whole number of at least 1"
local function needs_number(what, flag)
  return flag.min and ("%s of at least %s"):format(what, flag.min) or what
end

--- Decimal digits only: tonumber alone takes "0x10", " 1" and "1e999" too.
local function decimal(s)
  if not s:find("^[+-]?%d+%.?%d*$") and not s:find("^[+-]?%.%d+$") then return nil end
  return tonumber(s)
end

-- Each returns the value that the word `s` stands for; or nil and what is
-- needed instead, worded to follow "--flag needs ".
local readers = {}

function readers.string(s)
  return s
end

function readers.boolean(s)
  local value = TRUTH[s:lower()]
  if value == nil then return nil, "true or false" end
  return value
end

function readers.integer(s, flag)
  local value = s:find("^[+-]?%d+$") and math.tointeger(tonumber(s))
  if not value or value < (flag.min or math.mininteger) then
    return nil, needs_number("a whole number", flag)
  elseif flag.max and value > flag.max then
    return nil, "a whole number of at most " .. flag.max
  end
  return value
end

function readers.number(s, flag)
  local value = decimal(s)
  if not value or value < (flag.min or -math.huge) then
    return nil, needs_number("a number", flag)
  end
  return value
end

--- Seconds.
function readers.duration(s)
  local digits, unit = s:lower():match("^([%d.]+)(%a*)$")
  local value = digits and decimal(digits)
  if not value or value <= 0 or not SECONDS[unit] then
    return nil, "a time above 0 such as 30, 1.5s, 2m or 500ms"
  end
  return value * SECONDS[unit]
end

--- Bytes: k and KiB are 1024, kB is 1000, as the tools of GNU have it.
function readers.size(s)
  local digits, letter, rest = s:lower():match("^([%d.]+)([kmgt]?)(i?b?)$")
  local value = digits and decimal(digits)
  if not value or rest == "i" or (letter == "" and rest == "ib") then
    return nil, "a size such as 4096, 10k or 64MiB"
  end
  local base = (letter ~= "" and rest == "b") and 1000 or 1024
  local bytes = math.tointeger(value * base ^ POWER[letter])
  if not bytes then return nil, "a size that is a whole number of bytes" end
  return bytes
end

--- A fraction: "1%" is 0.01.
function readers.percent(s)
  local digits = s:match("^([%d.]+)%%$")
  local value = digits and decimal(digits)
  if not value or value <= 0 or value > 100 then
    return nil, "a share above 0% and up to 100%, such as 1%"
  end
  return value / 100
end

function readers.choice(s, flag)
  for _, choice in ipairs(flag.choices) do
    if s == choice then return s end
  end
  local last = #flag.choices
  local all = table.concat(flag.choices, ", ", 1, last - 1) .. " or " .. flag.choices[last]
  local nearest = check.nearest(s, flag.choices)
  return nil, nearest and ("%s (did you mean %s?)"):format(all, nearest) or all
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

--- Reads the word `s` for `flag`; `origin` is what the user calls it.
local function read(flag, s, origin)
  if s == "" then return nil, usage("%s needs a value", origin) end
  local value, needs = readers[flag.type](s, flag)
  if value == nil then
    return nil, usage("%s needs %s, got %s", origin, needs, text.quote(s))
  end
  return value
end

local function key_of(flag)
  return (flag.name:gsub("-", "_"))
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

--- "(moonfleet help run)"
local function see(commands, command)
  return ("(%s help%s)"):format(commands.program, command and " " .. command.name or "")
end

local function unknown_command(commands, word)
  local nearest = check.nearest(word, visible_names(commands))
  if nearest then
    return usage("unknown command %s; did you mean '%s'?", text.quote(word), nearest)
  end
  return usage("unknown command %s; there are %s %s", text.quote(word),
    table.concat(visible_names(commands), ", "), see(commands))
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
    if flag and not flag.hidden and command then
      return usage("--%s is a flag of %s, not of %s %s", name, other.name, command.name,
        see(commands, command))
    elseif flag and not flag.hidden then
      return usage("--%s is a flag of %s: write it after the command %s", name, other.name,
        see(commands, other))
    end
  end
  local names = visible_names(command and command.flags or {}, commands.flags,
    { { name = "help" }, { name = "version" } })
  local nearest = check.nearest(name, names)
  if nearest then
    return usage("unknown flag %s; did you mean --%s? %s", shown, nearest, see(commands, command))
  end
  return usage("unknown flag %s %s", shown, see(commands, command))
end

--- The answer to -h, --help, -V and --version, which count wherever they stand before
--- `stop`, so that they work on a line that is wrong otherwise.
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

-- Flags of one value: the last of several could be a mistake that nobody sees.
local function add_given(given, flag, value)
  if given[flag] == nil then
    given[flag] = value
  elseif flag.type == "list" then
    table.move(value, 1, #value, #given[flag] + 1, given[flag])
  elseif given[flag] ~= value then
    return usage("--%s is given twice, as %s and %s", flag.name, text.quote(tostring(given[flag])),
      text.quote(tostring(value)))
  end
  return nil
end

--- Sorts the words into the command, `given` (values by flag) and args. The last result is the
--- index of the first word that is not ours, if there is one.
local function split(commands, argv)
  local command, given, args = nil, {}, {}
  local at, only_args, own = 1, false, #argv + 1
  while at <= #argv do
    local word = argv[at]
    if only_args or word == "-" or not word:find("^%-") then
      if command then
        args[#args + 1] = word
        if #args == 1 and not only_args and command.owns_words and command.owns_words(word) then
          only_args, own = true, at + 1
          if argv[own] == "--" then at = own end -- as other programs have it
        end
      else
        command = find(commands, word)
        if not command then return nil, unknown_command(commands, word), nil, nil, own end
      end
    elseif word == "--" then
      only_args = true
    else
      local name, value = word:match("^%-%-([^=]+)=?(.*)$")
      local flag = name and (find(command and command.flags or {}, name)
        or find(commands.flags, name))
      if not flag then return nil, unknown_flag(commands, command, word), nil, nil, own end
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
      if not err then err = add_given(given, flag, result) end
      if err then return nil, err, nil, nil, own end
    end
    at = at + 1
  end
  return command, nil, given, args, own
end

-- The places that may say a flag, the nearest first: what the user calls it there.
local LINE, ENVIRONMENT, CONFIGURATION = 1, 2, 3
local PLACES = {
  function(flag) return "--" .. flag.name end,
  function(flag) return "MOONFLEET_" .. key_of(flag):upper() end,
  function(flag) return "configured " .. key_of(flag) end,
}

--- What the environment says of a flag, nil when nothing; then an error.
local function from_environment(flag, getenv)
  local variable = PLACES[ENVIRONMENT](flag)
  local s = getenv(variable)
  if not s or s == "" then return nil end
  return read(flag, s, variable)
end

-- Types of flags that a number of Lua says: of a name, 1.10 would be 1.1.
local NUMERIC = { integer = true, number = true, duration = true, size = true }
local NEEDS = { list = "a string or a list of strings", boolean = "true or false" }

-- Configured values are those of Lua where the flag has such, else words as on the line.
local function read_configured(flag, value)
  local origin = PLACES[CONFIGURATION](flag)
  if flag.type == "boolean" and type(value) == "boolean" then return value end
  if flag.type == "list" and type(value) == "table" then
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

-- What is said of a flag in a place, nil when nothing; then an error.
local function said(place, flag, given, getenv, configured)
  if place == LINE then return given[flag] end
  if place == ENVIRONMENT then return from_environment(flag, getenv) end
  local value = configured[key_of(flag)]
  if value ~= nil then return read_configured(flag, value) end
  return nil
end

--- Sets the values of `list` in `flags`, from the nearest place that says them
--- or the defaults. Returns nothing, or an error.
local function settle(list, given, getenv, configured, flags, origins, of_command)
  for _, flag in ipairs(list) do
    local key = key_of(flag)
    flags[key] = flag.default
    for place, name in ipairs(PLACES) do
      local value, err = said(place, flag, given, getenv, configured)
      if err then return err end
      if value ~= nil then
        flags[key] = value
        origins[key] = { place = place, name = name(flag), of_command = of_command }
        break
      end
    end
  end
  return nil
end

-- The configuration, for all commands: it may have flags of any of them.
local function configure(commands, given, getenv, read_config)
  local flag = read_config and find(commands.flags, "config")
  if not flag then return {} end
  local path, err = given[flag], nil
  if path == nil then path, err = from_environment(flag, getenv) end
  if err then return nil, err end
  local values
  values, err = read_config(path)
  if not values then return nil, err end
  local known = {}
  for _, list in ipairs({ commands, table.unpack(commands) }) do
    for _, other in ipairs(list.flags) do known[#known + 1] = key_of(other) end
  end
  local is_known = {}
  for _, name in ipairs(known) do is_known[name] = true end
  for name in pairs(values) do
    if not is_known[name] then
      local nearest = type(name) == "string" and check.nearest(name, known)
      return nil, usage("the configuration has %s, which is no flag of any command%s",
        type(name) == "string" and text.quote(name) or "a key that is a " .. type(name),
        nearest and ("; did you mean %s?"):format(nearest) or "")
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
    local most = command.max_args == 0 and "no arguments"
      or ("at most %d argument%s"):format(command.max_args, command.max_args == 1 and "" or "s")
    return usage("%s takes %s, got %s %s", command.name, most,
      text.quote(args[command.max_args + 1]), see(commands, command))
  end
  return nil
end

--- Reads the words of a command line. Flags may stand anywhere, except behind the first argument
--- of a command when that owns all words from there on. Lists that are given several times grow;
--- of other flags the values must be the same. A flag that is not given is taken from the variable
--- MOONFLEET_<FLAG> (upper case, - is _; empty is unset), else from the
--- configuration, else its default.
--- -h and --help give the command "help", --version "version" (also -V), no words "help".
--- MOONFLEET_<FLAG> goes before what is configured.
--- Failure: nil and an error of kind "usage" whose message is one line.
---@param commands fleet.cli.Commands
---@param argv string[] without the program's name
---@param getenv fun(name: string): string|nil
---@param read_config (fun(path: string|nil): table|nil, fleet.Error|nil)|nil reads the file of
--- --config, or the usual one; as fleet.cli.config
---@return fleet.cli.Invocation|nil
---@return fleet.Error|nil
function cli.parse(commands, argv, getenv, read_config)
  local command, err, given, args, own = split(commands, argv)
  local help = asked_for_help(commands, argv, own)
  if help then return help end
  if err then return nil, err end
  if not command then
    if next(given) or #argv > 0 then
      return nil, usage("no command given; there are %s %s",
        table.concat(visible_names(commands), ", "), see(commands))
    end
    return { command = "help", flags = {}, args = {} }
  end
  local flags, origins, configured = {}, {}
  configured, err = configure(commands, given, getenv, read_config)
  if not configured then return nil, err end
  err = settle(commands.flags, given, getenv, configured, flags, origins, false)
    or settle(command.flags, given, getenv, configured, flags, origins, true)
    or check_args(commands, command, args)
  if err then return nil, err end
  return { command = command.name, flags = flags, args = args, origins = origins }
end

--- What is wrong with names of variables that begin as ours do: a line for each that none of the
--- flags and no part of the program reads.
---@param commands fleet.cli.Commands
---@param names string[]
---@return string[]
function cli.unknown_variables(commands, names)
  local list, known = {}, {}
  local function add(name)
    if not known[name] then list[#list + 1] = name end
    known[name] = true
  end
  for _, flags in ipairs({ commands, table.unpack(commands) }) do
    for _, flag in ipairs(flags.flags) do add(PLACES[ENVIRONMENT](flag)) end
  end
  for _, variable in ipairs(commands.variables or {}) do add(variable[1]) end
  local lines = {}
  table.sort(list)
  for _, name in ipairs(names) do
    if not known[name] then
      local nearest = check.nearest(name, list)
      lines[#lines + 1] = ("nothing reads the variable %s%s"):format(text.quote(name),
        nearest and ("; did you mean %s?"):format(nearest) or "")
    end
  end
  table.sort(lines)
  return lines
end

--- "--format jsonl|csv|table"
local function flag_label(flag)
  if flag.type == "boolean" then return "--" .. flag.name end
  return ("--%s %s"):format(flag.name, flag.value or table.concat(flag.choices, "|"))
end

local function flag_rows(flags)
  local rows = {}
  for _, flag in ipairs(flags) do
    if not flag.hidden then
      local help = flag.help
      if flag.default ~= nil then help = ("%s (default: %s)"):format(help, flag.default) end
      rows[#rows + 1] = { flag_label(flag), help }
    end
  end
  return rows
end

local function add_paragraph(out, s)
  out[#out + 1] = ""
  for _, line in ipairs(text.wrap(s, WIDTH)) do out[#out + 1] = line end
end

--- A title and rows {label, meaning}, the meanings in a column of their own; a
--- label that is too long for its column has a line to itself.
local function add_section(out, title, rows, column)
  out[#out + 1] = ""
  out[#out + 1] = title .. ":"
  for _, row in ipairs(rows) do
    local lines = text.wrap(row[2], WIDTH - column)
    local label = "  " .. row[1]
    if text.width(label) + 2 > column then
      out[#out + 1] = label
      label = ""
    end
    for i, line in ipairs(lines) do
      out[#out + 1] = text.pad(i == 1 and label or "", column) .. line
    end
  end
end

--- Adds the sections {title, rows} with one common column.
local function add_sections(out, sections)
  local column = 0
  for _, section in ipairs(sections) do
    for _, row in ipairs(section[2]) do
      local width = text.width(row[1])
      if width <= LABEL_MAX then column = math.max(column, width + 4) end
    end
  end
  for _, section in ipairs(sections) do
    if #section[2] > 0 then add_section(out, section[1], section[2], column) end
  end
end

-- The sections of the flags of every command, in the order of the first of each.
local function common_sections(commands)
  local sections, by_title = {}, {}
  for _, flag in ipairs(commands.flags) do
    local title = flag.section or "Flags of every command"
    if not by_title[title] then
      by_title[title] = {}
      sections[#sections + 1] = { title, by_title[title] }
    end
    table.insert(by_title[title], flag)
  end
  for _, section in ipairs(sections) do section[2] = flag_rows(section[2]) end
  return sections
end

-- The word that asks for the flags of every command.
local FLAGS = "flags"

local function flags_help(commands)
  local out = { ("%s COMMAND [FLAG]..."):format(commands.program) }
  add_paragraph(out, ("Every command takes these flags. Each, and those of the commands, can be "
    .. "set in the environment: MOONFLEET_LOG_LEVEL is --log-level; or in the configuration: "
    .. "log_level = \"debug\". A flag on the line wins, then the environment."))
  local sections = common_sections(commands)
  if commands.variables then
    sections[#sections + 1] = { "Other variables of the environment", commands.variables }
  end
  add_sections(out, sections)
  return table.concat(out, "\n") .. "\n"
end

local function add_examples(out, commands, command)
  out[#out + 1] = ""
  out[#out + 1] = "Examples:"
  for _, example in ipairs(command.examples) do
    out[#out + 1] = ("  # %s"):format(example[2])
    out[#out + 1] = ("  %s %s"):format(commands.program, example[1])
  end
end

local function command_help(commands, command)
  local out = { ("%s %s%s%s"):format(commands.program, command.name,
    #flag_rows(command.flags) > 0 and " [FLAG]..." or "",
    command.usage and " " .. command.usage or "") }
  for _, paragraph in ipairs(command.text) do
    add_paragraph(out, paragraph)
  end
  local sections = { { "Flags", flag_rows(command.flags) } }
  for _, note in ipairs(command.notes or {}) do sections[#sections + 1] = { note.title, note } end
  add_sections(out, sections)
  if command.examples then add_examples(out, commands, command) end
  add_paragraph(out, ("Flags that every command has, such as those that say which nodes to use: "
    .. "%s help %s"):format(commands.program, FLAGS))
  return table.concat(out, "\n") .. "\n"
end

local function general_help(commands)
  local program = commands.program
  local out = { ("%s COMMAND [FLAG]... [ARG]..."):format(program) }
  add_paragraph(out, commands.summary)
  local rows = {}
  for _, command in ipairs(commands) do
    if not command.hidden then rows[#rows + 1] = { command.name, command.summary } end
  end
  add_sections(out, { { "Commands", rows } })
  add_paragraph(out, ("'%s help COMMAND' shows the flags of a command and examples, '%s help %s' "
    .. "the flags that all commands have."):format(program, program, FLAGS))
  return table.concat(out, "\n") .. "\n"
end

--- Returns the help of the command `name`, of the flags of every command for "flags", or of the
--- program when nil: lines of at most 80 columns. An unknown name gives nil and an error of kind
--- "usage".
---@param commands fleet.cli.Commands
---@param name string|nil
---@return string|nil
---@return fleet.Error|nil
function cli.help(commands, name)
  if name == nil then return general_help(commands) end
  local command = find(commands, name)
  if not command and name == FLAGS then return flags_help(commands) end
  if not command then return nil, unknown_command(commands, name) end
  return command_help(commands, command)
end

return cli
