#!/bin/sh
# SPDX-License-Identifier: MIT
# ~/.aws/config may call its default profile [default] or [profile default], and a file edited by
# hand and by tools can hold both. No reader merges them: one section counts and the other is
# dropped whole, its keys and all, without a word. Which one, the readers do not agree on. To
# botocore (the AWS CLI) it is whichever comes last; to the SDK for JavaScript always [profile
# default]. Two programs of one machine, with one file, can so work in two regions with two
# accounts.
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

section() { # NAME REGION
  printf '[%s]\nregion = %s\naws_access_key_id = KEY-OF-%s\naws_secret_access_key = none\n' \
    "$1" "$2" "$2"
}
{ section default eu-west-1; section 'profile default' us-east-1; } >profile-last
{ section 'profile default' us-east-1; section default eu-west-1; } >default-last

cat >ask.py <<'PY'
import botocore.session
session = botocore.session.Session()
print(session.get_config_variable("region"), session.get_credentials().access_key)
PY
cat >js/ask.mjs <<'JS'
import { loadSharedConfigFiles } from "@smithy/shared-ini-file-loader";
const { configFile } = await loadSharedConfigFiles();
console.log(configFile.default.region, configFile.default.aws_access_key_id);
JS
ask() { # FILE PROGRAM...
  file=$1
  shift
  env -i PATH="$PATH" HOME="$dir" AWS_CONFIG_FILE="$dir/$file" \
    AWS_SHARED_CREDENTIALS_FILE="$dir/none" \
    PYTHONPATH="$dir/tree/usr/lib/python3/dist-packages" AWS_EC2_METADATA_DISABLED=true "$@"
}
echo "python3-botocore $botocore; @smithy/shared-ini-file-loader $loader"
echo "[default] is of eu-west-1, [profile default] of us-east-1"
seen=
for file in profile-last default-last; do
  python=$(ask "$file" /usr/bin/python3 ask.py)
  javascript=$(ask "$file" node js/ask.mjs)
  printf '  %s:  botocore: %s;  JavaScript: %s\n' "$file" "$python" "$javascript"
  seen="$seen ${python%% *} ${javascript%% *}"
done
[ "$seen" = " us-east-1 us-east-1 eu-west-1 us-east-1" ] ||
  { echo "CHANGED: another section counts"; exit 1; }

# one setting in each
printf '[default]\nregion = eu-west-1\n[profile default]\noutput = json\n' >in-two
cat >region.py <<'PY'
import botocore.session
print(botocore.session.Session().get_config_variable("region"))
PY
python=$(ask in-two /usr/bin/python3 region.py)
javascript=$(ask in-two node js/ask.mjs)
echo "the region stands in [default], the output format in [profile default], which is last:"
echo "  botocore: region $python;  JavaScript: region ${javascript%% *}"
[ "$python ${javascript%% *}" = "None undefined" ] ||
  { echo "CHANGED: the sections are merged"; exit 1; }
echo "as found: one of the two sections is dropped whole, and the readers do not agree on which"
