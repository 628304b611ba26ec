#!/bin/bash
# scripts/source.sh DIR: writes the source tarball, DIR/moonfleet-VERSION.tar.gz, and prints its path.
# It has the files of this tree, but debian/, and what is generated without a compiler (makefiles, the
# embedded library, man pages: `make generate`), so that it builds on a machine without premake and Lua.
# Equal trees give equal tarballs: the times are that of the last commit, or SOURCE_DATE_EPOCH. Works in
# a clone, and in what is unpacked from such a tarball.
set -euo pipefail
if [ $# != 1 ]; then
  echo "usage: scripts/source.sh DIR" >&2
  exit 2
fi
mkdir -p "$1"
dir=$(realpath "$1")
cd "$(dirname "$0")/.."

commit=$(scripts/commit.sh)
if [ "$commit" = unknown ]; then
  echo "scripts/source.sh: this tree is neither a clone of a repository nor unpacked from a source" \
    "tarball, so nobody could tell what is packed: take one of these" >&2
  exit 1
fi
make --no-print-directory generate >&2
version=$(sed -n 's/^#define MOONFLEET_VERSION "\(.*\)"$/\1/p' host/base/version.h)
name=moonfleet-$version
time=$(scripts/commit.sh --time)

staging=$(mktemp -d "$dir/.staging.XXXXXX")
trap 'rm -rf "$staging"' EXIT
mkdir "$staging/$name"
{
  git ls-files -z --cached --others --exclude-standard -- ':!debian' 2>/dev/null ||
    find . -type f ! -path './build/*' ! -path './debian/*' -printf '%P\0'
  find build/Makefile build/*.make build/lua-* build/gen build/man -type f -print0
} | while IFS= read -r -d '' file; do
  [ ! -e "$file" ] || printf '%s\0' "$file" # tracked, but removed
done | tar --create --no-recursion --null --files-from=- | tar --extract --directory="$staging/$name"
echo "$commit" >"$staging/$name/.commit"

tarball=$dir/$name.tar.gz
tar --create --directory="$staging" --sort=name --format=gnu --owner=0 --group=0 --numeric-owner \
  --mode=u=rwX,go=rX --mtime="@$time" "$name" | gzip -n -9 >"$tarball.new"
mv "$tarball.new" "$tarball"
echo "$tarball"
