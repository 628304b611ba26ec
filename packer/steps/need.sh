# SPDX-License-Identifier: MIT
# What packer/deploy needs before it begins: flags that make sense, programs, credentials. Whatever is
# missing is named at once.

oldest_packer=1.9.0    # as in plugins.pkr.hcl
endpoint=${AWS_ENDPOINT_URL_EC2:-${AWS_ENDPOINT_URL-}}
caller=                # who calls AWS
program=               # the moonfleet that makes keys and asks nodes

must_match() { # FLAG VALUE PATTERN WHAT
  [[ -z $2 || $2 =~ ^($3)$ ]] || die_usage "$1 must be $4, not '$2'"
}

check_flags() {
  local number='[0-9]{1,5}'
  [ -n "$fleet" ] || die_usage "--fleet is missing: the name of the fleet"
  must_match --fleet "$fleet" '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?' "a name of lower-case letters, digits and -"
  if [ -n "$destroy" ]; then
    [ -z "$release" ] || die_usage "--destroy removes the whole fleet and takes no --release; --keep N removes old images"
  else
    [ -n "$release" ] || die_usage "--release is missing: the name of what is deployed, such as r1 or a commit"
  fi
  must_match --release "$release" '[A-Za-z0-9._-]{1,64}' "up to 64 letters, digits, '.', '_' and '-'"
  must_match --region "$region" '[a-z]{2}(-[a-z]+)+-[0-9]' "a region such as eu-central-1"
  must_match --vpc "$vpc" 'vpc-[0-9a-f]+' "the id of a VPC"
  must_match --subnets "$subnets" 'subnet-[0-9a-f]+(,subnet-[0-9a-f]+)*' "ids of subnets, separated by commas"
  must_match --driver-group "$driver_group" 'sg-[0-9a-f]+' "the id of a security group"
  must_match --instance-profile "$instance_profile" 'arn:[a-z-]+:iam::[0-9]{12}:instance-profile/[^"\\]+' "the ARN of an instance profile"
  must_match --permissions-boundary "$boundary" 'arn:[a-z-]+:iam::([0-9]{12}|aws):policy/[^"\\]+' "the ARN of a policy"
  must_match --min "$min" "$number" "a number"
  must_match --max "$max" "$number" "a number"
  must_match --desired "$desired" "$number" "a number"
  must_match --type "$types" '[a-z0-9.-]+(,[a-z0-9.-]+){0,3}' "one to four instance types, separated by commas"
  must_match --arch "$arch" 'arm64|x86_64' "arm64 or x86_64"
  must_match --on-demand-base "$on_demand_base" "$number" "a number"
  must_match --on-demand-percent "$on_demand_percent" '[0-9]{1,2}|100' "a percentage"
  must_match --sha256 "${sha256,,}" '[0-9a-f]{64}' "64 hexadecimal digits"
  must_match --ssh-from "$ssh_from" '[0-9a-fA-F.:]+/[0-9]{1,3}' "a network such as 10.0.0.0/16"
  must_match --timeout "$timeout" "$number" "a number of seconds"
  must_match --keep "$keep" '[1-9][0-9]{0,4}' "a number from 1"
  [ -z "$no_build" ] || [ -z "$rpm$sha256" ] || die_usage "--no-build uses an image that exists, and --rpm and --sha256 are for a new one"
  [ -z "$rpm" ] || [ -f "$rpm" ] || die_usage "--rpm: there is no file $rpm"
  stack=moonfleet-$fleet
  state=build/deploy/$fleet
  keys=${keys:-$HOME/.moonfleet/keys/$fleet}
}

# One deployment of a fleet at a time on this machine. CloudFormation refuses a second one from another. A
# packer that still cleans up after a deployment that was killed keeps the lock.
lock() {
  [ -z "$dry_run" ] || return 0
  mkdir -p "$state"
  exec 9>"$state/lock"
  flock -n 9 || {
    say "another deployment of fleet $fleet runs on this machine, or cleans up; waits up to two minutes"
    flock -w 120 9 || die "it still runs; wait for it, or look at it: fuser $state/lock"
  }
}

has() { command -v "$1" >/dev/null; }

at_least() { # VERSION MINIMUM
  [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

find_program() {
  program=${MOONFLEET-}
  if [ -z "$program" ] && [ -x build/moonfleet ]; then program=build/moonfleet; fi
  if [ -z "$program" ]; then program=$(command -v moonfleet || true); fi
}

need_tools() {
  local missing=() version
  has aws || missing+=("aws: the AWS CLI, version 2 (https://aws.amazon.com/cli/; Debian: apt-get install awscli)")
  if [ -z "$destroy" ]; then
    [ -n "$no_build" ] || has rpm || missing+=("rpm: to look into the package (apt-get install rpm)")
    find_program
    [ -n "$program" ] || has make || missing+=("make: to build moonfleet, which makes keys and asks nodes (apt-get install make)")
  fi
  if [ -z "$destroy$no_build" ]; then
    if ! has packer; then
      missing+=("packer: version $oldest_packer or later (https://developer.hashicorp.com/packer/install)")
    else
      version=$(packer version | sed -n 's/^Packer v\([0-9.]*\).*/\1/p')
      if ! at_least "${version:-0}" "$oldest_packer" && [ -z "$portable" ]; then
        missing+=("packer $oldest_packer or later; this is ${version:-of an unknown version} (--portable-packer accepts 1.6)")
      fi
    fi
    if [ -z "$rpm" ] && ! builds_here && ! has docker; then
      missing+=("docker: the package must be built on Amazon Linux 2023; or run this there, or give --rpm FILE")
    fi
  fi
  for version in flock setsid setpriv; do
    has $version || missing+=("$version: of util-linux")
  done
  [ ${#missing[@]} = 0 ] || die "this is missing:$(printf '\n  %s' "${missing[@]}")"
  [ -n "$program" ] || [ -n "$destroy" ] || { begin "builds moonfleet"; act make --no-print-directory build; program=build/moonfleet; }
}

need_account() {
  local account
  if [ -z "$region" ]; then
    region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
    [ -n "$region" ] || die_usage "there is no region: give --region, or set AWS_REGION"
  fi
  export AWS_REGION=$region AWS_DEFAULT_REGION=$region
  begin "asks AWS for the account"
  caller=$(ask sts get-caller-identity --query Arn --output text)
  account=$(cut -d : -f 5 <<<"$caller")
  say "fleet $fleet${release:+, release $release}, in account $account, $region, as ${caller##*:}"
}
