# SPDX-License-Identifier: MIT
# The keys of the fleet, in SSM: makes and stores those that are missing. Never reads any.

names_of_keys() {
  ask ssm describe-parameters --parameter-filters "Key=Path,Option=OneLevel,Values=/moonfleet/$fleet" \
    --query 'Parameters[].Name' --output text | tr '\t' '\n'
}

# Leaves out the advice for those who call moonfleet keygen themselves.
keygen() { # FLAG...
  local code=0
  act "$program" keygen "$keys" "$@" --region "$region" 2> >(tee "$scratch/error" >&2) |
    sed -u '/^$/d; /^Next:/,$d' | detail || code=$?
  if [ "$code" != 0 ]; then
    advise "$(cat "$scratch/error")" ssm >&2
    return 1
  fi
}

store_keys() {
  local path=/moonfleet/$fleet have
  begin "looks for the keys of the fleet"
  have=$(names_of_keys)
  if grep -qx "$path/node" <<<"$have" && grep -qx "$path/driver" <<<"$have"; then
    say "keys are in SSM already: $path/node and $path/driver"
  elif [ -e "$keys/ca.crt" ]; then
    begin "stores the keys of $keys"
    keygen --store "ssm:$path"
  elif [ -n "$have" ]; then
    die "SSM has ${have//$'\n'/, } and lacks $path/node or $path/driver, and $keys has no keys; name the folder with --keys DIR"
  else
    begin "makes the keys of the fleet"
    act mkdir -p "$(dirname "$keys")"
    keygen --fleet "$fleet" --store "ssm:$path"
    say "back up $keys: without its ca.key the fleet gets no more keys"
  fi
  stands+=("keys of the fleet in SSM, $path")
}
