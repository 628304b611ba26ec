-- SPDX-License-Identifier: MIT
-- The completion script for fish, one line for each flag.

local completion = require("fleet.cli.completion")

local HEAD = [==[
# fish completion for moonfleet, written by `moonfleet completion fish`.

function __moonfleet_nodes
    moonfleet nodes --names 2>/dev/null
end

# Folders, and files whose names end with the argument.
function __moonfleet_files
    __fish_complete_path (commandline -ct) | string match -r -- "^[^\t]*(?:/|\\$argv[1])(?:\t.*)?\$"
end

# The command on the line, and the words after it that are no flags.
function __moonfleet_words
    set -l words (commandline -opc)
    set -l found no
    for word in $words[2..-1]
        if test $found = yes
            string match -qv -- '-*' $word; and echo $word
        else if contains -- $word @COMMANDS@
            set found yes
            echo $word
        end
    end
end

function __moonfleet_needs_command
    test (count (__moonfleet_words)) = 0
end

function __moonfleet_uses
    set -l words (__moonfleet_words)
    test (count $words) != 0; and test $words[1] = $argv[1]
end

function __moonfleet_argument
    __moonfleet_uses $argv[1]; and test (count (__moonfleet_words)) = $argv[2]
end

complete -c moonfleet -f
complete -c moonfleet -l help -s h -d 'show help'
complete -c moonfleet -l version -s V -d 'show the version'
]==]

local function quote(s)
  return "'" .. s:gsub("[\\']", "\\%0") .. "'"
end

-- What follows the name of a flag or stands for an argument.
local function action_of(what)
  local words = what.words and table.concat(what.words, " ") or ""
  local actions = {
    files = what.suffix and ("-ka '(__moonfleet_files %s)'"):format(what.suffix) or "-F",
    folders = "-xa '(__fish_complete_directories)'", nodes = "-xa '(__moonfleet_nodes)'",
    any = "-x",
    words = what.list and ("-xa '(__fish_append , %s)'"):format(words)
      or ("-xa %s"):format(quote(words)),
  }
  return actions[what.kind]
end

---@param commands fleet.cli.Commands
---@return string
return function(commands)
  local names, out = {}, {}
  local function add(condition, rest)
    out[#out + 1] = "complete -c moonfleet " .. (condition and ("-n %s "):format(quote(condition))
      or "") .. rest
  end
  local function add_flags(condition, list)
    for _, flag in ipairs(completion.visible(list)) do
      local what = completion.of_flag(flag)
      add(condition, ("-l %s %s-d %s"):format(flag.name, what and (what.kind == "files" and "-rF "
        or action_of(what) .. " ") or "", quote(flag.help)))
    end
  end
  add_flags(nil, commands.flags)
  for _, command in ipairs(completion.visible(commands)) do
    names[#names + 1] = command.name
    add("__moonfleet_needs_command", ("-a %s -d %s"):format(command.name, quote(command.summary)))
    add_flags("__moonfleet_uses " .. command.name, command.flags)
    local n = command.completes and #command.completes or 0
    for i = 1, n do
      local open = i == n and not command.max_args
      add(open and n == 1 and "__moonfleet_uses " .. command.name
        or open and ("__moonfleet_uses %s; and test (count (__moonfleet_words)) -ge %d"):format(
          command.name, i)
        or ("__moonfleet_argument %s %d"):format(command.name, i),
        (action_of(completion.of_argument(command, i)):gsub("^%-x", "-")))
    end
  end
  return HEAD:gsub("@COMMANDS@", table.concat(names, " ")) .. table.concat(out, "\n") .. "\n"
end
