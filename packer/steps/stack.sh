# SPDX-License-Identifier: MIT
# The stack of the fleet: creates or updates it by a change set, shows its events, and puts the release
# before back when the new one does not work.

status=          # of the stack; empty if there is none
declare -A was   # its parameters before we change it
before=          # the same, as JSON
changed=         # whether we have changed it

# Like ask, for a stack that may not exist: prints nothing then.
ask_stack() { # OPERATION [ARGUMENT]...
  local code=0
  [ -z "$dry_run" ] || show aws cloudformation "$@"
  aws cloudformation "$@" 2>"$scratch/error" || code=$?
  if [ "$code" != 0 ] && ! grep -q 'does not exist' "$scratch/error"; then
    aws_failed "$code" cloudformation "$@"
  fi
}

read_stack() { # sets status and stack_id
  local found
  found=$(ask_stack describe-stacks --stack-name "${stack_id:-$stack}" --query 'Stacks[0].[StackStatus,StackId]' --output text)
  status='' stack_id=''
  read -r status stack_id <<<"$found" || true
}

# Prints the security group of drivers.
driver_security_group() {
  if [ -n "$driver_group${was[DriverSecurityGroupId]-}" ]; then
    echo "${driver_group:-${was[DriverSecurityGroupId]}}"
  else
    ask cloudformation describe-stack-resource --stack-name "$stack" --logical-resource-id DriverSecurityGroup \
      --query StackResourceDetail.PhysicalResourceId --output text
  fi
}

# The group has the name of the stack.
of_group() { # PROPERTY: prints it; nothing if there is no group
  ask autoscaling describe-auto-scaling-groups --auto-scaling-group-names "$stack" \
    --query "AutoScalingGroups[0].$1" --output text | grep -vx None || true
}

# Looks at the stack and brings it into a state in which it can be changed.
find_stack() {
  local key value
  begin "looks at the stack $stack"
  read_stack
  case $status in
    *_IN_PROGRESS)
      if [ "$status" != REVIEW_IN_PROGRESS ]; then
        say "the stack is $status, by an earlier command or another; waits for it"
        last_event=$(newest_event)
        follow_stack
        read_stack
      fi
      ;;
  esac
  case $status in
    '' | DELETE_COMPLETE) status='' stack_id='' ;;
    REVIEW_IN_PROGRESS) # a change set that nobody has executed, and nothing else
      delete_stack
      status=''
      ;;
    ROLLBACK_COMPLETE | ROLLBACK_FAILED | CREATE_FAILED)
      say "the stack could not be created before ($status); removes what is left of it"
      delete_stack
      status=''
      ;;
    UPDATE_ROLLBACK_FAILED)
      say "an earlier update could not be undone; CloudFormation tries that again"
      last_event=$(newest_event)
      change cloudformation continue-update-rollback --stack-name "$stack"
      follow_stack
      [ -n "$dry_run" ] || [ "$status" = UPDATE_ROLLBACK_COMPLETE ] ||
        die "the stack is $status; mend what the events above name, and run this again"
      ;;
    DELETE_FAILED)
      die "the stack could not be removed; see its events, and run packer/deploy --destroy --fleet $fleet again" ;;
  esac
  [ -n "$status" ] || return 0
  while IFS=$'\t' read -r key value; do
    [ -z "$key" ] || was[$key]=$value
  done < <(ask cloudformation describe-stacks --stack-name "$stack" \
    --query 'Stacks[0].Parameters[].[ParameterKey,ParameterValue]' --output text)
  stands+=("stack $stack with release ${was[Release]-}")
}

# ---- where, and how many ----

find_network() {
  local found
  begin "looks at the network"
  if [ -n "$status" ]; then
    was[SubnetIds]=$(of_group VPCZoneIdentifier)
    [ -n "$vpc$subnets" ] || vpc=${was[VpcId]} subnets=${was[SubnetIds]}
  fi
  if [ -z "$vpc$subnets" ]; then
    vpc=$(ask ec2 describe-vpcs --filters Name=is-default,Values=true --query 'Vpcs[0].VpcId' --output text)
    [ "$vpc" != None ] || die "this account has no default VPC in $region; give --subnets, or --vpc"
  fi
  if [ -z "$subnets" ]; then
    subnets=$(ask ec2 describe-subnets --filters "Name=vpc-id,Values=$vpc" --query 'Subnets[].SubnetId' --output text | tr '\t' ,)
    [ -n "$subnets" ] || die "$vpc has no subnets in $region; give --subnets"
  fi
  found=$(ask ec2 describe-subnets --subnet-ids ${subnets//,/ } --query 'Subnets[].VpcId' --output text | tr '\t' '\n' | sort -u)
  [ "$(wc -w <<<"$found")" = 1 ] || die "the subnets are in more than one VPC: ${found//$'\n'/, }; give those of one"
  [ -z "$vpc" ] || [ "$vpc" = "$found" ] || die "the subnets are in $found, and not in $vpc"
  vpc=$found
  [ -z "$status" ] || [ "$vpc" = "${was[VpcId]}" ] ||
    die "the fleet is in ${was[VpcId]}, and its security groups cannot move to $vpc; destroy it first, or make another fleet"
  vpc_cidr=$(ask ec2 describe-vpcs --vpc-ids "$vpc" --query 'Vpcs[0].CidrBlock' --output text)
  say "network: $vpc ($vpc_cidr), ${subnets//,/, }"
}

find_sizes() {
  local running='' low high goal arch_before=''
  begin "looks at sizes and types"
  if [ -n "$status" ]; then
    arch_before=$(ask ec2 describe-images --filters "Name=image-id,Values=${was[ImageId]}" --query 'Images[0].Architecture' --output text)
    [ "$arch_before" != None ] || arch_before=
  fi
  arch=${arch:-${arch_before:-arm64}}
  if [ -n "$types" ]; then
    check_types
  elif [ "$arch" != "$arch_before" ]; then
    if [ "$arch" = arm64 ]; then types=t4g.small,t4g.medium,m7g.medium,m6g.medium; else types=t3.small,t3a.small,t3.medium,t3a.medium; fi
  fi
  if [ -n "$status" ]; then running=$(of_group DesiredCapacity); fi
  low=${min:-${was[MinSize]-2}} high=${max:-${was[MaxSize]-6}} goal=${desired:-${running:-${was[DesiredCapacity]-3}}}
  [ "$low" -le "$goal" ] || die "--min $low is more than the $goal instances that are desired; give --desired, or another --min"
  [ "$goal" -lt "$high" ] ||
    die "--max $high must be more than the $goal instances that are desired: an update starts a new one before it ends an old one"
  # an update leaves this many running
  in_service=$goal
  [ -z "$running" ] || [ "$running" -ge "$goal" ] || in_service=$running
}

check_types() {
  local found type
  found=$(ask ec2 describe-instance-types --instance-types ${types//,/ } \
    --query 'InstanceTypes[].[InstanceType,join(`,`,ProcessorInfo.SupportedArchitectures)]' --output text)
  for type in ${types//,/ }; do
    grep -P "^\Q$type\E\t(.*,)?$arch(,|\$)" <<<"$found" >/dev/null ||
      die "--type: $type is not for $arch, the architecture of the image"
  done
}

# ---- the change ----

# Prints the parameters of the change set as JSON: what we set, and the others as they were.
parameters() { # RELEASE IMAGE
  local key value list=()
  declare -A set=([Fleet]=$fleet [Release]=$1 [ImageId]=$2 [VpcId]=$vpc [SubnetIds]=$subnets [MinInService]=$in_service
    [MinSize]=$min [MaxSize]=$max [DesiredCapacity]=$desired [OnDemandBase]=$on_demand_base
    [OnDemandPercent]=$on_demand_percent [DriverSecurityGroupId]=$driver_group
    [InstanceProfileArn]=$instance_profile [PermissionsBoundaryArn]=$boundary)
  if [ -n "$types" ]; then
    IFS=, read -r "set[InstanceType]" "set[InstanceType2]" "set[InstanceType3]" "set[InstanceType4]" <<<"$types"
  fi
  for key in $(sed -n '/^Parameters:/,/^[A-Z][a-z]*:$/s/^  \([A-Za-z0-9]*\):$/\1/p' packer/stack.yaml); do
    value=${set[$key]-}
    if [ -n "$value" ] || { [ -n "$types" ] && [[ $key == InstanceType? ]]; }; then
      list+=("{\"ParameterKey\":\"$key\",\"ParameterValue\":\"$value\"}")
    elif [ -n "${was[$key]+set}" ]; then
      list+=("{\"ParameterKey\":\"$key\",\"UsePreviousValue\":true}")
    fi
  done
  (IFS=,; printf '[%s]\n' "${list[*]}")
}

update_stack() {
  local kind=UPDATE
  [ -n "$status" ] || kind=CREATE
  if [ "$kind" = UPDATE ] && [ -z "$dry_run" ]; then
    # what a roll-back needs
    ask cloudformation get-template --stack-name "$stack" --template-stage Original --query TemplateBody --output text >"$scratch/before.yaml"
    before=$(previous_parameters)
  fi
  begin "$([ $kind = CREATE ] && echo creates || echo updates) the stack"
  change_stack "$kind" packer/stack.yaml "$(parameters "$release" "$image")"
}

previous_parameters() {
  local key list=()
  for key in "${!was[@]}"; do list+=("{\"ParameterKey\":\"$key\",\"ParameterValue\":\"${was[$key]}\"}"); done
  (IFS=,; printf '[%s]\n' "${list[*]}")
}

# Makes a change set, shows it, executes it, and follows it. Ends with an error if the stack does not get
# there; CloudFormation has then undone the change.
change_stack() { # CREATE|UPDATE TEMPLATE PARAMETERS
  local name set_status reason
  name=deploy-$(date +%s)
  change cloudformation create-change-set --stack-name "$stack" --change-set-name "$name" --change-set-type "$1" \
    --template-body "file://$2" --parameters "$3" --capabilities CAPABILITY_IAM
  if [ -n "$dry_run" ]; then
    show aws cloudformation execute-change-set --stack-name "$stack" --change-set-name "$name"
    return
  fi
  while :; do
    IFS=$'\t' read -r set_status reason < <(ask cloudformation describe-change-set --stack-name "$stack" \
      --change-set-name "$name" --query '[Status,StatusReason]' --output text)
    case $set_status in CREATE_COMPLETE | FAILED) break ;; esac
    pause 2
  done
  if [[ $reason =~ (didn\'t contain changes|No updates are to be performed) ]]; then
    say "the stack is as it should be"
    change cloudformation delete-change-set --stack-name "$stack" --change-set-name "$name"
    return
  fi
  if [ "$set_status" = FAILED ]; then
    advise "$reason" >&2
    die "CloudFormation refuses the change: $reason"
  fi
  ask cloudformation describe-change-set --stack-name "$stack" --change-set-name "$name" \
    --query 'Changes[].ResourceChange.[Action,LogicalResourceId]' --output text | { grep -vx None || true; } | column -t | detail
  last_event=$(newest_event)
  change cloudformation execute-change-set --stack-name "$stack" --change-set-name "$name"
  changed=yes
  stands+=("stack $stack, which CloudFormation brings to its end by itself; its events: aws cloudformation describe-stack-events --region $region --stack-name $stack")
  follow_stack
  case $status in
    CREATE_COMPLETE | UPDATE_COMPLETE) ;;
    *)
      advise "$(cat "$scratch/failures")" >&2
      if [ "$status" = UPDATE_ROLLBACK_COMPLETE ]; then
        say "CloudFormation has undone the change: the fleet has release ${was[Release]-} again" >&2
        exit 3
      fi
      die "the stack is $status; the first failure above says why"
      ;;
  esac
  unset 'stands[-1]'
  stands+=("stack $stack, changed")
}

newest_event() {
  ask_stack describe-stack-events --stack-name "${stack_id:-$stack}" --no-paginate --query 'StackEvents[0].EventId' --output text
}

# Shows the events after last_event until the stack has reached a final status, which it sets. Reasons of
# failures are collected in $scratch/failures.
follow_stack() {
  local events id time resource event_status reason news='' begun=$SECONDS
  : >"$scratch/failures"
  [ -z "$dry_run" ] || return 0
  while :; do
    read_stack
    events=$(ask_stack describe-stack-events --stack-name "${stack_id:-$stack}" --no-paginate \
      --query 'StackEvents[].[EventId,Timestamp,LogicalResourceId,ResourceStatus,ResourceStatusReason]' --output text |
      awk -F '\t' -v last="$last_event" '$1 == last { exit } { print }' | tac)
    while IFS=$'\t' read -r id time resource event_status reason; do
      [ -n "$id" ] || continue
      last_event=$id news=yes
      [ "$reason" != None ] || reason=
      time=${time#*T}
      printf '  %.8s  %-22s %-28s %s\n' "$time" "$resource" "$event_status" "$reason"
      case $event_status in *_FAILED) echo "$resource: $reason" >>"$scratch/failures" ;; esac
    done <<<"$events"
    # a status without news may be the one before the change
    case $status in
      '' | *_COMPLETE | *_FAILED) [ -z "$news" ] && [ $((SECONDS - begun)) -lt 20 ] || return 0 ;;
    esac
    pause 3
  done
}

delete_stack() {
  last_event=$(newest_event)
  change cloudformation delete-stack --stack-name "$stack"
  follow_stack
  if [ -z "$dry_run" ] && [ -n "$status" ] && [ "$status" != DELETE_COMPLETE ]; then
    die "the stack is $status; mend what the events above name, and run this again"
  fi
  stack_id=
}

# ---- back ----

# Brings the release before back, after the nodes of the new one did not answer.
roll_back() {
  local back='' back_image=''
  if [ -n "$changed" ] && [ -n "${was[Release]-}" ] && [ "${was[Release]}" != "$release" ]; then
    back=${was[Release]}
    begin "goes back to release $back"
    change_stack UPDATE "$scratch/before.yaml" "$before"
  else
    # an earlier run has changed the stack: the last release that worked
    read -r back back_image < <(ask ec2 describe-images --owners self \
      --filters "Name=tag:moonfleet:fleet,Values=$fleet" Name=tag-key,Values=moonfleet:healthy \
      --query "sort_by(Images,&Tags[?Key=='moonfleet:healthy'].Value|[0])[?ImageId!='$image']|[-1].[Tags[?Key=='moonfleet:release'].Value|[0],ImageId]" \
      --output text)
    if [ "${back:-None}" = None ]; then
      die "the nodes of $release do not answer, and no release of this fleet has worked before. The stack stays, so that you can look at it (docs/deploy.md, 'When nodes do not answer'); packer/deploy --destroy --fleet $fleet removes it"
    fi
    begin "goes back to release $back"
    change_stack UPDATE packer/stack.yaml "$(parameters "$back" "$back_image")"
  fi
  if await_nodes "$back"; then
    say "release $release did not work, and the fleet has release $back again. The image of $release stays: see why with docs/deploy.md, and deploy another release" >&2
    exit 3
  fi
  die "neither the nodes of $release nor those of $back answer: is this machine in the driver's security group, and does the clock work? docs/deploy.md, 'When nodes do not answer'"
}
