#!/bin/bash
# scripts/rpm-sources.sh DIR: brings the tarballs of rpm/sources to DIR, as NAME-VERSION.tar.gz, and
# checks them. What DIR has already is not fetched again: on a machine without network put the
# tarballs there as they are upstream. Needs curl, or apt for Debian's.
set -euo pipefail
if [ $# != 1 ]; then
  echo "usage: scripts/rpm-sources.sh DIR" >&2
  exit 2
fi
dir=$1
sources=$(dirname "$0")/../rpm/sources
mkdir -p "$dir/original"

stop() { # MESSAGE...
  echo "scripts/rpm-sources.sh: $*" >&2
  exit 1
}

sum() { # FILE
  sha256sum "$1" | cut -d ' ' -f 1
}

fetch() { # PLACE FILE: fails if it is not there
  local mirror
  case $1 in
    debian:*)
      [ -x /usr/lib/apt/apt-helper ] || return 1
      # shellcheck disable=SC2016
      mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(COMPONENT)' |
        sed -n 's/ Debian main$//p' | grep -v security | head -n 1)
      [ -n "$mirror" ] || return 1
      /usr/lib/apt/apt-helper -qq download-file "${mirror%/}/pool/${1#debian:}" "$2" >/dev/null 2>&1
      ;;
    *) curl --fail --silent --location --retry 2 --connect-timeout 20 --output "$2" "$1" ;;
  esac
}

number=0 names=()
declare -A versions sums places
while read -r name version sha256 place; do
  number=$((number + 1))
  case $name in '#'* | '') continue ;; esac
  [[ $sha256 =~ ^[0-9a-f]{64}$ && -n $place ]] ||
    stop "rpm/sources:$number: needs a name, a version, a SHA-256 and a place"
  [ -n "${versions[$name]:-}" ] || names+=("$name")
  [ "${versions[$name]:=$version}" = "$version" ] ||
    stop "rpm/sources:$number: $name has two versions, ${versions[$name]} and $version"
  sums[$name]+=" $sha256"
  places[$name]+=" $number|$sha256|$place"
done <"$sources"

for name in "${names[@]}"; do
  tarball=$dir/$name-${versions[$name]}.tar.gz
  original=$dir/original/$name-${versions[$name]}
  # a tarball that somebody put there
  if [ ! -e "$original" ] && [ -e "$tarball" ]; then cp "$tarball" "$original"; fi
  for each in ${places[$name]}; do
    [ ! -e "$original" ] || break
    IFS='|' read -r number sha256 place <<<"$each"
    rm -f "$original.new"
    fetch "$place" "$original.new" || continue
    found=$(sum "$original.new")
    [ "$found" = "$sha256" ] || stop "$name ${versions[$name]} of $place is not what rpm/sources:$number" \
      "names: it has the SHA-256 $found, not $sha256. Nothing was built. The file is" \
      "$original.new; if it is what upstream has signed, correct rpm/sources"
    mv "$original.new" "$original"
  done
  [ -e "$original" ] || stop "$name ${versions[$name]} is at none of its places: $(for each in \
    ${places[$name]}; do echo "${each##*|}"; done | paste -sd ' '). Put it there by hand: $tarball"
  case "${sums[$name]} " in
    *" $(sum "$original") "*) ;;
    *) stop "$original has the SHA-256 $(sum "$original"), which rpm/sources does not have for $name" \
      "${versions[$name]}. Remove it, and $tarball, and try again" ;;
  esac
  # gzip, whatever it was: the spec has one name for it
  case $(head -c 6 "$original" | od -An -tx1 | tr -d ' \n') in
    1f8b*) cp "$original" "$tarball.new" ;;
    fd377a585a00) xz -dc "$original" | gzip -n -9 >"$tarball.new" ;;
    *) stop "$original is packed neither by gzip nor by xz" ;;
  esac
  mv "$tarball.new" "$tarball"
  printf '%s %s\n' "$name" "${versions[$name]}"
done
