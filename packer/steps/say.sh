# SPDX-License-Identifier: MIT
# What packer/deploy says, and how it runs commands: shows them, explains why they fail, and ends them
# when it is interrupted itself. Sourced by packer/deploy.

step=start     # what is being done, for the message of an interruption
stands=()      # phrases: what has been reached
touched=       # whether something may have been changed
child=         # process id of the command that runs in the background

say() { echo "deploy: $*"; }
detail() { sed -u 's/^/  /'; }

# Usage errors end with 2, everything else with 1.
die() { say "$*" >&2; exit 1; }
die_usage() { say "$*" >&2; echo "packer/deploy --help describes the flags" >&2; exit 2; }

begin() { # STEP: names what comes next
  step=$1
  say "$1"
}

# Shows a command as a shell would read it.
show() { printf '+%s\n' "$(quoted "$@")" >&2; }

quoted() {
  local each
  for each in "$@"; do
    if [[ $each =~ ^[A-Za-z0-9_./:=@%+,-]+$ ]]; then printf ' %s' "$each"; else printf ' %s' "${each@Q}"; fi
  done
}

# Runs a command that changes something; shows it instead in a dry run.
act() {
  if [ -n "$dry_run" ]; then show "$@"; return; fi
  touched=yes
  "$@"
}

# Runs a command in the background, in a session of its own, so that Ctrl-C reaches it once, through us;
# if we are killed, it is interrupted. (A shell lets its background commands ignore that, so it is put
# right.) Its output goes to a file, not a pipe, of which it could die while it cleans up, and from there to
# ours. Returns the exit code.
run_child() { # FILE COMMAND...
  local code=0 file=$1 tail
  shift
  touched=yes
  : >"$file"
  tail -n +1 -f --pid=$$ "$file" > >(detail) &
  tail=$!
  setsid setpriv --pdeathsig INT env --default-signal=INT "$@" >"$file" 2>&1 &
  child=$!
  while :; do
    wait "$child" && code=0 || code=$?
    kill -0 "$child" 2>/dev/null || break
  done
  child=
  pause 0.3 # for tail
  kill "$tail" 2>/dev/null || true
  wait "$tail" 2>/dev/null || true
  return "$code"
}

pause() { # SECONDS: can be interrupted, unlike sleep
  sleep "$1" &
  wait $! || true
}

on_signal() { # EXIT-CODE
  trap '' INT TERM HUP
  if [ -n "$child" ]; then
    say "interrupted; waits for the command that runs to clean up" >&2
    kill -INT "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
    sleep 0.3 # for tail
  fi
  exit "$1"
}

# Says what has been reached when the command ends before its time.
on_exit() {
  local code=$?
  rm -rf "$scratch"
  case $code in 0 | 2 | 3) return ;; esac
  [ "$step" != start ] || return 0
  {
    if is_signal "$code"; then say "interrupted while it $step"; else say "failed while it $step"; fi
    if [ ${#stands[@]} -gt 0 ]; then
      printf '  %s\n' "${stands[@]}"
    elif [ -z "$touched" ]; then
      echo "  nothing has been changed"
    fi
    echo "  the same command continues from here, once what is named above is mended"
  } >&2
}

# ---- AWS ----

# Prints the statement of the deployer's policy that has an action.
policy_statement() { # ACTION
  awk -v action="\"$1\"" '
    /^    \{/ { text = ""; found = 0 }
    { text = text $0 "\n" }
    index($0, action) { found = 1 }
    /^    \}/ { sub(/,\n$/, "\n", text); if (found) { printf "%s", text; exit } }
  ' "$here/deployer-policy.json"
}

# Prints the action that a message says is denied, such as ec2:CreateImage; nothing for another error.
denied_action() { # MESSAGE [SERVICE]
  local pattern='not authorized to perform: ([a-z0-9-]+:[A-Za-z]+)'
  local code='\((UnauthorizedOperation|AccessDenied[A-Za-z]*)\) when calling the ([A-Za-z]+) operation'
  if [[ $1 =~ $pattern ]]; then
    echo "${BASH_REMATCH[1]}"
  elif [[ -n ${2-} && $1 =~ $code ]]; then
    echo "$2:${BASH_REMATCH[2]}"
  fi
}

# Says how to mend a failure, if that is known.
advise() { # MESSAGE [SERVICE]
  local action statement
  action=$(denied_action "$@")
  if [ -n "$action" ]; then
    say "$action is denied to ${caller:-these credentials}"
    statement=$(policy_statement "$action")
    if [ -n "$statement" ]; then
      echo "  They need this statement of packer/deployer-policy.json:"
      echo "$statement"
    else
      echo "  Allow it in their policy; packer/deployer-policy.json has the other actions."
    fi
  elif [[ $1 =~ (Unable to locate credentials|ExpiredToken|InvalidClientTokenId|security token) ]]; then
    echo "  Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and its kin, or sign in again: aws sts get-caller-identity"
    echo "  must succeed."
  elif [[ $1 == *'Could not connect to the endpoint'* ]]; then
    echo "  Look at the region and AWS_ENDPOINT_URL, and at the network."
  fi
}

# Calls AWS for something that changes nothing; prints the answer, or the error and what to do about it.
ask() { # SERVICE OPERATION [ARGUMENT]...
  local code=0
  [ -z "$dry_run" ] || show aws "$@"
  aws "$@" 2>"$scratch/error" || code=$?
  [ "$code" = 0 ] || aws_failed "$code" "$@"
}

# The same for a call that changes something; prints nothing.
change() { # SERVICE OPERATION [ARGUMENT]...
  local code=0
  if [ -n "$dry_run" ]; then show aws "$@"; return; fi
  touched=yes
  aws "$@" 2>"$scratch/error" >/dev/null || code=$?
  [ "$code" = 0 ] || aws_failed "$code" "$@"
}

# Says why a call has failed, and fails. The CLI ends with 252 to 255 itself.
aws_failed() { # CODE SERVICE OPERATION...
  local message
  ! is_signal "$1" || return "$1"
  shift
  message=$(grep -v '^$' "$scratch/error" || true)
  {
    say "aws $1 $2: ${message:-failed without a message}"
    advise "$message" "$1"
  } >&2
  return 1
}

is_signal() { case $1 in 129 | 130 | 143) ;; *) false ;; esac; } # EXIT-CODE
