/* SPDX-License-Identifier: MIT */
/* Carriers over streams of nng whose descriptor the loop watches. */
#include "../test.h"
#include "base/container.h"
#include "net/carrier_nng.h"
#include "net/stream_descriptor.h"

#include <nng/nng.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

extern const struct test carrier_nng_tests[];

/* Waits for an operation that `aio` was given; returns its stream, or NULL. */
static nng_stream *stream_of(nng_aio *aio)
{
  nng_aio_wait(aio);
  nng_stream *s = nng_aio_result(aio) ? NULL : nng_aio_get_output(aio, 0);
  nng_aio_free(aio);
  return s;
}

static nng_stream_listener *listen_on(struct test_run *t, const char *url)
{
  nng_stream_listener *l = NULL;
  CHECK_INT(t, nng_stream_listener_alloc(&l, url), 0);
  CHECK_INT(t, nng_stream_listener_listen(l), 0);
  return l;
}

static nng_aio *begin_accept(nng_stream_listener *l)
{
  nng_aio *aio = NULL;
  nng_aio_alloc(&aio, NULL, NULL);
  nng_stream_listener_accept(l, aio);
  return aio;
}

static nng_stream *dial(const char *url)
{
  nng_stream_dialer *d = NULL;
  nng_aio *aio = NULL;
  nng_stream_dialer_alloc(&d, url);
  nng_aio_alloc(&aio, NULL, NULL);
  nng_stream_dialer_dial(d, aio);
  nng_stream *s = stream_of(aio);
  nng_stream_dialer_free(d);
  return s;
}

/* Both ends of a connection over tcp, `there` and `here`. */
static bool tcp_pair(struct test_run *t, const char *host, nng_stream **there,
                     nng_stream **here)
{
  char url[64];
  int port = 0;
  snprintf(url, sizeof(url), "tcp://%s:0", host);
  nng_stream_listener *l = listen_on(t, url);
  nng_stream_listener_get_int(l, NNG_OPT_TCP_BOUND_PORT, &port);
  snprintf(url, sizeof(url), "tcp://%s:%d", host, port);
  nng_aio *accepting = begin_accept(l);
  *here = dial(url);
  *there = stream_of(accepting);
  nng_stream_listener_free(l);
  return CHECK(t, *here && *there);
}

static int port_of(int fd)
{
  struct sockaddr_storage s = {0};
  socklen_t size = sizeof(s);
  getsockname(fd, (void *)&s, &size);
  return ntohs(s.ss_family == AF_INET
                   ? ((struct sockaddr_in *)(void *)&s)->sin_port
                   : ((struct sockaddr_in6 *)(void *)&s)->sin6_port);
}

static bool has_ipv6(void)
{
  struct sockaddr_in6 a = {.sin6_family = AF_INET6,
                           .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  int fd = socket(AF_INET6, SOCK_STREAM, 0);
  bool has = fd >= 0 && bind(fd, (void *)&a, sizeof(a)) == 0;
  if (fd >= 0) close(fd);
  return has;
}

static void test_tcp(struct test_run *t)
{
  static const char *const hosts[] = {"127.0.0.1", "[::1]"};
  for (int i = 0; i < (has_ipv6() ? 2 : 1); i++) {
    nng_stream *there, *here;
    nng_sockaddr a;
    if (!tcp_pair(t, hosts[i], &there, &here)) continue;
    int fd = stream_descriptor(here), other = stream_descriptor(there);
    nng_stream_get_addr(here, NNG_OPT_LOCADDR, &a);
    CHECK(t, fd >= 0 && other >= 0);
    CHECK_INT(t, port_of(fd), ntohs(a.s_in.sa_port));
    nng_stream_get_addr(here, NNG_OPT_REMADDR, &a);
    CHECK_INT(t, port_of(other), ntohs(a.s_in.sa_port));
    /* one of two that are alike may be another's */
    int copy = dup(fd);
    CHECK_INT(t, stream_descriptor(here), -1);
    close(copy);
    CHECK_INT(t, stream_descriptor(here), fd);
    nng_stream_free(here);
    nng_stream_free(there);
  }
}

/* A process that connects to the path and stays until it is killed. */
static pid_t spawn_peer(const char *path)
{
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
  pid_t pid = fork();
  if (pid) return pid;
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (connect(fd, (void *)&a, sizeof(a)) == 0) pause();
  _exit(1);
}

static void test_ipc(struct test_run *t)
{
  char url[64];
  snprintf(url, sizeof(url), "ipc:///tmp/moonfleet-ctest-%d", (int)getpid());
  nng_stream_listener *l = listen_on(t, url);
  nng_aio *accepting = begin_accept(l);
  pid_t pid = spawn_peer(url + strlen("ipc://"));
  nng_stream *there = stream_of(accepting);
  struct ucred peer = {0};
  socklen_t size = sizeof(peer);
  if (CHECK(t, there)) {
    int fd = stream_descriptor(there);
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
    CHECK_INT(t, peer.pid, pid);
    nng_stream_free(there);
  }
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  /* both ends here are alike */
  accepting = begin_accept(l);
  nng_stream *here = dial(url);
  there = stream_of(accepting);
  CHECK_INT(t, stream_descriptor(here), -1);
  nng_stream_free(here);
  nng_stream_free(there);
  nng_stream_listener_free(l);
}

/* ---- a descriptor with nothing to read ---- */

struct reader {
  struct loop *loop;
  struct loop_timer timer;
  struct loop_io thief;
  size_t received, stolen;
};

static void on_bytes(void *arg, const uint8_t *data, size_t len)
{
  struct reader *r = arg;
  (void)data;
  r->received += len;
}

static void on_sent(void *arg)
{
  (void)arg;
}

static void on_end(void *arg, const struct err *reason)
{
  (void)arg, (void)reason;
}

static void on_time(struct loop_timer *timer)
{
  loop_stop(CONTAINER_OF(timer, struct reader, timer)->loop);
}

/* Takes what the carrier, which has been told as well, is about to read. */
static void steal(struct loop_io *io, uint32_t events)
{
  struct reader *r = CONTAINER_OF(io, struct reader, thief);
  char bytes[64];
  ssize_t n = recv(io->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
  (void)events;
  if (n > 0) r->stolen += (size_t)n;
}

/* Sends a byte, and runs the loop until somebody has it, 10 s at most. */
static void send_byte(struct test_run *t, struct reader *r, int fd)
{
  size_t before = r->received + r->stolen;
  struct err e;
  CHECK_INT(t, send(fd, "x", 1, MSG_NOSIGNAL), 1);
  for (int i = 0; i < 10000 && r->received + r->stolen == before; i++) {
    loop_timer_set(r->loop, &r->timer, LOOP_MS);
    loop_run(r->loop, &e);
  }
  CHECK_INT(t, r->received + r->stolen, before + 1);
}

/* A carrier that is told to read and finds nothing goes on by nng's threads. */
static void test_nothing_to_read(struct test_run *t)
{
  static const struct carrier_events events = {on_bytes, on_sent, on_end};
  struct err e;
  struct reader r = {.loop = loop_new(&e), .timer = {.on_expire = on_time}};
  nng_stream *there, *here;
  if (!tcp_pair(t, "127.0.0.1", &there, &here)) return;
  int from = stream_descriptor(there), to = stream_descriptor(here);
  struct carrier *c = carrier_nng_new(r.loop, here, &e);
  carrier_start(c, &events, &r);
  for (int i = 0; i < 3; i++) send_byte(t, &r, from);
  CHECK_INT(t, r.received, 3);
  r.thief = (struct loop_io){dup(to), steal};
  /* added last, it is told first */
  CHECK_INT(t, loop_io_add(r.loop, &r.thief, EPOLLIN, &e), 0);
  send_byte(t, &r, from);
  CHECK_INT(t, r.stolen, 1);
  loop_io_remove(r.loop, &r.thief);
  close(r.thief.fd);
  for (int i = 0; i < 3; i++) send_byte(t, &r, from);
  CHECK_INT(t, r.received, 6);
  carrier_close(c);
  nng_stream_free(there);
  loop_timer_clear(r.loop, &r.timer);
  loop_free(r.loop);
}

const struct test carrier_nng_tests[] = {
    {"streams of nng over tcp have one descriptor", test_tcp},
    {"streams of nng over ipc have one descriptor for each process", test_ipc},
    {"carriers of nng with nothing to read go on", test_nothing_to_read},
    {NULL, NULL},
};
