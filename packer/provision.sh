#!/bin/bash
# SPDX-License-Identifier: MIT
# provision.sh: makes the machine on which it runs, as root, an image of a release: installs the package,
# tries the node, and removes what must not be in every copy. Packer copies it there and runs it; when it
# fails, there is no image. It reads MOONFLEET_RELEASE, MOONFLEET_RPM (the package on this machine) and
# MOONFLEET_RPM_SHA256.
set -euo pipefail
shopt -s nullglob

: "${MOONFLEET_RELEASE:?the release of the image}"
: "${MOONFLEET_RPM:?the path of the package}"
: "${MOONFLEET_RPM_SHA256:?the SHA-256 of the package}"

say() { echo "provision: $*"; }
fail() { say "$*" >&2; exit 1; }

install_package() {
  local digest
  digest=$(sha256sum "$MOONFLEET_RPM" | cut -d ' ' -f 1)
  [ "$digest" = "${MOONFLEET_RPM_SHA256,,}" ] ||
    fail "the package that arrived has SHA-256 $digest, and $MOONFLEET_RPM_SHA256 was sent; run the command again"
  dnf -y -q install "$MOONFLEET_RPM"
  printf '%s\n' "$MOONFLEET_RELEASE" >/etc/moonfleet/release
  systemctl is-enabled --quiet moonfleet.service || fail "the package has not enabled moonfleet.service"
}

# As installed, the node listens on loopback, without keys. A job goes through each of its workers.
try_node() {
  systemctl restart moonfleet.service || {
    journalctl -u moonfleet.service -n 50 --no-pager >&2
    fail "the node has not started; its log is above"
  }
  moonfleet doctor --peers 127.0.0.1:5440 || fail "the node has started, and does not work"
  systemctl stop moonfleet.service
  local result
  result=$(systemctl show -p Result --value moonfleet.service)
  [ "$result" = success ] || fail "the node has not ended as it should: $result"
}

# What a node of a fleet is told; the fleet is in the instance's tags, and the keys are in SSM.
configure() {
  cat >/etc/sysconfig/moonfleet <<'EOF'
# Written when the image was made (packer/provision.sh). Every flag of moonfleet serve can stand here.
MOONFLEET_LISTEN=tcp://0.0.0.0:5440
MOONFLEET_TLS=ssm:
MOONFLEET_DISCOVER=ec2
EOF
}

# Everything by which copies of a machine could be mistaken for each other, or that tells of its past.
# The journal goes to memory first, or it would write its files again.
remove_identity() {
  local history=(~root/.*_history /home/*/.*_history)
  if command -v cloud-init >/dev/null; then cloud-init clean --logs; fi
  if systemctl is-active --quiet amazon-ssm-agent.service; then systemctl stop amazon-ssm-agent.service; fi
  dnf -q clean all
  journalctl --relinquish-var
  rm -rf "$MOONFLEET_RPM" /var/cache/dnf/* /var/lib/moonfleet/* /var/lib/amazon/ssm/* /var/lib/cloud/* \
    /var/log/journal/* /var/log/amazon/ssm/* "${history[@]}" ~root/.ssh/* /home/*/.ssh/authorized_keys \
    /etc/ssh/ssh_host_*
  find /var/log -type f -exec truncate -s 0 {} +
  rm -f /var/lib/systemd/random-seed /var/lib/systemd/credential.secret /var/lib/dbus/machine-id
  # Last, because the journal cannot be read without it.
  : >/etc/machine-id
}

# Fails if something is left, for instance because a service has written it again.
check_identity() {
  local left=(/etc/ssh/ssh_host_* /var/lib/moonfleet/* /var/log/journal/* /var/lib/cloud/*
    /home/*/.ssh/authorized_keys ~root/.ssh/* ~root/.*_history /home/*/.*_history)
  [ ! -s /etc/machine-id ] || left+=(/etc/machine-id)
  [ ! -e /var/lib/dbus/machine-id ] || left+=(/var/lib/dbus/machine-id)
  [ ${#left[@]} = 0 ] || fail "the image would have: ${left[*]}"
}

[ "$(id -u)" = 0 ] || fail "this must run as root, on the machine that becomes the image"
say "installs the package"
install_package
say "tries the node"
try_node
configure
say "removes what only this machine has"
remove_identity
check_identity
say "done: $(rpm -q moonfleet), release $MOONFLEET_RELEASE"
