#!/bin/sh
# SPDX-License-Identifier: MIT
# An nng_aio may be used for one operation after the other, and nng_sleep_aio is one of them: "wait
# a while, then receive". But an aio that has slept once remembers it. From then on an operation
# whose time is over reports 0, success, as a sleep does, instead of NNG_ETIMEDOUT; a receive has
# then succeeded without a message, and code that trusts the result uses NULL. The same socket,
# asked with another aio, reports the timeout. So: ask for the message, not for the result, or keep
# an aio of its own for sleeping. nng 1.10.1 and 1.12.4 do the same.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
version=1.5.2-2
tls=2.28.3-1
apt-get -qq -o APT::Sandbox::User=root download "libnng1=$version" "libnng-dev=$version" \
  "libmbedtls14=$tls" "libmbedx509-1=$tls" "libmbedcrypto7=$tls"
for package in *.deb; do dpkg -x "$package" root; done
lib=$(dirname "$(find root -name 'libnng.so.1')")

cat >sleep.c <<'C'
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <stdio.h>

static void receive(nng_socket socket, nng_aio *aio)
{
  nng_aio_set_timeout(aio, 100);
  nng_recv_aio(socket, aio);
  nng_aio_wait(aio);
  printf(" %d/%s", nng_aio_result(aio), nng_aio_get_msg(aio) ? "message" : "none");
}

int main(void)
{
  nng_socket socket;
  nng_aio *slept, *other;
  if (nng_pair0_open(&socket)) return 1;
  if (nng_aio_alloc(&slept, NULL, NULL) || nng_aio_alloc(&other, NULL, NULL)) return 1;
  receive(socket, slept);
  nng_sleep_aio(10, slept);
  nng_aio_wait(slept);
  receive(socket, slept);
  receive(socket, slept);
  receive(socket, other);
  nng_aio_free(slept);
  nng_aio_free(other);
  nng_close(socket);
  puts("");
  return 0;
}
C
gcc -Iroot/usr/include sleep.c -o sleep "$lib/libnng.so.1" -Wl,-rpath-link,"$lib"

echo "libnng1 $version; NNG_ETIMEDOUT is 5"
# shellcheck disable=SC2046 # four words
set -- $(LD_LIBRARY_PATH="$PWD/$lib" ./sleep)
echo "receives that wait 100 ms for a message that nobody sends, as result/message:"
echo "  before the aio has slept:      $1"
echo "  after it has slept:            $2"
echo "  once more:                     $3"
echo "  another aio, the same socket:  $4"
[ "$*" = "5/none 0/none 0/none 5/none" ] || { echo "CHANGED: every receive should report 5"; exit 1; }
echo "as found: an aio that has slept reports success when the time of what it does next is over"
