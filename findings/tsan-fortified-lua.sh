#!/bin/sh
# SPDX-License-Identifier: MIT
# Debian builds Lua with _FORTIFY_SOURCE, so its errors leave by __longjmp_chk. The ThreadSanitizer
# of gcc 12 intercepts longjmp, but not that name: it believes that all functions an error unwound
# are still running. Its shadow stack and the stack traces it keeps grow with each error caught by
# lua_pcall, in a program without any fault. Long runs end with a failed check of the sanitizer's
# own, or with gigabytes of memory. A program that defines __longjmp_chk itself and calls longjmp
# there is free of it.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
version=5.4.4-3+deb12u1
apt-get -qq -o APT::Sandbox::User=root download "liblua5.4-0=$version" "liblua5.4-dev=$version"
for package in *.deb; do dpkg -x "$package" root; done
lib=$(dirname "$(find root -name 'liblua5.4.so.0')")

cat >errors.c <<'C'
#include <lauxlib.h>
#include <lua.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef OWN_LONGJMP_CHK
_Noreturn void __longjmp_chk(jmp_buf env, int value);
_Noreturn void __longjmp_chk(jmp_buf env, int value)
{
  longjmp(env, value);
}
#endif

static int fail(lua_State *L)
{
  free(malloc(16));
  return lua_error(L);
}

static long resident(void)
{
  char line[256];
  long kib = 0;
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof(line), file))
    if (sscanf(line, "VmRSS: %ld", &kib) == 1) break;
  if (file) fclose(file);
  return kib;
}

int main(void)
{
  lua_State *L = luaL_newstate();
  long before = 0;
  for (int i = 0; i < 50000; i++) {
    if (i == 1000) before = resident();
    lua_pushcfunction(L, fail);
    lua_pushnil(L);
    lua_pcall(L, 1, 0, 0);
    lua_settop(L, 0);
  }
  printf("%ld\n", resident() - before);
  return 0;
}
C

build() { # PROGRAM FLAG...
  program=$1
  shift
  gcc -O1 -g -fsanitize=thread "$@" -Wl,-E -Iroot/usr/include/lua5.4 errors.c -o "$program" \
    "$lib/liblua5.4.so.0" -Wl,-rpath,"$PWD/$lib"
}
build plain
build mapped -DOWN_LONGJMP_CHK

gcc --version | head -1
echo "liblua5.4-0 $version"
echo "calls: $(nm -D "$lib/liblua5.4.so.0" | grep -o '__longjmp_chk.*')"
plain=$(./plain)
mapped=$(./mapped)
echo "memory that 49,000 caught errors take: $plain KiB; with an own __longjmp_chk: $mapped KiB"
[ $((plain - mapped)) -gt 300 ] || { echo "CHANGED: the errors take no more memory"; exit 1; }
echo "as found: the sanitizer keeps the frames that __longjmp_chk unwound"
