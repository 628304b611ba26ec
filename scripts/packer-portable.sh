#!/bin/bash
# SPDX-License-Identifier: MIT
# scripts/packer-portable.sh DIR: writes a copy of packer/ to DIR that packer 1.6 can read, the version of
# Debian 12 and the last one under a free licence. Without the parts that only packer 1.7 understands,
# the machine on which an image is made also answers version 1 of the metadata service.
set -euo pipefail

[ $# = 1 ] || { sed -n 's/^# \(scripts[^:]*\):.*/usage: \1/p' "$0" >&2; exit 2; }
from=$(cd "$(dirname "$0")/../packer" && pwd)
mkdir -p "$1"
for file in "$from"/*.pkr.hcl; do
  [ "${file##*/}" = plugins.pkr.hcl ] || sed '/# packer>=1.7 begin/,/# packer>=1.7 end/d' "$file" >"$1/${file##*/}"
done
cp -p "$from/provision.sh" "$1/"
