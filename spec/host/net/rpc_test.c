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

struct bed {
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
  struct bed *b = CONTAINER_OF(timer, struct bed, timer);
  loop_stop(b->loop);
}

static void run_for(struct bed *b, uint64_t ns)
{
  struct err e;
  loop_timer_set(b->loop, &b->timer, ns);
  loop_run(b->loop, &e);
}

/* A loop and a server on it. */
static bool open_bed(struct test_run *t, struct bed *b,
                     const struct rpc_handlers *handlers)
{
  static int beds; /* nng frees an address later */
  struct err e;
  *b = (struct bed){.timer = {.on_expire = on_time}};
  snprintf(b->url, sizeof(b->url), "abstract://moonfleet-ctest-%d-%d",
           (int)getpid(), ++beds);
  const char *urls[] = {b->url, NULL};
  b->loop = loop_new(&e);
  b->server = rpc_listen(b->loop, urls, 0600, handlers, b, &e);
  return CHECK(t, b->server);
}

static void close_bed(struct bed *b)
{
  run_for(b, 20 * LOOP_MS);
  rpc_server_close(b->server);
  loop_timer_clear(b->loop, &b->timer);
  loop_free(b->loop);
}

static void on_request(void *arg, struct rpc_request *req, uint32_t pipe,
                       const uint8_t *data, size_t len)
{
  struct bed *b = arg;
  b->requests++;
  for (int i = 0; i < b->ngone; i++) b->late += b->gone[i] == pipe;
  rpc_reply(req, data, len);
}

static void on_disconnect(void *arg, uint32_t pipe)
{
  struct bed *b = arg;
  if (b->ngone < ROUNDS * 4) b->gone[b->ngone++] = pipe;
}

static void on_state(void *arg, enum rpc_state state, const struct err *e)
{
  (void)e;
  struct bed *b = arg;
  b->up = state == RPC_UP;
  loop_stop(b->loop);
}

static void on_reply(void *arg, const uint8_t *data, size_t len,
                     const struct err *e)
{
  (void)data, (void)len, (void)e;
  ((struct bed *)arg)->ended++;
}

/* Connections close while messages go both ways. That it comes to its end is
 * half of the test: nng alone hangs here now and then. */
static void test_close(struct test_run *t)
{
  static const struct rpc_handlers handlers = {on_request, on_disconnect, 0};
  struct bed b;
  struct err e;
  if (!open_bed(t, &b, &handlers)) return;
#ifdef __SANITIZE_ADDRESS__
  __lsan_disable(); /* nng loses a message that a closing connection was to send
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
    /* soon, but by nng's threads, which may have to wait for a processor */
    for (int ms = 0; ms < 5000 && b.ended < CALLS; ms++) run_for(&b, LOOP_MS);
    CHECK_INT(t, b.ended, CALLS);
  }
  run_for(&b, 20 * LOOP_MS);
#ifdef __SANITIZE_ADDRESS__
  __lsan_enable();
#endif
  CHECK(t, b.requests);
  CHECK_INT(t, b.late, 0);
  close_bed(&b);
}

static void on_burst(void *arg, struct rpc_request *req, uint32_t pipe,
                     const uint8_t *data, size_t len)
{
  static const uint8_t large[LARGE];
  (void)pipe, (void)data, (void)len;
  struct bed *b = arg;
  b->held[b->nheld++] = req;
  if (b->nheld < BURST) return;
  while (b->nheld) rpc_reply(b->held[--b->nheld], large, sizeof(large));
}

static void on_large(void *arg, const uint8_t *data, size_t len,
                     const struct err *e)
{
  (void)data;
  struct bed *b = arg;
  b->whole += !e && len == LARGE;
  if (++b->ended == BURST) loop_stop(b->loop);
}

/* Replies that wait for each other; then those who had them take requests
 * again. */
static void test_burst(struct test_run *t)
{
  static const struct rpc_handlers handlers = {on_burst, on_disconnect, 0};
  struct bed b;
  struct err e;
  if (!open_bed(t, &b, &handlers)) return;
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
  close_bed(&b);
}

/* It goes unanswered: the server drops it in the end. */
static void on_unanswered(void *arg, struct rpc_request *req, uint32_t pipe,
                          const uint8_t *data, size_t len)
{
  (void)req, (void)pipe, (void)data, (void)len;
  ((struct bed *)arg)->requests++;
}

static void test_greedy(struct test_run *t)
{
  static const struct rpc_handlers handlers = {on_unanswered, on_disconnect, 0};
  struct bed b;
  struct err e;
  if (!open_bed(t, &b, &handlers)) return;
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
  close_bed(&b);
}

const struct test rpc_tests[] = {
    {"rpc: who has too many requests is cut off", test_greedy},
    {"rpc: replies that wait for each other all arrive", test_burst},
    {"rpc: connections close amid requests, and none comes after", test_close},
    {NULL, NULL},
};
