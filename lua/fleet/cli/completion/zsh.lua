-- SPDX-License-Identifier: MIT
-- The completion script for zsh, over its own function _arguments.

local completion = require("fleet.cli.completion")

local SCRIPT = [==[
#compdef moonfleet
# zsh completion for moonfleet, written by `moonfleet completion zsh`.

_moonfleet_nodes() {
  local -a names
  names=(${(f)"$(moonfleet nodes --names 2>/dev/null)"})
  compadd -a names
}

_moonfleet() {
  local curcontext=$curcontext state line ret=1
  local -A opt_args
  local -a common commands
  common=(
@COMMON@
  )
  commands=(
@COMMANDS@
  )
  _arguments -C $common '--help[show help]' '--version[show the version]' \
    '(-)1:command:->command' '(-)*::argument:->argument' && ret=0
  case $state in
    command)
      _describe -t commands command commands && ret=0
      ;;
    argument)
      case $words[1] in
@ARGUMENTS@
      esac
      ;;
  esac
  return ret
}

# Found by its name in fpath it is called, read by source it is registered.
if [[ $funcstack[1] == _moonfleet ]]; then
  _moonfleet "$@"
else
  compdef _moonfleet moonfleet
fi
]==]

local function quote(s)
  return "'" .. s:gsub("'", "'\\''") .. "'"
end

-- A text inside a specification, in which colons and brackets have a meaning.
local function escape(s)
  return (s:gsub("[%[%]:\\]", "\\%0"))
end

local function action_of(what)
  local words = {}
  for i, word in ipairs(what.words or {}) do words[i] = escape(word) end
  local actions = {
    files = what.suffix and ("_files -g \"*%s(-.)\""):format(what.suffix) or "_files",
    folders = "_files -/", nodes = "_moonfleet_nodes", any = " ",
    words = what.list and ("_sequence compadd - %s"):format(table.concat(words, " "))
      or ("(%s)"):format(table.concat(words, " ")),
  }
  return actions[what.kind]
end

local function specification(flag)
  local what = completion.of_flag(flag)
  local spec = ("--%s%s[%s]"):format(flag.name, what and "=" or "", escape(flag.help))
  if what then
    spec = ("%s:%s:%s"):format(spec, escape(flag.value or "value"), action_of(what))
  end
  return quote((flag.type == "list" or flag.type == "texts") and "*" .. spec or spec)
end

local function indent(list, by)
  return by .. table.concat(list, "\n" .. by)
end

---@param commands fleet.cli.Commands
---@return string
return function(commands)
  local common, names, arguments = {}, {}, {}
  for _, flag in ipairs(completion.visible(commands.flags)) do
    common[#common + 1] = specification(flag)
  end
  for _, command in ipairs(completion.visible(commands)) do
    names[#names + 1] = quote(escape(command.name) .. ":" .. command.summary)
    local specs = {}
    for _, flag in ipairs(completion.visible(command.flags)) do
      specs[#specs + 1] = specification(flag)
    end
    local n = command.completes and #command.completes or 0
    for i = 1, n do
      specs[#specs + 1] = quote(("%s:%s:%s"):format(i == n and not command.max_args and "*" or i,
        "argument", action_of(completion.of_argument(command, i))))
    end
    arguments[#arguments + 1] = ("%s)\n%s && ret=0\n  ;;"):format(command.name,
      "  _arguments $common \\\n" .. indent(specs[1] and specs or { "'*:argument: '" }, "    ")
        :gsub("\n", " \\\n"))
  end
  local parts = {
    COMMON = indent(common, "    "), COMMANDS = indent(names, "    "),
    ARGUMENTS = "        " .. table.concat(arguments, "\n"):gsub("\n", "\n        "),
  }
  return (SCRIPT:gsub("@(%u+)@", parts))
end
