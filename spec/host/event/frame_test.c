/* SPDX-License-Identifier: MIT */
/* Frames over a socketpair, both ends on one loop. */
#include "../test.h"
#include "base/container.h"
#include "event/frame.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

extern const struct test frame_tests[];

struct end {
  struct frame_channel *channel;
  size_t frames, bytes;
  int ended;
  bool pauses;   /* at each frame */
  bool inside;   /* the test is in a call that must not call back */
  bool surprise; /* and did */
  int drained;
  const uint8_t *expects; /* the bytes of all frames, one after the other */
  bool differs;
};

struct pair {
  struct loop *loop;
  struct loop_timer timer;
  struct end a, b;
};

static void on_frame(void *arg, const uint8_t *data, size_t len)
{
  struct end *e = arg;
  e->surprise |= e->inside;
  e->differs |= e->expects && memcmp(data, e->expects + e->bytes, len);
  e->frames++;
  e->bytes += len;
  if (e->pauses) frame_pause(e->channel, true);
}

static void on_end(void *arg, const struct err *why)
{
  (void)why;
  ((struct end *)arg)->ended++;
}

static void on_drained(void *arg)
{
  ((struct end *)arg)->drained++;
}

static void on_time(struct loop_timer *timer)
{
  struct pair *p = CONTAINER_OF(timer, struct pair, timer);
  loop_stop(p->loop);
}

/* Runs the loop for some turns. */
static void turn(struct pair *p)
{
  struct err e;
  loop_timer_set(p->loop, &p->timer, LOOP_MS);
  loop_run(p->loop, &e);
}

static bool pair_open(struct test_run *t, struct pair *p)
{
  static const struct frame_events events = {on_frame, on_end, on_drained};
  struct err e;
  int fds[2];
  memset(p, 0, sizeof(*p));
  p->timer.on_expire = on_time;
  p->loop = loop_new(&e);
  if (!CHECK(t, p->loop) ||
      !CHECK(t, !socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)))
    return false;
  p->a.channel = frame_open(p->loop, fds[0], 1 << 20, &events, &p->a, &e);
  p->b.channel = frame_open(p->loop, fds[1], 1 << 20, &events, &p->b, &e);
  return CHECK(t, p->a.channel && p->b.channel);
}

static void pair_close(struct pair *p)
{
  frame_close(p->a.channel);
  frame_close(p->b.channel);
  loop_timer_clear(p->loop, &p->timer);
  loop_free(p->loop);
}

static bool send_bytes(struct end *e, const void *data, size_t len)
{
  buf_add(frame_begin(e->channel), data, len);
  return frame_end(e->channel) == 0;
}

static void test_pause(struct test_run *t)
{
  struct pair p;
  if (!pair_open(t, &p)) return;
  p.b.pauses = true;
  for (int i = 0; i < 3; i++) CHECK(t, send_bytes(&p.a, "hello", 5));
  for (int i = 1; i <= 3; i++) {
    turn(&p);
    CHECK_INT(t, p.b.frames, i);
    p.b.inside = true;
    frame_pause(p.b.channel, false);
    p.b.inside = false;
  }
  CHECK(t, !p.b.surprise);
  turn(&p);
  CHECK_INT(t, p.b.frames, 3);
  CHECK(t, send_bytes(&p.a, "more", 4));
  turn(&p);
  CHECK_INT(t, p.b.frames, 4);
  pair_close(&p);
}

/* What was sent before the end counts, paused or not. */
static void test_end(struct test_run *t)
{
  for (int paused = 0; paused < 2; paused++) {
    struct pair p;
    if (!pair_open(t, &p)) return;
    p.b.pauses = paused;
    for (int i = 0; i < 3; i++) CHECK(t, send_bytes(&p.a, "hello", 5));
    turn(&p);
    frame_close(p.a.channel);
    p.a.channel = NULL;
    turn(&p);
    CHECK_INT(t, p.b.frames, 3);
    CHECK_INT(t, p.b.ended, 1);
    frame_pause(p.b.channel, false);
    turn(&p);
    CHECK_INT(t, p.b.ended, 1);
    pair_close(&p);
  }
}

static void test_garbage(struct test_run *t)
{
  struct pair p;
  struct err e;
  int fds[2];
  static const struct frame_events events = {on_frame, on_end, on_drained};
  if (!pair_open(t, &p)) return;
  frame_close(p.a.channel);
  frame_close(p.b.channel);
  p.a.channel = NULL;
  if (!CHECK(t, !socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)))
    return;
  p.b.channel = frame_open(p.loop, fds[1], 100, &events, &p.b, &e);
  /* a frame byte by byte, then one that is too long */
  for (const char *at = "\2\0\0\0hi\145\0\0\0", *end = at + 10; at < end;
       at++) {
    CHECK_INT(t, write(fds[0], at, 1), 1);
    turn(&p);
  }
  CHECK_INT(t, p.b.frames, 1);
  CHECK_INT(t, p.b.bytes, 2);
  CHECK_INT(t, p.b.ended, 1);
  close(fds[0]);
  pair_close(&p);
}

static long peak_mib(void)
{
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return u.ru_maxrss / 1024;
}

/* A sender that is always a little ahead: what has been taken must not be
 * kept. */
static void test_stream(struct test_run *t)
{
  enum { FRAME = 1 << 20, TOTAL = 400 << 20, AHEAD = 4 << 20 };
  struct pair p;
  uint8_t *data = calloc(1, FRAME);
  if (!data || !pair_open(t, &p)) return;
  long before = peak_mib();
  bool was_ahead = false;
  for (size_t sent = 0; sent < TOTAL; turn(&p)) {
    while (frame_queued(p.a.channel) < AHEAD && sent < TOTAL) {
      if (!CHECK(t, send_bytes(&p.a, data, FRAME))) sent = TOTAL;
      sent += FRAME;
    }
    was_ahead |= frame_queued(p.a.channel) > 0;
  }
  CHECK(t, was_ahead); /* or this tests nothing */
  /* what has left the one may need some turns to reach the other */
  for (int i = 0; i < 1000 && p.b.bytes < TOTAL; i++) turn(&p);
  CHECK_INT(t, p.b.bytes, TOTAL);
  CHECK(t, peak_mib() - before < 100);
  pair_close(&p);
  free(data);
}

/* Parts of any size, at any fill of the queue and the socket. */
static void test_parts(struct test_run *t)
{
  enum { TOTAL = 16 << 20 };
  struct pair p;
  uint8_t *data = malloc(TOTAL);
  if (!CHECK(t, data) || !pair_open(t, &p)) return;
  for (size_t i = 0; i < TOTAL; i++) data[i] = (uint8_t)(i * 2654435761u >> 24);
  p.b.expects = data;
  size_t sent = 0, frames = 0;
  for (unsigned i = 0; sent < TOTAL - (1 << 20); i++, frames++) {
    struct iovec parts[3];
    buf_add(frame_begin(p.a.channel), data + sent, i % 7);
    sent += i % 7;
    for (unsigned k = 0; k < 3; k++) {
      size_t len = i * 7919u * (k + 1) % (k == i % 3 ? 300000 : 50);
      parts[k] = (struct iovec){data + sent, len};
      sent += len;
    }
    if (!CHECK(t, frame_end_with(p.a.channel, parts, 3) == 0)) break;
    for (unsigned k = 0; k < i % 3; k++) turn(&p);
  }
  for (int i = 0; i < 1000 && p.b.bytes < sent; i++) turn(&p);
  CHECK_INT(t, p.b.bytes, sent);
  CHECK_INT(t, p.b.frames, frames);
  CHECK(t, !p.b.differs);
  CHECK(t, p.a.drained > 0 && !p.b.drained);
  /* one that is too long is dropped as a whole */
  struct iovec parts[] = {{data, 1 << 20}, {data, 1}};
  frame_begin(p.a.channel);
  CHECK_INT(t, frame_end_with(p.a.channel, parts, 2), -1);
  p.b.expects = NULL;
  CHECK(t, send_bytes(&p.a, "more", 4));
  turn(&p);
  CHECK_INT(t, p.b.bytes, sent + 4);
  pair_close(&p);
  free(data);
}

const struct test frame_tests[] = {
    {"frame: unpausing calls nobody back at once", test_pause},
    {"frame: all that was sent comes before the end", test_end},
    {"frame: pieces are put together, too long is the end", test_garbage},
    {"frame: a sender that stays ahead stays small", test_stream},
    {"frame: parts arrive as one frame, taken at once or later", test_parts},
    {NULL, NULL},
};
