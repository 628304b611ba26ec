#!/bin/sh
# SPDX-License-Identifier: MIT
# A server that stops while it answers leaves the answer cut off, anywhere. libcurl notices that a
# body is too short, and that there is none although its length was promised. But when the
# connection ends among the headers, before the one that promises a body, libcurl reports success,
# status 200: the end of a connection counts as the end of the headers. A download with --fail then
# ends with exit code 0 and an empty file. A program has to look for the empty line behind the
# headers itself (CURLOPT_HEADERFUNCTION is given it). curl 8.14.1 does the same; 8.23.0 does it
# even where the length was promised.
set -eu
dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir"
version=7.88.1-10+deb12u15
mkdir -p archives/partial
: >status
# with all that they need, from the same release
apt-get -qq -y -o APT::Sandbox::User=root -o Debug::NoLocking=1 -o Dir::State::status="$dir/status" \
  -o Dir::Cache::archives="$dir/archives" --no-install-recommends --download-only install \
  "curl=$version" "libcurl4=$version" libc6 >/dev/null
for package in archives/*.deb; do dpkg -x "$package" root; done
loader=$(find root -name 'ld-linux*.so.*' -type f | head -1)
libraries=$(find "$dir/root" -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
run_curl() { "$loader" --library-path "$libraries" root/usr/bin/curl "$@"; }

cat >server.py <<'PY'
import os
import socket
answers = {
    "/status": "HTTP/1.1 200 OK\r\n",
    "/amid-a-header": "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Le",
    "/length": "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
    "/body": "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
}
server = socket.create_server(("127.0.0.1", 0))
with open("port.new", "w") as file:
    print(server.getsockname()[1], file=file)
os.rename("port.new", "port")
while True:
    connection, _ = server.accept()
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(4096) or b"\r\n\r\n"
    connection.sendall(answers[request.split()[1].decode()].encode())
    connection.close()
PY
python3 server.py &
server=$!
tries=0
while [ ! -s port ] && [ $((tries += 1)) -lt 100 ]; do sleep 0.1; done

run_curl --version | head -1
seen=
try() { # PATH WHAT
  code=0
  status=$(run_curl -sf --max-time 20 -o body -w '%{http_code}' \
    "http://127.0.0.1:$(cat port)$1") || code=$?
  saved="no file"
  [ ! -e body ] || saved="$(wc -c <body) bytes saved"
  rm -f body
  printf '  cut off %-27s exit code %s, status %s, %s\n' "$2:" "$code" "$status" "$saved"
  seen="$seen $code/$status"
}
try /status 'behind the status line'
try /amid-a-header 'amid a later header'
try /length 'behind "Content-Length: 5"'
try /body 'amid the body'
[ "$seen" = " 0/200 0/200 18/200 18/200" ] ||
  { echo "CHANGED: the exit codes should be 0, 0, 18, 18"; exit 1; }
echo "as found: an answer that ends among its headers is a success without a body"
