#!/bin/bash
# scripts/rpm.sh: builds the RPM and its source RPM into build/rpm, and prints their paths; `make rpm`
# runs it. On Amazon Linux 2023 and Fedora they are for use. On Debian they are a rehearsal of the
# spec: they need the libraries of this Debian, by Debian's names of versions.
#
#   RPM_RELEASE   release of the package (default: 1), such as 2 for another build of one version
#
# Equal trees give equal files, on one distribution. Needs rpmbuild and what the spec requires.
set -euo pipefail
cd "$(dirname "$0")/.."
release=${RPM_RELEASE:-1}
if ! [[ $release =~ ^[0-9][0-9A-Za-z.]*$ ]]; then
  echo "scripts/rpm.sh: RPM_RELEASE is a number, such as 2 or 2.20261231, not '$release'" >&2
  exit 2
fi
top=$PWD/build/rpm
rm -rf "$top"/{BUILD,BUILDROOT,SPECS,SOURCES,RPMS,SRPMS}
mkdir -p "$top"/{BUILD,SPECS,SOURCES}

bundled=$(scripts/rpm-sources.sh "$top/tarballs")
while read -r name version; do
  # a spec of another version would build something else, or nothing
  if [ "$(sed -n "s/^%global ${name/-/_}_version //p" rpm/moonfleet.spec)" != "$version" ]; then
    echo "scripts/rpm.sh: rpm/sources has $name $version, and rpm/moonfleet.spec another" >&2
    exit 1
  fi
  cp "$top/tarballs/$name-$version.tar.gz" "$top/SOURCES/"
done <<<"$bundled"
tarball=$(scripts/source.sh "$top/SOURCES")
version=$(basename "$tarball" .tar.gz)
if [ "$(sed -n 's/^Version: *//p' rpm/moonfleet.spec)" != "${version#moonfleet-}" ]; then
  echo "scripts/rpm.sh: the Version of rpm/moonfleet.spec is not that of host/base/version.h," \
    "${version#moonfleet-}" >&2
  exit 1
fi
sed "s/^%global package_release .*/%global package_release $release/" rpm/moonfleet.spec \
  >"$top/SPECS/moonfleet.spec"

SOURCE_DATE_EPOCH=$(scripts/commit.sh --time)
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
touch -d "@$SOURCE_DATE_EPOCH" "$top/SPECS/moonfleet.spec" "$top"/SOURCES/*
options=()
if [ -z "$(rpm --eval '%{?_unitdir}')" ]; then
  # no systemd-rpm-macros, and no packages that could be required
  options=(--nodeps --load "$PWD/rpm/macros.devhost")
fi
log=$top/build.log
if ! rpmbuild "${options[@]}" --define "_topdir $top" --define "_buildhost moonfleet.invalid" \
  --define "use_source_date_epoch_as_buildtime 1" --define "clamp_mtime_to_source_date_epoch 1" \
  --define "build_mtime_policy clamp_to_source_date_epoch" \
  -ba "$top/SPECS/moonfleet.spec" >"$log" 2>&1; then
  tail -n 40 "$log" >&2
  echo "scripts/rpm.sh: rpmbuild failed; all that it said is in $log" >&2
  exit 1
fi
find "$top/SRPMS" "$top/RPMS" -name '*.rpm'
