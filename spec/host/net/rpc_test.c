/* SPDX-License-Identifier: MIT */
/* Requests and replies with both ends on one loop, where connections end at the
 * worst moment. */
#include "../test.h"
#include "base/container.h"
#include "net/rpc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

extern const struct test rpc_tests[];

enum {
  ROUNDS = 300,
  CALLS = 8,
  BURSTS = 20,
  BURST = 100,
  GREEDY = 1200,
  LARGE = 128 * 1024, /* more than a socket takes at once, a few times over */
};

struct fixture {
  char url[64];
  struct rpc_server *server;
  struct loop *loop;
  struct loop_timer timer;
  struct rpc_peer *peer;
  struct rpc_call *calls[CALLS];
  uint32_t gone[ROUNDS * 4];
  int ngone, late, requests;
  bool up;
  int ended;
  struct rpc_request *held[BURST];
  int nheld, whole;
};

static void on_time(struct loop_timer *timer)
{
  struct fixture *b = CONTAINER_OF(timer, struct fixture, timer);
  loop_stop(b->loop);
}

static void run_for(struct fixture *b, uint64_t ns)
{
  struct err e;
  loop_timer_set(b->loop, &b->timer, ns);
  loop_run(b->loop, &e);
}

/* A loop and a server on it. */
static bool fixture_open(struct test_run *t, struct fixture *b,
                         const struct rpc_handlers *handlers)
{
  static int beds; /* nng frees an address later */
  struct err e;
  *b = (struct fixture){.timer = {.on_expire = on_time}};
  snprintf(b->url, sizeof(b->url), "abstract://moonfleet-ctest-%d-%d",
           (int)getpid(), ++beds);
  const char *urls[] = {b->url, NULL};
  b->loop = loop_new(&e);
  b->server = rpc_listen(b->loop, urls, 0600, handlers, b, &e);
  return CHECK(t, b->server);
}

static void fixture_close(struct fixture *b)
{
  run_for(b, 20 * LOOP_MS);
  rpc_server_close(b->server);
  loop_timer_clear(b->loop, &b->timer);
  loop_free(b->loop);
}

static void on_request(void *arg, struct rpc_request *req, uint32_t pipe,
                       const uint8_t *data, size_t len)
{
  struct fixture *b = arg;
  b->requests++;
  for (int i = 0; i < b->ngone; i++) b->late += b->gone[i] == pipe;
  rpc_reply(req, data, len);
}

static void on_disconnect(void *arg, uint32_t pipe)
{
  struct fixture *b = arg;
  if (b->ngone < ROUNDS * 4) b->gone[b->ngone++] = pipe;
}

static void on_state(void *arg, enum rpc_state state, const struct err *e)
{
  (void)e;
  struct fixture *b = arg;
  b->up = state == RPC_UP;
  loop_stop(b->loop);
}

static void on_reply(void *arg, const uint8_t *data, size_t len,
                     const struct err *e)
{
  (void)data, (void)len, (void)e;
  ((struct fixture *)arg)->ended++;
}

/* Connections close while messages travel both ways. Half of the test is that
 * it ends: without the workaround nng hangs here now and then. */
static void test_close(struct test_run *t)
{
  static const struct rpc_handlers handlers = {on_request, on_disconnect, 0};
  struct fixture b;
  struct err e;
  if (!fixture_open(t, &b, &handlers)) return;
#ifdef __SANITIZE_ADDRESS__
  __lsan_disable(); /* nng leaks a message that a closing connection was to send
                     */
#endif
  for (int i = 0; i < ROUNDS; i++) {
    b.up = false;
    b.ended = 0;
    b.peer = rpc_dial(b.loop, b.url, 5000, on_state, &b, &e);
    run_for(&b, 5 * LOOP_S);
    if (!CHECK(t, b.up)) break;
    for (int c = 0; c < CALLS; c++)
      CHECK(t, rpc_call(b.peer, "hello", 5, 0, on_reply, &b, &e));
    usleep((unsigned)(i % 20) * 10);
    rpc_close(b.peer);
    /* soon, but on nng's threads, which may have to wait for a processor */
    for (int ms = 0; ms < 5000 && b.ended < CALLS; ms++) run_for(&b, LOOP_MS);
    CHECK_INT(t, b.ended, CALLS);
  }
  run_for(&b, 20 * LOOP_MS);
#ifdef __SANITIZE_ADDRESS__
  __lsan_enable();
#endif
  CHECK(t, b.requests);
  CHECK_INT(t, b.late, 0);
  fixture_close(&b);
}

static void on_burst(void *arg, struct rpc_request *req, uint32_t pipe,
                     const uint8_t *data, size_t len)
{
  static const uint8_t large[LARGE];
  (void)pipe, (void)data, (void)len;
  struct fixture *b = arg;
  b->held[b->nheld++] = req;
  if (b->nheld < BURST) return;
  while (b->nheld) rpc_reply(b->held[--b->nheld], large, sizeof(large));
}

static void on_large(void *arg, const uint8_t *data, size_t len,
                     const struct err *e)
{
  (void)data;
  struct fixture *b = arg;
  b->whole += !e && len == LARGE;
  if (++b->ended == BURST) loop_stop(b->loop);
}

/* Replies queue behind each other; afterwards their contexts take requests
 * again. */
static void test_burst(struct test_run *t)
{
  static const struct rpc_handlers handlers = {on_burst, on_disconnect, 0};
  struct fixture b;
  struct err e;
  if (!fixture_open(t, &b, &handlers)) return;
  b.peer = rpc_dial(b.loop, b.url, 5000, on_state, &b, &e);
  run_for(&b, 5 * LOOP_S);
  for (int i = 0; i < BURSTS && b.up; i++) {
    b.ended = 0;
    for (int c = 0; c < BURST; c++)
      CHECK(t, rpc_call(b.peer, "hello", 5, 0, on_large, &b, &e));
    run_for(&b, 30 * LOOP_S);
    if (!CHECK_INT(t, b.ended, BURST)) break;
  }
  CHECK_INT(t, b.whole, BURSTS * BURST);
  rpc_close(b.peer);
  fixture_close(&b);
}

/* Leaves the request unanswered; the server drops it in the end. */
static void on_unanswered(void *arg, struct rpc_request *req, uint32_t pipe,
                          const uint8_t *data, size_t len)
{
  (void)req, (void)pipe, (void)data, (void)len;
  ((struct fixture *)arg)->requests++;
}

static void test_greedy(struct test_run *t)
{
  static const struct rpc_handlers handlers = {on_unanswered, on_disconnect, 0};
  struct fixture b;
  struct err e;
  if (!fixture_open(t, &b, &handlers)) return;
  for (int i = 0; i < 2; i++) {
    b.peer = rpc_dial(b.loop, b.url, 5000, on_state, &b, &e);
    run_for(&b, 5 * LOOP_S);
    if (!CHECK(t, b.up)) break;
    for (int c = 0; c < GREEDY; c++)
      CHECK(t, rpc_call(b.peer, "hello", 5, 0, on_reply, &b, &e));
    run_for(&b, 30 * LOOP_S); /* until the connection ends */
    CHECK(t, !b.up);
    CHECK(t, b.requests < (i + 1) * GREEDY);
    rpc_close(b.peer);
  }
  fixture_close(&b);
}

const struct test rpc_tests[] = {
    {"rpc: a connection with too many requests is closed", test_greedy},
    {"rpc: replies that wait for each other all arrive", test_burst},
    {"rpc: connections close amid requests, and none comes after", test_close},
    {NULL, NULL},
};
