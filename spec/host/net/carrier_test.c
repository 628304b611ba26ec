/* SPDX-License-Identifier: MIT */
/* Carriers of every kind, both ends on one loop: what is sent arrives, whole
 * and in order, and each end notices when the other leaves, at any moment. */
#include "../test.h"
#include "base/container.h"
#include "net/carrier_fd.h"
#include "net/carrier_nng.h"
#include "net/carrier_tls.h"
#include "test_keys.h"

#include <nng/nng.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

extern const struct test carrier_tests[];

enum kind { SOCKETS, PIPES, TCP, IPC, TLS_SOCKETS, TLS_TCP, KINDS };
static const char *const names[] = {
    "socketpair",  "pipes", "tcp", "ipc", "TLS over a socketpair",
    "TLS over tcp"};

enum { PIECE = 200 * 1000, TOTAL = 64 * 1024 * 1024, MOMENTS = 60 };

struct side {
  struct carrier *carrier;
  uint64_t to_send, sent, received;
  bool sending, wrong, inside, surprise;
  bool closes; /* at the first bytes */
  int ended;
  struct err reason;
  uint8_t data[PIECE];
};

struct bed {
  struct loop *loop;
  struct loop_timer timer;
  struct side a, b;
};

static uint8_t byte_at(uint64_t i)
{
  return (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

/* Sends pieces in parts of odd sizes until one is not taken at once. */
static void pump(struct side *s)
{
  while (!s->sending && s->to_send && s->carrier && !s->ended) {
    size_t n = s->to_send < PIECE ? (size_t)s->to_send : PIECE;
    for (size_t i = 0; i < n; i++) s->data[i] = byte_at(s->sent + i);
    size_t first = n / 3, second = n / 7;
    struct iovec parts[] = {{s->data, first},
                            {NULL, 0},
                            {s->data + first, second},
                            {s->data + first + second, n - first - second}};
    s->sent += n;
    s->to_send -= n;
    s->inside = true;
    s->sending = !carrier_send(s->carrier, parts, 4);
    s->inside = false;
  }
}

static void on_bytes(void *arg, const uint8_t *data, size_t len)
{
  struct side *s = arg;
  s->surprise |= s->inside;
  for (size_t i = 0; i < len; i++)
    s->wrong |= data[i] != byte_at(s->received + i);
  s->received += len;
  if (s->closes) {
    carrier_close(s->carrier);
    s->carrier = NULL;
  }
}

static void on_sent(void *arg)
{
  struct side *s = arg;
  s->surprise |= s->inside || !s->sending;
  s->sending = false;
  pump(s);
}

static void on_end(void *arg, const struct err *reason)
{
  struct side *s = arg;
  s->surprise |= s->inside;
  s->ended++;
  s->reason = *reason;
}

static void on_time(struct loop_timer *timer)
{
  loop_stop(CONTAINER_OF(timer, struct bed, timer)->loop);
}

static void run_for(struct bed *b, uint64_t ns)
{
  struct err e;
  loop_timer_set(b->loop, &b->timer, ns);
  loop_run(b->loop, &e);
}

/* Runs until the condition holds, 10 s at most. */
#define RUN_UNTIL(b, condition)                                                \
  for (int turns = 0; !(condition) && turns < 10000; turns++)                  \
  run_for((b), LOOP_MS)

/* ---- making pairs ---- */

static bool nng_pair(const char *url, nng_stream **a, nng_stream **b)
{
  nng_stream_listener *l = NULL;
  nng_stream_dialer *d = NULL;
  nng_aio *accept = NULL, *dial = NULL;
  char to[128];
  int port = 0;
  bool ok =
      !nng_stream_listener_alloc(&l, url) && !nng_stream_listener_listen(l) &&
      !nng_aio_alloc(&accept, NULL, NULL) && !nng_aio_alloc(&dial, NULL, NULL);
  snprintf(to, sizeof(to), "%s", url);
  if (ok && !nng_stream_listener_get_int(l, NNG_OPT_TCP_BOUND_PORT, &port))
    snprintf(to, sizeof(to), "tcp://127.0.0.1:%d", port);
  ok = ok && !nng_stream_dialer_alloc(&d, to);
  if (ok) {
    nng_stream_listener_accept(l, accept);
    nng_stream_dialer_dial(d, dial);
    nng_aio_wait(accept);
    nng_aio_wait(dial);
    ok = !nng_aio_result(accept) && !nng_aio_result(dial);
  }
  if (ok) {
    *a = nng_aio_get_output(accept, 0);
    *b = nng_aio_get_output(dial, 0);
  }
  nng_aio_free(accept);
  nng_aio_free(dial);
  if (d) nng_stream_dialer_free(d);
  if (l) nng_stream_listener_free(l);
  return ok;
}

/* Puts TLS over both, `a` as the node. */
static void wrap_pair(struct bed *b)
{
  struct err e;
  struct test_key *ca = test_authority("search CA");
  struct tls_identity *node =
      tls_identity_load(test_folder(ca, test_member(ca, "node", "search")),
                        CERTIFICATE_NODE, "test", &e);
  struct tls_identity *driver =
      tls_identity_load(test_folder(ca, test_member(ca, "driver", "search")),
                        CERTIFICATE_DRIVER, "test", &e);
  if (node && driver) {
    b->a.carrier = carrier_tls_new(b->loop, b->a.carrier, node, &e);
    b->b.carrier = carrier_tls_new(b->loop, b->b.carrier, driver, &e);
  }
  tls_identity_free(node);
  tls_identity_free(driver);
  test_keys_remove();
}

static void make_pair(struct bed *b, enum kind kind)
{
  struct err e;
  int one[2], two[2];
  nng_stream *sa, *sb;
  char path[64];
  snprintf(path, sizeof(path), "ipc:///tmp/moonfleet-ctest-%d", (int)getpid());
  bool tls = kind == TLS_SOCKETS || kind == TLS_TCP;
  if (tls) kind = kind == TLS_TCP ? TCP : SOCKETS;
  if (kind == SOCKETS && !socketpair(AF_UNIX, SOCK_STREAM, 0, one)) {
    b->a.carrier = carrier_fd_new(b->loop, one[0], one[0], "a", &e);
    b->b.carrier = carrier_fd_new(b->loop, one[1], one[1], "b", &e);
  } else if (kind == PIPES && !pipe(one) && !pipe(two)) {
    b->a.carrier = carrier_fd_new(b->loop, one[0], two[1], "a", &e);
    b->b.carrier = carrier_fd_new(b->loop, two[0], one[1], "b", &e);
  } else if (kind >= TCP &&
             nng_pair(kind == TCP ? "tcp://127.0.0.1:0" : path, &sa, &sb)) {
    b->a.carrier = carrier_nng_new(b->loop, sa, &e);
    b->b.carrier = carrier_nng_new(b->loop, sb, &e);
  }
  if (tls && b->a.carrier && b->b.carrier) wrap_pair(b);
}

static bool bed_open(struct test_run *t, struct bed *b, enum kind kind)
{
  static const struct carrier_events events = {on_bytes, on_sent, on_end};
  struct err e;
  memset(b, 0, sizeof(*b));
  b->timer.on_expire = on_time;
  b->loop = loop_new(&e);
  if (!CHECK(t, b->loop)) return false;
  make_pair(b, kind);
  if (!CHECK(t, b->a.carrier && b->b.carrier)) return false;
  carrier_start(b->a.carrier, &events, &b->a);
  carrier_start(b->b.carrier, &events, &b->b);
  if (kind >= TLS_SOCKETS)
    RUN_UNTIL(b,
              carrier_tls_peer(b->a.carrier) && carrier_tls_peer(b->b.carrier));
  return true;
}

static void close_side(struct side *s)
{
  carrier_close(s->carrier);
  s->carrier = NULL;
}

static void bed_close(struct test_run *t, struct bed *b)
{
  close_side(&b->a);
  close_side(&b->b);
  CHECK(t, !b->a.surprise && !b->b.surprise);
  CHECK(t, !b->a.wrong && !b->b.wrong);
  loop_timer_clear(b->loop, &b->timer);
  loop_free(b->loop);
}

static struct bed *bed_new(void)
{
  return calloc(1, sizeof(struct bed));
}

/* Descriptors that are open; nng closes some a little later. */
static int descriptors(void)
{
  DIR *d = opendir("/proc/self/fd");
  int n = 0;
  while (d && readdir(d)) n++;
  if (d) closedir(d);
  return n;
}

/* ---- tests ---- */

static void test_both_directions(struct test_run *t)
{
  struct bed *b = bed_new();
  for (enum kind kind = 0; kind < KINDS; kind++) {
    if (!bed_open(t, b, kind)) continue;
    b->a.to_send = b->b.to_send = TOTAL;
    pump(&b->a);
    pump(&b->b);
    RUN_UNTIL(b, b->a.received == TOTAL && b->b.received == TOTAL);
    if (!CHECK_INT(t, b->a.received, TOTAL) ||
        !CHECK_INT(t, b->b.received, TOTAL))
      printf("with %s\n", names[kind]);
    CHECK_INT(t, b->a.ended + b->b.ended, 0);
    bed_close(t, b);
  }
  free(b);
}

/* Bytes that are there arrive before the end does. */
static void test_end(struct test_run *t)
{
  struct bed *b = bed_new();
  for (enum kind kind = 0; kind < KINDS; kind++) {
    if (!bed_open(t, b, kind)) continue;
    b->a.to_send = 1000;
    pump(&b->a);
    CHECK(t, !b->a.sending);
    close_side(&b->a);
    RUN_UNTIL(b, b->b.ended);
    CHECK_INT(t, b->b.received, 1000);
    CHECK_INT(t, b->b.ended, 1);
    CHECK_STR(t, b->b.reason.kind, "lost");
    if (!CHECK_STR(t, b->b.reason.text, "the connection was closed"))
      printf("with %s\n", names[kind]);
    bed_close(t, b);
  }
  free(b);
}

/* A sender stops while the other end is paused, and nothing is delivered. */
static void test_pause(struct test_run *t)
{
  struct bed *b = bed_new();
  for (enum kind kind = 0; kind < KINDS; kind++) {
    if (!bed_open(t, b, kind)) continue;
    carrier_pause(b->b.carrier, true);
    b->a.to_send = TOTAL;
    pump(&b->a);
    run_for(b, 30 * LOOP_MS);
    CHECK(t, b->a.sending);
    CHECK_INT(t, b->b.received, 0);
    b->b.inside = true; /* resuming calls nobody back */
    carrier_pause(b->b.carrier, false);
    carrier_pause(b->b.carrier, true);
    carrier_pause(b->b.carrier, false);
    b->b.inside = false;
    RUN_UNTIL(b, b->b.received == TOTAL);
    if (!CHECK_INT(t, b->b.received, TOTAL)) printf("with %s\n", names[kind]);
    bed_close(t, b);
  }
  free(b);
}

/* One that is paused because its own bytes are not taken learns that they never
 * will be. */
static void test_end_while_paused(struct test_run *t)
{
  struct bed *b = bed_new();
  for (enum kind kind = 0; kind < KINDS; kind++) {
    if (!bed_open(t, b, kind)) continue;
    carrier_pause(b->a.carrier, true);
    carrier_pause(b->b.carrier, true);
    b->a.to_send = b->b.to_send = TOTAL;
    pump(&b->a);
    pump(&b->b);
    run_for(b, 5 * LOOP_MS);
    CHECK(t, b->a.sending && b->b.sending);
    close_side(&b->a);
    RUN_UNTIL(b, b->b.ended);
    if (!CHECK_INT(t, b->b.ended, 1)) printf("with %s\n", names[kind]);
    CHECK(t, b->b.sending);
    bed_close(t, b);
  }
  free(b);
}

/* The memory of a send may be used again as soon as the carrier is closed, and
 * closing leaves no descriptor behind. */
static void test_moments(struct test_run *t)
{
  struct bed *b = bed_new();
  uint64_t random = 7;
  for (enum kind kind = 0; kind < KINDS; kind++) {
    int before = 0;
    for (int i = 0; i < MOMENTS; i++) {
      if (!bed_open(t, b, kind)) continue;
      if (i == 0) before = descriptors();
      b->a.to_send = test_random(&random) % (4 * PIECE);
      b->b.to_send = test_random(&random) % (4 * PIECE);
      if (i % 4 == 3) carrier_pause(b->b.carrier, true);
      b->b.closes = i % 5 == 4;
      pump(&b->a);
      pump(&b->b);
      if (i % 3) run_for(b, test_random(&random) % (LOOP_MS / 2));
      close_side(&b->a);
      memset(b->a.data, 0xff, sizeof(b->a.data));
      if (i % 2) run_for(b, test_random(&random) % (3 * LOOP_MS));
      bed_close(t, b);
    }
    for (int i = 0; i < 1000 && descriptors() >= before; i++) usleep(1000);
    if (!CHECK(t, descriptors() < before)) printf("with %s\n", names[kind]);
  }
  free(b);
}

/* A launched program may close its standard input alone. */
static void test_half_closed_pipes(struct test_run *t)
{
  static const struct carrier_events events = {on_bytes, on_sent, on_end};
  struct bed *b = bed_new();
  struct err e;
  int in[2], out[2];
  b->timer.on_expire = on_time;
  b->loop = loop_new(&e);
  if (!CHECK(t, b->loop && !pipe(in) && !pipe(out))) return;
  b->a.carrier = carrier_fd_new(b->loop, in[0], out[1], "program", &e);
  if (!CHECK(t, b->a.carrier)) return;
  CHECK_STR(t, b->a.carrier->peer, "program");
  CHECK(t, fcntl(in[0], F_GETFD) & FD_CLOEXEC);
  CHECK(t, !(fcntl(in[0], F_GETFL) & O_NONBLOCK));
  carrier_start(b->a.carrier, &events, &b->a);
  uint8_t bytes[] = {byte_at(0), byte_at(1), byte_at(2)};
  CHECK_INT(t, write(in[1], bytes, 3), 3);
  close(out[0]);
  RUN_UNTIL(b, b->a.ended);
  CHECK_INT(t, b->a.ended, 1);
  CHECK_INT(t, b->a.received, 3);
  close(in[1]);
  bed_close(t, b);
  free(b);
}

static void test_no_stream(struct test_run *t)
{
  struct err e;
  struct loop *loop = loop_new(&e);
  int null = open("/dev/null", O_RDWR);
  CHECK(t, !carrier_fd_new(loop, null, null, "null", &e));
  CHECK_STR(t, e.kind, "file");
  CHECK(t, fcntl(null, F_GETFD) < 0 && errno == EBADF);
  loop_free(loop);
}

const struct test carrier_tests[] = {
    {"carriers carry bytes in both directions", test_both_directions},
    {"carriers deliver what came before the end", test_end},
    {"carriers stop a sender while they are paused", test_pause},
    {"carriers that are paused end with a failed send", test_end_while_paused},
    {"carriers can be closed at any moment", test_moments},
    {"carriers notice that one of two pipes is closed", test_half_closed_pipes},
    {"carriers refuse what is no stream", test_no_stream},
    {NULL, NULL},
};
