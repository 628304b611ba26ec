# SPDX-License-Identifier: MIT
# The end of a fleet: lists what there is of it, asks, and removes it.

remove_fleet() {
  local images machines names snapshots each
  need_tools
  need_account
  begin "looks for what there is of fleet $fleet"
  read_stack
  images=$(ask ec2 describe-images --owners self --filters "Name=tag:moonfleet:fleet,Values=$fleet" --query 'Images[].ImageId' --output text | tr '\t' ' ')
  snapshots=$(ask ec2 describe-snapshots --owner-ids self --filters "Name=tag:moonfleet:fleet,Values=$fleet" --query 'Snapshots[].SnapshotId' --output text | tr '\t' ' ')
  machines=$(machines_of_builds)
  names=$(names_of_keys | tr '\n' ' ')
  if [ -z "$status$images$snapshots$machines$names" ]; then
    say "there is nothing of fleet $fleet in $region"
    return
  fi
  say "this will be removed:"
  [ -z "$status" ] || echo "  stack      $stack, with its instances ($status)"
  for each in $images; do echo "  image      $each, with its snapshots"; done
  for each in $snapshots; do echo "  snapshot   $each"; done
  for each in $machines; do echo "  instance   $each, of a build"; done
  for each in $names; do echo "  keys       $each"; done
  echo "  The folder with the keys of the fleet, $keys, stays."
  confirm
  if [ -n "$status" ]; then
    begin "removes the stack"
    delete_stack
    stands+=("stack $stack: removed")
  fi
  begin "removes images and keys"
  for each in $machines; do change ec2 terminate-instances --instance-ids "$each"; done
  for each in $images; do remove_image "$each"; done
  # those that no image has
  if [ -z "$dry_run" ]; then
    snapshots=$(ask ec2 describe-snapshots --owner-ids self --filters "Name=tag:moonfleet:fleet,Values=$fleet" --query 'Snapshots[].SnapshotId' --output text)
    for each in $snapshots; do change ec2 delete-snapshot --snapshot-id "$each"; done
  fi
  for each in $names; do change ssm delete-parameter --name "$each"; done
  [ -n "$dry_run" ] || say "fleet $fleet is removed"
}

confirm() {
  local answer
  [ -z "$yes$dry_run" ] || return 0
  step=start
  [ -t 0 ] || die "nothing is removed: without a terminal, --destroy needs --yes"
  read -r -p "Type the name of the fleet to remove it: " answer || true
  [ "$answer" = "$fleet" ] || die "nothing is removed"
}
