#!/bin/sh
# SPDX-License-Identifier: MIT
# CURLOPT_CLOSESOCKETFUNCTION "gets called instead of the close(3)" for sockets that
# CURLOPT_OPENSOCKETFUNCTION made. libcurl 7.88.1 of Debian 12 closes a socket whose connection is not
# accepted in time by itself, and calls nothing. A program that keeps state for each descriptor, such as
# its registration with epoll, then has state of a descriptor that the kernel has dropped, and the next
# socket gets its number: what fails is the next transfer, to another host. A program has to start anew
# when CURLOPT_OPENSOCKETFUNCTION makes a socket. curl 8.14.1 calls the function.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir"
version=7.88.1-10+deb12u15
mkdir -p archives/partial
: >status
# with all that they need, from the same release
apt-get -qq -y -o APT::Sandbox::User=root -o Debug::NoLocking=1 -o Dir::State::status="$dir/status" \
  -o Dir::Cache::archives="$dir/archives" --no-install-recommends --download-only install \
  "libcurl4-openssl-dev=$version" "libcurl4=$version" libc6 >/dev/null || exit 2
for package in archives/*.deb; do dpkg -x "$package" root; done
loader=$(find root -name 'ld-linux*.so.*' -type f | head -1)
libraries=$(find "$dir/root" -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')

cat >closing.c <<'C'
#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static int opened, closed;

static curl_socket_t on_open(void *p, curlsocktype type, struct curl_sockaddr *a)
{
  (void)p, (void)type;
  opened++;
  return socket(a->family, a->socktype, a->protocol);
}

static int on_close(void *p, curl_socket_t fd)
{
  (void)p;
  closed++;
  return close(fd);
}

int main(void)
{
  struct sockaddr_in a = {.sin_family = AF_INET,
                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t n = sizeof(a);
  char url[64];
  int server = socket(AF_INET, SOCK_STREAM, 0);
  bind(server, (struct sockaddr *)&a, n);
  listen(server, 0); /* nobody accepts, so its queue is soon full */
  getsockname(server, (struct sockaddr *)&a, &n);
  for (int i = 0; i < 3; i++)
    connect(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0),
            (struct sockaddr *)&a, n);
  snprintf(url, sizeof(url), "http://127.0.0.1:%d/", ntohs(a.sin_port));
  CURL *c = curl_easy_init();
  curl_easy_setopt(c, CURLOPT_URL, url);
  curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, 300L);
  curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_open);
  curl_easy_setopt(c, CURLOPT_CLOSESOCKETFUNCTION, on_close);
  CURLcode code = curl_easy_perform(c);
  curl_easy_cleanup(c);
  printf("  %.14s: %s; sockets made by the callback: %d, closed by it: %d\n",
         curl_version(), curl_easy_strerror(code), opened, closed);
  return code != CURLE_OPERATION_TIMEDOUT || opened != 1 || closed != 0;
}
C
cc -o closing closing.c -I"$(dirname "$(dirname "$(find root -name curl.h)")")" \
  "$(find root -name 'libcurl.so.4' | head -1)" -Wl,--unresolved-symbols=ignore-in-shared-libs
"$loader" --library-path "$libraries" ./closing ||
  { echo "CHANGED: the socket should not have been closed by the callback"; exit 1; }
echo "as found: a socket that is given up while it connects is closed behind the program's back"
