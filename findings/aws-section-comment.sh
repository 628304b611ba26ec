#!/bin/sh
# SPDX-License-Identifier: MIT
# Behind the name of a section in ~/.aws/config there may be a comment. botocore (the AWS CLI) reads
# the file with a parser to which the name ends at the last "]" of the line, not at the first: a
# comment that holds one becomes part of the name. "[default] # see [1]" is a section that nobody
# asks for, and a line "[profile x] ; was [y]" makes the profile vanish. There is no warning, and
# the file is right: the SDK for JavaScript, which ends the name at the first "]", reads both. Only
# a comment with brackets does it; "# see 1" is one to both.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
botocore=1.29.27+repack-1
loader=4.7.2
# without a version: what botocore imports, from the same release
apt-get -qq -o APT::Sandbox::User=root download "python3-botocore=$botocore" \
  python3-jmespath=1.0.1-1 python3-dateutil=2.8.2-2 python3-six=1.16.0-4 python3-urllib3
for package in *.deb; do dpkg -x "$package" tree; done
npm install --loglevel=error --no-audit --no-fund --prefix js \
  "@smithy/shared-ini-file-loader@$loader" >/dev/null || exit 2

cat >ask.py <<'PY'
import botocore.session
print(*botocore.session.Session().available_profiles or ["none"])
PY
cat >js/ask.mjs <<'JS'
import { loadSharedConfigFiles } from "@smithy/shared-ini-file-loader";
const { configFile } = await loadSharedConfigFiles();
console.log(...Object.keys(configFile));
JS
ask() { # PROGRAM...
  env -i PATH="$PATH" HOME="$dir" AWS_CONFIG_FILE="$dir/config" \
    AWS_SHARED_CREDENTIALS_FILE="$dir/none" \
    PYTHONPATH="$dir/tree/usr/lib/python3/dist-packages" "$@"
}
echo "python3-botocore $botocore; @smithy/shared-ini-file-loader $loader"
try() { # LINE BOTOCORE JAVASCRIPT: the profiles that each should find
  printf '%s\nregion = eu-west-1\n' "$1" >config
  python=$(ask /usr/bin/python3 ask.py)
  javascript=$(ask node js/ask.mjs)
  printf '  %-24s profiles of botocore: %s; of JavaScript: %s\n' "$1" "$python" "$javascript"
  [ "$python/$javascript" = "$2/$3" ] || { echo "CHANGED: other profiles"; exit 1; }
}
try '[default] # see 1' default default
try '[default] # see [1]' none default
try '[profile x] ; was y' x x
try '[profile x] ; was [y]' none x
echo "as found: to botocore a section's name ends at the last bracket of its line"
