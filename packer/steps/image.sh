# SPDX-License-Identifier: MIT
# The image of the release: takes the one that there is, or has packer make it.

image=           # its id

find_image() { # sets image, image_state and image_sha256; image is empty if there is none
  local found
  found=$(ask ec2 describe-images --owners self --filters "Name=name,Values=moonfleet/$fleet/$release/$arch" \
    --query 'Images[0].[ImageId,State,Tags[?Key==`moonfleet:rpm-sha256`].Value|[0]]' --output text)
  read -r image image_state image_sha256 <<<"$found"
  [ "$image" != None ] || image=
}

bake_image() {
  begin "looks for the image of $release"
  find_image
  # packer tags an image when it is complete
  if [ "${image:+$image_state}" = failed ] || [ "${image:+$image_sha256}" = None ]; then
    say "$image is what an interrupted packer has left; removes it"
    remove_image "$image"
    image=
  fi
  if [ -n "$no_build" ]; then
    [ -n "$image" ] || die "--no-build: release $release of fleet $fleet has no image for $arch in $region$(list_images)"
  elif [ -n "$image" ] && [ "$image_sha256" != "$package_sha256" ]; then
    die "release $release exists already: $image has the package with SHA-256 $image_sha256, and this one has $package_sha256. A release never changes: choose another --release, or --no-build to use the image"
  fi
  if [ -n "$image" ]; then
    [ "$image_state" = available ] || ask ec2 wait image-available --image-ids "$image"
    say "image $image is there already"
  else
    warn_of_machines
    run_packer
  fi
  stands+=("image ${image:=<the image>} of release $release")
}

# Prints the releases that have images, as the end of a sentence.
list_images() {
  local releases
  releases=$(ask ec2 describe-images --owners self --filters "Name=tag:moonfleet:fleet,Values=$fleet" "Name=architecture,Values=$arch" \
    --query 'sort_by(Images,&CreationDate)[].Tags[?Key==`moonfleet:release`].Value|[]' --output text)
  if [ -n "$releases" ]; then echo "; these have one: ${releases//$'\t'/, }"; fi
}

# Machines of builds that were killed terminate themselves after an hour.
warn_of_machines() {
  local machines
  machines=$(machines_of_builds)
  if [ -n "$machines" ]; then
    say "still there from another build: $machines. If nobody builds, end it: aws ec2 terminate-instances --region $region --instance-ids $machines"
  fi
}

machines_of_builds() {
  ask ec2 describe-instances --filters Name=tag-key,Values=moonfleet:baking "Name=tag:moonfleet:fleet,Values=$fleet" \
    Name=instance-state-name,Values=pending,running,stopping,stopped \
    --query 'Reservations[].Instances[].InstanceId' --output text | tr '\t' ' '
}

run_packer() {
  local folder=packer log=$state/packer.log code=0 builder="${subnets%%,*}"
  local vars=(-var "release=$release" -var "fleet=$fleet" -var "rpm=$rpm" -var "rpm_sha256=$package_sha256"
    -var "region=$region" -var "arch=$arch" -var "subnet_id=$builder" -var "ec2_endpoint=$endpoint")
  if [ -n "$outside" ]; then
    vars+=(-var ssh_interface=public_ip)
  else
    vars+=(-var ssh_interface=private_ip -var "ssh_from=[\"${ssh_from:-$vpc_cidr}\"]")
  fi
  begin "makes the image of $release"
  if [ -n "$portable" ]; then
    folder=$state/packer
    act scripts/packer-portable.sh "$folder"
  else
    [ -n "$dry_run" ] || packer init packer >"$scratch/init" 2>&1 ||
      { detail <"$scratch/init" >&2; die "packer init has failed; what it said is above"; }
  fi
  if [ -n "$dry_run" ]; then
    [ -n "$portable" ] || show packer init packer
    show packer build -color=false "${vars[@]}" "$folder"
    return
  fi
  run_child "$log" env -u AWS_ENDPOINT_URL packer build -color=false "${vars[@]}" "$folder" || code=$?
  if [ "$code" != 0 ]; then
    advise "$(cat "$log")" >&2
    die "packer has failed, and there is no image to use; what it said is above, and in $log"
  fi
  find_image
  [ -n "$image" ] || die "packer has ended without an image; what it said is above, and in $log"
  say "image $image is made"
}

# Deregisters an image and deletes its snapshots.
remove_image() { # IMAGE
  local snapshots snapshot
  snapshots=$(ask ec2 describe-images --image-ids "$1" --query 'Images[0].BlockDeviceMappings[].Ebs.SnapshotId' --output text)
  change ec2 deregister-image --image-id "$1"
  for snapshot in $snapshots; do
    [ "$snapshot" = None ] || change ec2 delete-snapshot --snapshot-id "$snapshot"
  done
}

# The one in use stays, whatever its age.
remove_old_images() {
  [ -n "$keep" ] || return 0
  begin "removes old images"
  local all old n=0 created
  all=$(ask ec2 describe-images --owners self --filters "Name=tag:moonfleet:fleet,Values=$fleet" \
    --query 'reverse(sort_by(Images,&CreationDate))[].[ImageId,CreationDate]' --output text)
  while read -r old created; do
    if [ -z "$old" ] || [ "$old" = "$image" ]; then continue; fi
    n=$((n + 1))
    [ "$n" -ge "$keep" ] || continue
    say "removes image $old of ${created%%T*}"
    remove_image "$old"
  done <<<"$all"
}
