#!/bin/bash
# scripts/deb.sh: builds the Debian package and its source package into build/deb, and prints their
# paths; `make deb` runs it. The package is for the release and the architecture of this machine.
#
#   DEB_REVISION   revision of the package (default: that of debian/changelog), such as 2
#
# Equal trees give equal files. Needs dpkg-dev, debhelper and what debian/control names.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$PWD/build/deb
rm -rf "$out"
mkdir -p "$out"

tarball=$(scripts/source.sh "$out")
version=$(basename "$tarball" .tar.gz)
version=${version#moonfleet-}
read -r _ full _ <debian/changelog
if [[ $full != "($version-"* ]]; then
  echo "scripts/deb.sh: debian/changelog begins with version $full, and host/base/version.h has" \
    "$version: add an entry to debian/changelog" >&2
  exit 1
fi
mv "$tarball" "$out/moonfleet_$version.orig.tar.gz"
tar --extract --directory "$out" --file "$out/moonfleet_$version.orig.tar.gz"
tree=$out/moonfleet-$version
cp -a debian "$tree/"
if [ -n "${DEB_REVISION:-}" ]; then
  sed -i "1s/([^)]*)/($version-$DEB_REVISION)/" "$tree/debian/changelog"
fi

SOURCE_DATE_EPOCH=$(scripts/commit.sh --time)
export SOURCE_DATE_EPOCH
if ! (cd "$tree" && dpkg-buildpackage --no-sign --build=full) >"$out/build.log" 2>&1; then
  tail -n 40 "$out/build.log" >&2
  echo "scripts/deb.sh: dpkg-buildpackage failed; all that it said is in $out/build.log" >&2
  exit 1
fi
rm -rf "$tree"
find "$out" -name '*.deb' -o -name '*.dsc' -o -name '*.changes'
