#!/bin/sh
# SPDX-License-Identifier: MIT
# ares_query gives its callback the answer, as bytes. In c-ares 1.18 these are the bytes that the
# server sent. 1.34 reads the message into a tree of its own and writes it anew for the callback:
# the same records, in other bytes. Names that the server wrote in full come out compressed, so that
# 86 bytes become 62. What only parses the answer sees no difference; but sizes, digests, signatures
# over the message, and whatever the tree has no place for, are no longer the server's. To see
# those, a program has to read the socket itself.
set -eu
dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir"
old=1.18.1-3
new=1.34.9-1~deb13u1
apt-get -qq -o APT::Sandbox::User=root download "libc-ares2=$old" "libc-ares-dev=$old"
for package in *.deb; do dpkg -x "$package" old; done

# Debian 13, from the mirror of this machine, with lists of its own
# shellcheck disable=SC2016 # it is apt-get's own variable
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' |
  head -1)
echo "deb $mirror trixie main" >sources
mkdir -p lists/partial new-archives/partial
: >status
apt13() {
  apt-get -qq -y -o APT::Sandbox::User=root -o Debug::NoLocking=1 -o Acquire::Languages=none \
    -o Dir::Etc::sourcelist="$dir/sources" -o Dir::Etc::sourceparts=- \
    -o Dir::State::lists="$dir/lists" -o Dir::State::status="$dir/status" \
    -o Dir::Cache::archives="$dir/new-archives" \
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= "$@" >/dev/null
}
apt13 update
apt13 --no-install-recommends --download-only install "libcares2=$new"
for package in new-archives/*.deb; do dpkg -x "$package" new; done

cat >query.c <<'C'
#include <ares.h>
#include <arpa/nameser.h>
#include <stdio.h>
#include <sys/select.h>

static void answered(void *arg, int status, int timeouts, unsigned char *bytes, int count)
{
  (void)arg, (void)timeouts;
  if (status != ARES_SUCCESS) fprintf(stderr, "%s\n", ares_strerror(status));
  for (int i = 2; i < count; i++) printf("%02x", bytes[i]); /* all but the id, which is random */
  puts("");
}

int main(int argc, char **argv)
{
  ares_channel channel;
  if (argc < 2 || ares_library_init(ARES_LIB_INIT_ALL) || ares_init(&channel)) return 1;
  if (ares_set_servers_ports_csv(channel, argv[1])) return 1;
  fprintf(stderr, "c-ares %s\n", ares_version(NULL));
  ares_query(channel, "node.example", ns_c_in, ns_t_a, answered, NULL);
  for (;;) {
    fd_set readable, writable;
    FD_ZERO(&readable);
    FD_ZERO(&writable);
    int count = ares_fds(channel, &readable, &writable);
    if (count == 0) break;
    struct timeval second = { 1, 0 };
    select(count, &readable, &writable, NULL, &second);
    ares_process(channel, &readable, &writable);
  }
  ares_destroy(channel);
  return 0;
}
C
gcc -Iold/usr/include query.c -o query "$(find old -name 'libcares.so.2')"

cat >server.py <<'PY'
import os, socket, struct
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 0))
with open("port.new", "w") as file:
    print(server.getsockname()[1], file=file)
os.rename("port.new", "port")
name = b"\4node\7example\0"
question = name + struct.pack(">HH", 1, 1)
records = b"".join(name + struct.pack(">HHIH4B", 1, 1, 60, 4, 192, 0, 2, i) for i in (1, 2))
while True:
    query, peer = server.recvfrom(4096)
    answer = b"\x85\x80" + struct.pack(">HHHH", 1, 2, 0, 0) + question + records
    with open("sent", "w") as file:
        print(answer.hex(), file=file)
    server.sendto(query[:2] + answer, peer)
PY
python3 server.py &
server=$!
tries=0
while [ ! -s port ] && [ $((tries += 1)) -lt 100 ]; do sleep 0.1; done

size() { # HEX: bytes, with the two of the id
  echo $((${#1} / 2 + 2))
}
query() { # ROOT
  loader=$(find "$1" -name 'ld-linux*.so.*' -type f | head -1)
  libraries=$(find "$dir/$1" -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
  # Debian 13 has another C library than this machine: its own loader finds it
  if [ -n "$loader" ]; then
    set -- "$loader" --library-path "$libraries" ./query
  else
    set -- env LD_LIBRARY_PATH="$libraries" ./query
  fi
  timeout 30 "$@" "127.0.0.1:$(cat port)"
}
before=$(query old)
sent=$(cat sent)
after=$(query new)
[ "$(cat sent)" = "$sent" ] || { echo "the server has sent two different answers"; exit 1; }
echo "sent by the server:           $(size "$sent") bytes"
echo "given to the callback:        $(size "$before") bytes by libc-ares2 $old"
echo "                              $(size "$after") bytes by libcares2 $new"
[ "$before" = "$sent" ] || { echo "CHANGED: 1.18 alters the answer"; exit 1; }
[ "$(size "$after")" -eq 62 ] || { echo "CHANGED: 1.34 gives another size"; exit 1; }
echo "as found: 1.18 gives what the server sent, 1.34 a message of its own"
