# SPDX-License-Identifier: MIT
# The package to install: finds or builds it, and compares its digest and its architecture with what they
# should be.

package_sha256=

rpm_arch() { if [ "$arch" = arm64 ]; then echo aarch64; else echo x86_64; fi; }

builds_here() {
  [ "$(. /etc/os-release && echo "${ID-}:${VERSION_ID-}")" = amzn:2023 ]
}

find_package() {
  [ -z "$no_build" ] || return 0
  begin "looks for the package"
  [ -n "$rpm" ] || build_package
  if [ ! -f "$rpm" ]; then # in a dry run
    package_sha256="<its SHA-256>"
    return
  fi
  package_sha256=$(sha256sum "$rpm" | cut -d ' ' -f 1)
  if [ -f "$rpm.sha256" ]; then
    check_digest "$(head -n 1 "$rpm.sha256" | cut -d ' ' -f 1)" "$rpm.sha256"
  fi
  [ -z "$sha256" ] || check_digest "$sha256" --sha256
  rpm -K --nosignature "$rpm" >"$scratch/check" 2>&1 ||
    die "$rpm is damaged: $(tail -n 1 "$scratch/check"); fetch or build it again"
  local name
  name=$(rpm -qp --nosignature --qf '%{NAME} %{ARCH}' "$rpm")
  [ "$name" = "moonfleet $(rpm_arch)" ] ||
    die "$rpm is ${name/ / for }, and the fleet needs moonfleet for $(rpm_arch); give --arch, or another --rpm"
  stands+=("package $rpm, SHA-256 $package_sha256")
  say "package $rpm, SHA-256 $package_sha256"
}

check_digest() { # EXPECTED WHERE
  [ "${1,,}" = "$package_sha256" ] ||
    die "$rpm is not what it should be: its SHA-256 is $package_sha256, and $2 says ${1,,}; fetch or build it again"
}

# Builds the package, on Amazon Linux 2023: here, or in a container.
build_package() {
  local target=rpm-al2023
  if builds_here; then
    [ "$(uname -m)" = "$(rpm_arch)" ] ||
      die "this machine builds packages for $(uname -m), and the fleet is $arch; give --arch, or --rpm FILE"
    target=rpm
  fi
  begin "builds the package"
  act make --no-print-directory "$target" RPM_ARCH="$(rpm_arch)"
  rpm=$(find build/rpm -name "moonfleet-[0-9]*.$(rpm_arch).rpm" -printf '%T@ %p\n' 2>/dev/null | sort -n | tail -n 1 | cut -d ' ' -f 2-)
  if [ -z "$rpm" ]; then
    [ -n "$dry_run" ] || die "make $target has left no package below build/rpm"
    rpm="<the package of make $target>"
  fi
}
