#!/bin/sh
# SPDX-License-Identifier: MIT
# MessagePack knows no limit of depth, and the packer of the C library has none. Its reader has: an
# array within 32 others is refused, by a constant of the library's build, so that a program can
# pack a message that it cannot read again. The error is the one for lack of memory, which sends
# people looking elsewhere. The reader for streams refuses the same.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
version=4.0.0-3
apt-get -qq -o APT::Sandbox::User=root download "libmsgpackc2=$version" "libmsgpack-dev=$version"
for package in *.deb; do dpkg -x "$package" root; done
lib=$(dirname "$(find root -name 'libmsgpackc.so.2')")

cat >nest.c <<'C'
#include <msgpack.h>
#include <stdio.h>
#include <string.h>

/* Packs a number within so many arrays, and reads it in one go and as a stream. */
static void try(int depth)
{
  msgpack_sbuffer buffer;
  msgpack_packer packer;
  msgpack_unpacked whole, part;
  msgpack_unpacker stream;
  msgpack_sbuffer_init(&buffer);
  msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
  for (int i = 0; i < depth; i++) msgpack_pack_array(&packer, 1);
  msgpack_pack_int(&packer, 7);

  msgpack_unpacked_init(&whole);
  msgpack_unpacked_init(&part);
  msgpack_unpacker_init(&stream, buffer.size);
  memcpy(msgpack_unpacker_buffer(&stream), buffer.data, buffer.size);
  msgpack_unpacker_buffer_consumed(&stream, buffer.size);
  printf("%d:%d/%d\n", depth, msgpack_unpack_next(&whole, buffer.data, buffer.size, NULL),
         msgpack_unpacker_next(&stream, &part));
  msgpack_unpacked_destroy(&whole);
  msgpack_unpacked_destroy(&part);
  msgpack_unpacker_destroy(&stream);
  msgpack_sbuffer_destroy(&buffer);
}

int main(void)
{
  printf("%d/%d\n", MSGPACK_UNPACK_SUCCESS, MSGPACK_UNPACK_NOMEM_ERROR);
  try(32);
  try(33);
  return 0;
}
C
gcc -Iroot/usr/include nest.c -o nest "$lib/libmsgpackc.so.2"

echo "libmsgpackc2 $version"
# shellcheck disable=SC2046 # three words
set -- $(LD_LIBRARY_PATH="$PWD/$lib" ./nest)
echo "success/lack of memory are $1; a number within"
echo "  32 arrays, in one go/as a stream: ${2#*:}"
echo "  33 arrays, in one go/as a stream: ${3#*:}"
[ "$*" = "2/-2 32:2/2 33:-2/-2" ] || { echo "CHANGED: the reader has another limit or error"; exit 1; }
echo "as found: the reader refuses the 33rd level as a lack of memory"
