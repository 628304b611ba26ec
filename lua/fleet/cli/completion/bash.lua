-- SPDX-License-Identifier: MIT
-- The completion script for bash. It needs nothing but bash 4.

local completion = require("fleet.cli.completion")

local SCRIPT = [==[
# bash completion for moonfleet, written by `moonfleet completion bash`.

# What the value of a flag is; nothing for a switch. A star is for flags of every command.
_moonfleet_value() { # COMMAND FLAG
  case $1:$2 in
@VALUES@
  esac
}

# What an argument of a command is.
_moonfleet_argument() { # COMMAND NUMBER
  case $1:$2 in
@ARGUMENTS@
  esac
}

_moonfleet_flags() { # COMMAND
  local common='@COMMON@'
  case $1 in
@FLAGS@
    *) echo "$common --help --version" ;;
  esac
}

# Sets COMPREPLY to the words of the kind that begin with the text.
_moonfleet_reply() { # TEXT KIND
  local text=$1 before='' kind=$2 words=''
  case $kind in
    list:*)
      before=${text%"${text##*,}"} text=${text##*,} kind=${kind#list:}
      ;;
  esac
  case $kind in
    *=*) words=${kind#*=} kind=${kind%%=*} ;;
  esac
  mapfile -t COMPREPLY < <(
    compgen -W "$words" -- "$text"
    case $kind in
      files)
        compgen -f -- "$text"
        ;;
      files.*)
        compgen -f -X "!*.${kind#files.}" -- "$text"
        compgen -d -- "$text"
        ;;
      folders)
        compgen -d -- "$text"
        ;;
      nodes)
        compgen -W "$(moonfleet nodes --names 2>/dev/null)" -- "$text"
        ;;
    esac | sort -u
  )
  case $kind in
    files*|folders) compopt -o filenames ;;
  esac
  [ -z "$before" ] || COMPREPLY=("${COMPREPLY[@]/#/$before}")
}

_moonfleet() {
  # The words up to the cursor; bash itself splits them at = and :.
  local line=${COMP_LINE:0:COMP_POINT} words=() word rest i
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]} rest=${line#"${line%%[![:space:]]*}"}
    [ "$i" != "$COMP_CWORD" ] || word=$rest
    if [ "$i" = 0 ] || [ "$rest" != "$line" ]; then
      words+=("$word")
    else
      words[${#words[@]} - 1]+=$word
    fi
    line=${rest#"$word"}
  done

  local command='' value='' text=${words[${#words[@]} - 1]} number=1 only_arguments=''
  for ((i = 1; i < ${#words[@]} - 1; i++)); do
    word=${words[i]} value=
    case $only_arguments$word in
      --) only_arguments=yes ;;
      --*=*) ;;
      --*) value=$(_moonfleet_value "$command" "$word") ;;
      *) if [ -z "$command" ]; then command=$word; else number=$((number + 1)); fi ;;
    esac
    if [ -n "$value" ] && ((i + 1 < ${#words[@]} - 1)); then i=$((i + 1)) value=; fi
  done

  COMPREPLY=()
  local before=''
  if [ -n "$value" ]; then
    _moonfleet_reply "$text" "$value"
  elif [ -z "$only_arguments" ] && [[ $text == --*=* ]]; then
    before=${text%%=*}=
    value=$(_moonfleet_value "$command" "${text%%=*}")
    _moonfleet_reply "${text#*=}" "$value"
  elif [ -z "$only_arguments" ] && [[ $text == -* ]]; then
    _moonfleet_reply "$text" "words=$(_moonfleet_flags "$command")"
  elif [ -z "$command" ]; then
    _moonfleet_reply "$text" 'words=@COMMANDS@'
  else
    _moonfleet_reply "$text" "$(_moonfleet_argument "$command" "$number")"
  fi

  # What is before the last of these characters is not to be written again.
  COMPREPLY=("${COMPREPLY[@]/#/$before}")
  before=$text
  while [ -n "$before" ] && [[ $COMP_WORDBREAKS != *"${before: -1}"* || $before != *[=:] ]]; do
    before=${before%?}
  done
  COMPREPLY=("${COMPREPLY[@]#"$before"}")
  # a list or an open name may go on
  case ${COMPREPLY[0]:-} in
    *[:=]) compopt -o nospace ;;
  esac
}

complete -F _moonfleet moonfleet
]==]

local function quote(s)
  return "'" .. s:gsub("'", "'\\''") .. "'"
end

-- The word by which _moonfleet_reply knows what to do.
local function kind_of(what)
  local kind = what.kind .. (what.suffix or "")
  if what.words then kind = kind .. "=" .. table.concat(what.words, " ") end
  return what.list and "list:" .. kind or kind
end

local function names_of(list, prefix)
  local names = {}
  for i, entry in ipairs(list) do names[i] = prefix .. entry.name end
  return table.concat(names, " ")
end

---@param commands fleet.cli.Commands
---@return string
return function(commands)
  local values, arguments, flags = {}, {}, {}
  local function add_values(name, list)
    for _, flag in ipairs(list) do
      local what = completion.of_flag(flag)
      if what then
        values[#values + 1] = ("    %s:--%s) echo %s ;;"):format(name, flag.name,
          quote(kind_of(what)))
      end
    end
  end
  for _, command in ipairs(completion.visible(commands)) do
    local own = completion.visible(command.flags)
    add_values(command.name, own)
    flags[#flags + 1] = ("    %s) echo \"%s$common\" ;;"):format(command.name,
      #own > 0 and names_of(own, "--") .. " " or "")
    local n = command.completes and #command.completes or 0
    for i = 1, n do
      local what = completion.of_argument(command, i)
      arguments[#arguments + 1] = ("    %s:%s) echo %s ;;"):format(command.name,
        i == n and not command.max_args and "*" or i, quote(kind_of(what)))
    end
  end
  add_values("*", completion.visible(commands.flags))
  local parts = {
    VALUES = table.concat(values, "\n"), ARGUMENTS = table.concat(arguments, "\n"),
    FLAGS = table.concat(flags, "\n"), COMMON = names_of(completion.visible(commands.flags), "--"),
    COMMANDS = names_of(completion.visible(commands), ""),
  }
  return (SCRIPT:gsub("@(%u+)@", parts))
end
