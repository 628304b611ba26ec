/* SPDX-License-Identifier: MIT */
/* Carriers of TLS before, during and at the end of the handshake;
 * carrier_test.c tests them as it does all carriers. */
#include "../test.h"
#include "base/buf.h"
#include "base/container.h"
#include "net/carrier_fd.h"
#include "net/carrier_tls.h"
#include "test_keys.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

extern const struct test carrier_tls_tests[];

struct side {
  struct carrier *carrier;
  bool closes; /* at the first bytes */
  int sent, ended;
  struct err reason;
  struct buf received;
};

struct bed {
  struct loop *loop;
  struct loop_timer timer;
  struct test_key *ca, *other_ca;
  struct tls_identity *node_id, *driver_id;
  struct side node, driver;
  int raw; /* the other end of one carrier, when only one is made */
};

static const struct carrier_events events;

static void on_bytes(void *arg, const uint8_t *data, size_t len)
{
  struct side *s = arg;
  buf_add(&s->received, data, len);
  /* as a listener hands over what it has accepted */
  if (!s->closes) carrier_start(s->carrier, &events, s);
  if (!s->closes) return;
  carrier_close(s->carrier);
  s->carrier = NULL;
}

static void on_sent(void *arg)
{
  ((struct side *)arg)->sent++;
}

static void on_end(void *arg, const struct err *reason)
{
  struct side *s = arg;
  s->ended++;
  s->reason = *reason;
}

static const struct carrier_events events = {on_bytes, on_sent, on_end};

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

static struct tls_identity *load(struct test_key *ca, struct test_key *member,
                                 enum certificate_role role)
{
  struct err e;
  return tls_identity_load(test_folder(ca, member), role, "test", &e);
}

static void bed_init(struct test_run *t, struct bed *b)
{
  struct err e;
  memset(b, 0, sizeof(*b));
  b->raw = -1;
  b->loop = loop_new(&e);
  b->timer.on_expire = on_time;
  buf_init(&b->node.received, 1 << 20);
  buf_init(&b->driver.received, 1 << 20);
  b->ca = test_authority("search CA");
  b->other_ca = test_authority("other CA");
  b->node_id =
      load(b->ca, test_member(b->ca, "node", "search"), CERTIFICATE_NODE);
  b->driver_id =
      load(b->ca, test_member(b->ca, "driver", "search"), CERTIFICATE_DRIVER);
  CHECK(t, b->loop && b->node_id && b->driver_id);
}

/* Two connected sockets of TCP. */
static bool tcp_pair(int fds[2])
{
  struct sockaddr_in a = {.sin_family = AF_INET,
                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof(a);
  int l = socket(AF_INET, SOCK_STREAM, 0);
  fds[0] = socket(AF_INET, SOCK_STREAM, 0);
  bool ok = bind(l, (struct sockaddr *)&a, len) == 0 && listen(l, 1) == 0 &&
            getsockname(l, (struct sockaddr *)&a, &len) == 0 &&
            connect(fds[0], (struct sockaddr *)&a, len) == 0;
  fds[1] = ok ? accept(l, NULL, NULL) : -1;
  close(l);
  return fds[1] >= 0;
}

/* Connects a node and a driver; or, with one identity alone, it and b->raw. */
static void bed_connect(struct test_run *t, struct bed *b,
                        const struct tls_identity *node,
                        const struct tls_identity *driver)
{
  struct err e;
  int fds[2];
  if (!CHECK(t, tcp_pair(fds))) return;
  if (node)
    b->node.carrier = carrier_tls_new(
        b->loop, carrier_fd_new(b->loop, fds[0], fds[0], "driver", &e), node,
        &e);
  if (driver)
    b->driver.carrier = carrier_tls_new(
        b->loop, carrier_fd_new(b->loop, fds[1], fds[1], "node", &e), driver,
        &e);
  if (!node || !driver) b->raw = node ? fds[1] : fds[0];
}

static void start(struct side *s)
{
  if (s->carrier) carrier_start(s->carrier, &events, s);
}

static void side_reset(struct side *s)
{
  carrier_close(s->carrier);
  s->carrier = NULL;
  s->closes = false;
  s->sent = s->ended = 0;
  buf_clear(&s->received);
}

static void bed_reset(struct bed *b)
{
  side_reset(&b->node);
  side_reset(&b->driver);
  if (b->raw >= 0) close(b->raw);
  b->raw = -1;
}

static void bed_free(struct bed *b)
{
  bed_reset(b);
  buf_free(&b->node.received);
  buf_free(&b->driver.received);
  tls_identity_free(b->node_id);
  tls_identity_free(b->driver_id);
  test_keys_remove();
  loop_timer_clear(b->loop, &b->timer);
  loop_free(b->loop);
}

static bool send_text(struct side *s, const char *text)
{
  struct iovec part = {(void *)(uintptr_t)text, strlen(text)};
  return carrier_send(s->carrier, &part, 1);
}

/* ---- tests ---- */

/* What is sent at once waits for the handshake. */
static void test_early_send(struct test_run *t)
{
  struct bed b;
  bed_init(t, &b);
  bed_connect(t, &b, b.node_id, b.driver_id);
  CHECK_STR(t, b.node.carrier->peer, "driver");
  CHECK(t, carrier_is_tls(b.node.carrier));
  CHECK(t, !carrier_tls_peer(b.node.carrier));
  start(&b.node);
  start(&b.driver);
  CHECK(t, !send_text(&b.node, "from node"));
  CHECK(t, !send_text(&b.driver, "from driver"));
  RUN_UNTIL(&b, b.node.received.len && b.driver.received.len);
  CHECK_BYTES(t, b.node.received.data, b.node.received.len, "from driver", 11);
  CHECK_BYTES(t, b.driver.received.data, b.driver.received.len, "from node", 9);
  CHECK_INT(t, b.node.sent, 1);
  CHECK_INT(t, b.driver.sent, 1);
  if (CHECK(t, carrier_tls_peer(b.node.carrier)))
    CHECK_STR(t, carrier_tls_peer(b.node.carrier)->name, "alice");
  CHECK(t, send_text(&b.node, "more"));
  bed_free(&b);
}

/* A driver that another authority has certified, and sends bytes at once. Both
 * sides learn the reason. */
static void test_refused(struct test_run *t)
{
  struct bed b;
  bed_init(t, &b);
  struct test_key *member = test_member(b.other_ca, "driver", "search");
  const char *dir = test_folder(b.ca, member);
  test_folder_trust(dir, b.ca, b.other_ca);
  struct err e;
  struct tls_identity *id =
      tls_identity_load(dir, CERTIFICATE_DRIVER, "test", &e);
  for (int i = 0; i < 20; i++) {
    bed_connect(t, &b, b.node_id, id);
    start(&b.node);
    start(&b.driver);
    send_text(&b.driver, "hello");
    uint64_t begin = loop_clock();
    RUN_UNTIL(&b, b.driver.ended);
    carrier_close(b.driver.carrier);
    b.driver.carrier = NULL;
    RUN_UNTIL(&b, b.node.ended);
    CHECK(t, loop_clock() - begin < 5 * LOOP_S);
    CHECK_STR(t, b.driver.reason.text, "rejected our certificate (unknown CA)");
    CHECK_STR(t, b.driver.reason.kind, "tls");
    CHECK_STR(t, b.node.reason.text,
              "its certificate is not signed by our CA (issuer: other CA)");
    CHECK_INT(t, b.node.received.len + b.driver.received.len, 0);
    bed_reset(&b);
  }
  /* a peer that does not close: the node does not wait for ever */
  bed_connect(t, &b, b.node_id, id);
  start(&b.node);
  start(&b.driver);
  RUN_UNTIL(&b, b.node.ended);
  CHECK_INT(t, b.node.ended, 1);
  tls_identity_free(id);
  bed_free(&b);
}

/* The driver refuses the node, and the node hears why. */
static void test_refuses(struct test_run *t)
{
  struct bed b;
  bed_init(t, &b);
  struct tls_identity *id =
      load(b.ca, test_member(b.ca, "node", "other"), CERTIFICATE_NODE);
  bed_connect(t, &b, id, b.driver_id);
  start(&b.node);
  start(&b.driver);
  RUN_UNTIL(&b, b.driver.ended && b.node.ended);
  CHECK_STR(t, b.driver.reason.text,
            "belongs to another fleet (its name is node.other.moonfleet, "
            "expected node.search.moonfleet)");
  CHECK_STR(t, b.node.reason.text,
            "rejected our certificate (another fleet, or not yet valid by its "
            "clock)");
  tls_identity_free(id);
  bed_free(&b);
}

static void test_without_tls(struct test_run *t)
{
  char bytes[100];
  struct bed b;
  bed_init(t, &b);
  bed_connect(t, &b, b.node_id, NULL);
  start(&b.node);
  CHECK_INT(t, write(b.raw, "moonfleet/5\n", 12), 12);
  RUN_UNTIL(&b, b.node.ended);
  CHECK_STR(t, b.node.reason.text,
            "has connected without TLS; does it have --tls?");
  side_reset(&b.node);
  CHECK_INT(t, recv(b.raw, bytes, sizeof(bytes), MSG_DONTWAIT), 0);
  bed_reset(&b);
  bed_connect(t, &b, NULL, b.driver_id);
  start(&b.driver);
  CHECK_INT(t, write(b.raw, "moonfleet/5\n", 12), 12);
  RUN_UNTIL(&b, b.driver.ended);
  CHECK_STR(t, b.driver.reason.text, "answers without TLS");
  bed_reset(&b);
  bed_connect(t, &b, NULL, b.driver_id);
  start(&b.driver);
  run_for(&b, 20 * LOOP_MS);
  close(b.raw);
  b.raw = -1;
  RUN_UNTIL(&b, b.driver.ended);
  CHECK_STR(t, b.driver.reason.kind, "tls");
  CHECK(t, strstr(b.driver.reason.text, "during the handshake; does it have"));
  bed_free(&b);
}

/* One that is paused from the beginning completes the handshake, and delivers
 * nothing before it is resumed. */
static void test_paused(struct test_run *t)
{
  struct bed b;
  bed_init(t, &b);
  bed_connect(t, &b, b.node_id, b.driver_id);
  start(&b.node);
  start(&b.driver);
  carrier_pause(b.node.carrier, true);
  send_text(&b.driver, "early");
  RUN_UNTIL(&b, b.driver.sent && carrier_tls_peer(b.node.carrier));
  run_for(&b, 20 * LOOP_MS);
  CHECK(t, send_text(&b.driver, " late"));
  run_for(&b, 20 * LOOP_MS);
  CHECK_INT(t, b.node.received.len, 0);
  carrier_pause(b.node.carrier, false);
  CHECK_INT(t, b.node.received.len, 0);
  RUN_UNTIL(&b, b.node.received.len == 10);
  CHECK_BYTES(t, b.node.received.data, b.node.received.len, "early late", 10);
  bed_free(&b);
}

/* Either side is closed at any moment, also inside its own callback. */
static void test_moments(struct test_run *t)
{
  uint64_t random = 11;
  struct bed b;
  bed_init(t, &b);
  for (int i = 0; i < 150; i++) {
    bed_connect(t, &b, b.node_id, b.driver_id);
    b.node.closes = i % 3 == 0;
    b.driver.closes = i % 3 == 1;
    start(&b.node);
    start(&b.driver);
    if (i % 2) send_text(&b.driver, "hello");
    if (i % 5) send_text(&b.node, "hello");
    run_for(&b, test_random(&random) % (4 * LOOP_MS));
    side_reset(i % 4 < 2 ? &b.node : &b.driver);
    run_for(&b, test_random(&random) % (2 * LOOP_MS));
    CHECK(t, b.node.ended < 2 && b.driver.ended < 2);
    bed_reset(&b);
  }
  bed_free(&b);
}

/* A stranger's handshake is cut at every place. */
static void test_half_handshakes(struct test_run *t)
{
  uint8_t hello[2000];
  struct bed b;
  bed_init(t, &b);
  bed_connect(t, &b, NULL, b.driver_id);
  start(&b.driver);
  run_for(&b, 20 * LOOP_MS);
  ssize_t len = recv(b.raw, hello, sizeof(hello), MSG_DONTWAIT);
  if (!CHECK(t, len > 100)) return;
  bed_reset(&b);
  for (ssize_t n = 0; n <= len; n += n < 12 ? 1 : 37) {
    bed_connect(t, &b, b.node_id, NULL);
    start(&b.node);
    CHECK_INT(t, write(b.raw, hello, (size_t)n), n);
    shutdown(b.raw, SHUT_WR);
    RUN_UNTIL(&b, b.node.ended);
    CHECK_STR(t, b.node.reason.text,
              "closed the connection during the "
              "handshake");
    CHECK_STR(t, b.node.reason.kind, "tls");
    bed_reset(&b);
  }
  bed_free(&b);
}

static void test_verify(struct test_run *t)
{
  struct err e;
  struct bed b;
  int fds[2];
  bed_init(t, &b);
  bed_connect(t, &b, b.node_id, b.driver_id);
  start(&b.node);
  start(&b.driver);
  CHECK_INT(t, carrier_tls_verify(b.node.carrier, b.node_id, &e), 0);
  RUN_UNTIL(&b, carrier_tls_peer(b.node.carrier));
  CHECK_INT(t, carrier_tls_verify(b.node.carrier, b.node_id, &e), 0);
  struct tls_identity *other = load(
      b.other_ca, test_member(b.other_ca, "node", "search"), CERTIFICATE_NODE);
  CHECK_INT(t, carrier_tls_verify(b.node.carrier, other, &e), -1);
  CHECK_STR(t, e.text,
            "its certificate is not signed by our CA (issuer: search CA)");
  tls_identity_free(other);
  if (CHECK(t, tcp_pair(fds))) {
    struct carrier *plain = carrier_fd_new(b.loop, fds[0], fds[0], "x", &e);
    CHECK(t, !carrier_is_tls(plain) && !carrier_tls_peer(plain));
    CHECK_INT(t, carrier_tls_verify(plain, b.node_id, &e), 0);
    carrier_close(plain);
    close(fds[1]);
  }
  bed_free(&b);
}

const struct test carrier_tls_tests[] = {
    {"carrier tls: what is sent at once waits for the handshake",
     test_early_send},
    {"carrier tls: a refused driver learns why", test_refused},
    {"carrier tls: a refused node learns why", test_refuses},
    {"carrier tls: peers without TLS", test_without_tls},
    {"carrier tls: paused from the beginning", test_paused},
    {"carrier tls: closed at any moment of the handshake", test_moments},
    {"carrier tls: half of a handshake", test_half_handshakes},
    {"carrier tls: verified again", test_verify},
    {NULL, NULL},
};
