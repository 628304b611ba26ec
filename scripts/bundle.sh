#!/bin/bash
# scripts/bundle.sh PREFIX NNG LUA GUMBO HTTP_PARSER: builds archives of nng, Lua 5.4, gumbo and
# http-parser from these folders with their sources, and installs them in PREFIX, for make
# BUNDLE=PREFIX. All are absolute paths. CFLAGS are those of the environment; LUA_LIBDIR is where the distribution has Lua's C modules
# (default: /usr/lib64/lua/5.4). Needs a C compiler, make and cmake.
set -euo pipefail
if [ $# != 5 ]; then
  echo "usage: scripts/bundle.sh PREFIX NNG LUA GUMBO HTTP_PARSER" >&2
  exit 2
fi
prefix=$1 nng=$2 lua=$3 gumbo=$4 http_parser=$5
: "${CC:=cc}" "${CFLAGS:=-O2 -g}" "${LUA_LIBDIR:=/usr/lib64/lua/5.4}"
mkdir -p "$prefix"/{lib/pkgconfig,include}
jobs=$(nproc)

# nng's TLS is not used (host/net/carrier_tls.c).
cmake -S "$nng" -B "$prefix/nng-build" -DCMAKE_BUILD_TYPE=None -DCMAKE_C_FLAGS="$CFLAGS" \
  -DBUILD_SHARED_LIBS=OFF -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DCMAKE_INSTALL_PREFIX="$prefix" \
  -DCMAKE_INSTALL_LIBDIR=lib -DNNG_TESTS=OFF -DNNG_TOOLS=OFF -DNNG_ENABLE_NNGCAT=OFF \
  -DNNG_ENABLE_TLS=OFF -DNNG_ENABLE_DOC=OFF >"$prefix/nng.log" || { cat "$prefix/nng.log"; exit 1; }
cmake --build "$prefix/nng-build" -j "$jobs" >>"$prefix/nng.log" || { cat "$prefix/nng.log"; exit 1; }
cmake --install "$prefix/nng-build" >>"$prefix/nng.log"

# Scripts find the modules of the distribution, as those of its own Lua do.
share=/usr/share/lua/5.4
path="$share/?.lua;$share/?/init.lua;$LUA_LIBDIR/?.lua;$LUA_LIBDIR/?/init.lua;./?.lua;./?/init.lua"
cpath="$LUA_LIBDIR/?.so;$LUA_LIBDIR/loadall.so;./?.so"
make -C "$lua/src" -j "$jobs" CC="$CC -std=gnu99" liblua.a SYSCFLAGS=-DLUA_USE_LINUX \
  MYCFLAGS="$CFLAGS -fPIE '-DLUA_PATH_DEFAULT=\"$path\"' '-DLUA_CPATH_DEFAULT=\"$cpath\"'"
install -m 644 "$lua/src/liblua.a" "$prefix/lib/liblua5.4.a"
install -m 644 "$lua"/src/{lua,luaconf,lualib,lauxlib}.h "$prefix/include"

# The builds of these two need autotools, or make a shared library; their sources need neither.
read -ra flags <<<"$CFLAGS"
archive() { # NAME FILE...
  local name=$1
  shift
  mkdir -p "$prefix/$name-build"
  (cd "$prefix/$name-build" && printf '%s\0' "$@" |
    xargs -0 -n 1 -P "$jobs" "$CC" "${flags[@]}" -fPIE -std=gnu99 -c)
  ar rc "$prefix/lib/lib$name.a" "$prefix/$name-build"/*.o
}
archive gumbo "$gumbo"/src/*.c
install -m 644 "$gumbo"/src/{gumbo,tag_enum}.h "$prefix/include"
archive http_parser "$http_parser/http_parser.c"
install -m 644 "$http_parser/http_parser.h" "$prefix/include"

mkdir -p "$prefix/licenses"
install -m 644 "$nng/LICENSE.txt" "$prefix/licenses/nng"
install -m 644 "$gumbo/doc/COPYING" "$prefix/licenses/gumbo-parser"
install -m 644 "$http_parser/LICENSE-MIT" "$prefix/licenses/http-parser"
sed -n '/^\* Copyright/,/^\*\*\*/p' "$lua/src/lua.h" | sed 's/^\* \{0,1\}//; /^\*/d' >"$prefix/licenses/lua"
grep -q 'Permission is hereby granted' "$prefix/licenses/lua"

describe() { # NAME VERSION LIBRARY: the file by which pkg-config finds it
  printf '%s\n' "Name: $1" "Description: $1, an archive" "Version: $2" "Cflags: -I$prefix/include" \
    "Libs: $prefix/lib/$3.a" >"$prefix/lib/pkgconfig/$1.pc"
}
release=$(sed -n 's/^#define LUA_VERSION_RELEASE[^"]*"\([0-9]*\)".*/\1/p' "$lua/src/lua.h")
describe lua5.4 "5.4.$release" liblua5.4
describe gumbo "$(sed -n 's/^AC_INIT(\[gumbo\], *\[\([0-9.]*\)\].*/\1/p' "$gumbo/configure.ac")" libgumbo
