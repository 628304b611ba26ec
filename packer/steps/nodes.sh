# SPDX-License-Identifier: MIT
# Whether the nodes of the release work, and what to tell those who use them.

node_flags() { # RELEASE
  flags=(--discover ec2 --region "$region" --release "$1" --filter "tag:moonfleet:fleet=$fleet" --tls "ssm:/moonfleet/$fleet/driver")
}

# Waits until as many nodes answer as the group wants. Fails if they do not in time.
await_nodes() { # [RELEASE]
  local goal answering=-1 now end flags spoken=0
  node_flags "${1:-$release}"
  begin "waits for the nodes of ${1:-$release}"
  if [ -n "$dry_run" ]; then
    if [ -n "$outside" ]; then
      show aws autoscaling describe-auto-scaling-groups --auto-scaling-group-names "$stack"
    else
      show "$program" nodes "${flags[@]}" --json
    fi
    return
  fi
  end=$((SECONDS + timeout))
  while :; do
    goal=$(of_group DesiredCapacity)
    now=$(count_answers)
    if [ "$now" != "$answering" ] || [ $((SECONDS - spoken)) -ge 60 ]; then
      say "$now of $goal nodes of ${1:-$release} answer; waits $((end - SECONDS)) s at most"
      answering=$now spoken=$SECONDS
    fi
    [ "$now" -lt "$goal" ] || return 0
    if [ "$SECONDS" -ge "$end" ]; then
      say "after $timeout s only $now of $goal do; this is what moonfleet doctor says:" >&2
      if [ -z "$outside" ]; then "$program" doctor "${flags[@]}" 2>&1 | detail >&2 || true; fi
      return 1
    fi
    pause 5
  done
}

# Prints how many nodes are ready; outside of the VPC, how many instances EC2 takes for healthy.
count_answers() {
  if [ -n "$outside" ]; then
    of_group 'Instances[?LifecycleState==`InService`&&HealthStatus==`Healthy`].InstanceId' | wc -w
  else
    { MOONFLEET_CACHE='' "$program" nodes "${flags[@]}" --json 2>"$scratch/nodes" || true; } | { grep -o '"state":"ready"' || true; } | wc -l
  fi
}

# The mark by which a later deployment knows what it can go back to.
mark_healthy() {
  change ec2 create-tags --resources "$image" --tags "Key=moonfleet:healthy,Value=$(date -u +%Y-%m-%dT%H:%M:%SZ)"
  stands+=("its nodes answer")
}

report() {
  local flags group_id
  node_flags "$release"
  if [ -n "$dry_run" ]; then
    say "this was a dry run: nothing has been changed"
    return
  fi
  group_id=$(driver_security_group)
  say "release $release is deployed. On a machine in security group $group_id that may read ssm:/moonfleet/$fleet/driver:"
  printf '  moonfleet run%s JOB.lua\n' "$(quoted "${flags[@]}")"
}
