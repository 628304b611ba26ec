#!/bin/bash
# scripts/rpm.sh [al2023]: builds the RPM and its source RPM into build/rpm, with the SHA-256 of each
# beside it, and prints their paths; `make rpm` runs it.
#
# On Amazon Linux 2023 and Fedora the packages are for use. On Debian they are a rehearsal of the spec:
# they need the libraries of this Debian, whose versions have other names. With al2023 (`make rpm-al2023`)
# the RPM is built from the source RPM in a container of Amazon Linux 2023, by docker or podman.
#
#   RPM_RELEASE   release of the package (default: 1), such as 2 for another build of one version
#   RPM_ARCH      al2023: x86_64 or aarch64 (default: that of this machine)
#
# Equal trees give equal files, on one distribution. Needs rpmbuild and what the spec requires.
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD/build/rpm
release=${RPM_RELEASE:-1}

stop() { # MESSAGE...
  echo "scripts/rpm.sh: $*" >&2
  exit 1
}

[ $# = 0 ] || [ "$*" = al2023 ] || stop "usage: scripts/rpm.sh [al2023]"
[[ $release =~ ^[0-9][0-9A-Za-z.]*$ ]] ||
  stop "RPM_RELEASE is a number, such as 2 or 2.20261231, not '$release'"
if [ "${1:-}" = al2023 ]; then
  arch=${RPM_ARCH:-$(uname -m)}
  case $arch in
    x86_64) platform=linux/amd64 ;;
    aarch64) platform=linux/arm64 ;;
    *) stop "RPM_ARCH is x86_64 or aarch64, which Amazon Linux 2023 has, not '$arch'" ;;
  esac
  engine=''
  for each in docker podman; do
    if [ -z "$engine" ] && "$each" info >/dev/null 2>&1; then engine=$each; fi
  done
  [ -n "$engine" ] || stop "an RPM for Amazon Linux 2023 is built in a container of it, and neither" \
    "'docker info' nor 'podman info' succeeds here. Install or start one of them, or unpack the" \
    "source tarball (make dist) on a machine with Amazon Linux 2023, and run make rpm there"
fi
command -v rpmbuild >/dev/null || stop "there is no rpmbuild: install the package rpm (Debian) or" \
  "rpm-build (Amazon Linux, Fedora)"

SOURCE_DATE_EPOCH=$(scripts/commit.sh --time)
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
reproducible=(--define "_buildhost moonfleet.invalid" --define "use_source_date_epoch_as_buildtime 1"
  --define "clamp_mtime_to_source_date_epoch 1"
  --define "build_mtime_policy clamp_to_source_date_epoch") # the latter from rpm 4.20 on

stage() { # puts the spec and all sources where rpmbuild takes them
  local bundled name version tarball
  rm -rf "$top"/{BUILD,BUILDROOT,SPECS,SOURCES,RPMS,SRPMS}
  mkdir -p "$top"/{SPECS,SOURCES}
  bundled=$(scripts/rpm-sources.sh "$top/tarballs")
  while read -r name version; do
    # a spec of another version would build something else, or nothing
    [ "$(sed -n "s/^%global ${name/-/_}_version //p" rpm/moonfleet.spec)" = "$version" ] ||
      stop "rpm/sources has $name $version, and rpm/moonfleet.spec another version"
    cp "$top/tarballs/$name-$version.tar.gz" "$top/SOURCES/"
  done <<<"$bundled"
  tarball=$(scripts/source.sh "$top/SOURCES")
  version=$(basename "$tarball" .tar.gz)
  [ "$(sed -n 's/^Version: *//p' rpm/moonfleet.spec)" = "${version#moonfleet-}" ] ||
    stop "the Version of rpm/moonfleet.spec is not that of host/base/version.h, ${version#moonfleet-}"
  sed "s/^%global package_release .*/%global package_release $release/" rpm/moonfleet.spec \
    >"$top/SPECS/moonfleet.spec"
  touch -d "@$SOURCE_DATE_EPOCH" "$top/SPECS/moonfleet.spec" "$top"/SOURCES/*
}

logged() { # COMMAND...
  if ! "$@" >"$top/build.log" 2>&1; then
    tail -n 40 "$top/build.log" >&2
    stop "the build failed; all of its output is in $top/build.log"
  fi
}

# rpm writes the folder of a build into source RPMs, and their digest into RPMs, so that folder is the
# same one everywhere.
take_build_folder() {
  builddir=/var/tmp/moonfleet-rpm
  mkdir -m 700 "$builddir" 2>/dev/null || true
  if [ -L "$builddir" ] || ! [ -d "$builddir" ] || ! [ -O "$builddir" ]; then
    stop "$builddir, where the RPM is built, is not a folder of this user: remove it"
  fi
  exec 8<"$builddir"
  flock 8 # waits for another build
  find "$builddir" -mindepth 1 -delete
  trap 'find "$builddir" -mindepth 1 -delete' EXIT
}

build() { # -ba or -bs
  local options=()
  take_build_folder
  if [ -z "$(rpm --eval '%{?_unitdir}')" ]; then
    # no systemd-rpm-macros, and no packages that could be required
    options=(--nodeps --load "$PWD/rpm/macros.devhost")
  fi
  cp -a "$top/SPECS" "$top/SOURCES" "$builddir/"
  mkdir "$builddir"/{BUILD,RPMS,SRPMS}
  logged rpmbuild "${options[@]}" "${reproducible[@]}" --define "_topdir $builddir" "$1" \
    "$builddir/SPECS/moonfleet.spec"
  cp -a "$builddir/RPMS" "$builddir/SRPMS" "$top/"
}

build_in_container() {
  local image=moonfleet-rpm-al2023
  logged "$engine" build --platform "$platform" --tag "$image" --file rpm/Dockerfile.al2023 rpm
  # without a network: all sources are in the source RPM
  logged "$engine" run --rm --platform "$platform" --network none --volume "$top:/rpm" \
    --env SOURCE_DATE_EPOCH --env LC_ALL --env TZ "$image" \
    rpmbuild "${reproducible[@]}" --define "_topdir /tmp/rpm" --define "_rpmdir /rpm/RPMS" \
    --rebuild "/rpm/SRPMS/$(basename "$top"/SRPMS/*.src.rpm)"
}

stage
if [ "${1:-}" = al2023 ]; then
  build -bs
  build_in_container
else
  build -ba
fi
find "$top/SRPMS" "$top/RPMS" -name '*.rpm' | while read -r file; do
  sha256sum "$file" | cut -d ' ' -f 1 >"$file.sha256"
  echo "$file"
done
