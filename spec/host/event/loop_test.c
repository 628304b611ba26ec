/* SPDX-License-Identifier: MIT */
/* The order of what a loop runs. */
#include "../test.h"
#include "base/container.h"
#include "event/loop.h"

#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

extern const struct test loop_tests[];

struct log {
  char text[16];
};

static void add(struct log *log, char c)
{
  size_t len = strlen(log->text);
  if (len + 1 < sizeof(log->text)) log->text[len] = c;
}

/* ---- hooks ---- */

struct hook {
  struct loop_hook hook;
  struct loop *loop;
  struct log *log;
  char name;
  bool removes, stops;
};

static bool run(struct loop_hook *hook)
{
  struct hook *h = CONTAINER_OF(hook, struct hook, hook);
  add(h->log, h->name);
  if (h->removes) loop_hook_remove(hook);
  if (h->stops) loop_stop(h->loop);
  return true;
}

static void test_hooks(struct test_run *t)
{
  struct err e;
  struct log log = {{0}};
  struct loop *loop = loop_new(&e);
  struct hook first = {{.run = run}, loop, &log, 'a', false, false};
  struct hook second = {{.run = run}, loop, &log, 'b', true, false};
  struct hook third = {{.run = run}, loop, &log, 'c', false, true};
  loop_hook_add(loop, &first.hook);
  loop_hook_add(loop, &second.hook);
  loop_hook_add(loop, &third.hook);
  CHECK_INT(t, loop_run(loop, &e), 0);
  CHECK_INT(t, loop_run(loop, &e), 0); /* without the second */
  CHECK(t, !strcmp(log.text, "cbaca"));
  loop_hook_remove(&first.hook);
  loop_hook_remove(&third.hook);
  loop_free(loop);
}

/* ---- timers ---- */

struct timer {
  struct loop_timer timer;
  struct loop *loop;
  struct log *log;
  char name;
};

static void on_expire(struct loop_timer *timer)
{
  struct timer *s = CONTAINER_OF(timer, struct timer, timer);
  add(s->log, s->name);
  if (s->name == 'c') loop_stop(s->loop);
}

static void test_timers(struct test_run *t)
{
  struct err e;
  struct log log = {{0}};
  struct loop *loop = loop_new(&e);
  struct timer timers[5];
  const uint64_t times[] = {3, 1, 2, 4, 0};
  for (int i = 0; i < 5; i++) {
    timers[i] =
        (struct timer){{.on_expire = on_expire}, loop, &log, "cabdx"[i]};
    loop_timer_set(loop, &timers[i].timer, times[i] * LOOP_MS);
  }
  loop_timer_clear(loop, &timers[4].timer);
  loop_timer_clear(loop, &timers[4].timer);
  loop_timer_set(loop, &timers[3].timer, LOOP_S); /* again, and later */
  CHECK_INT(t, loop_run(loop, &e), 0);
  CHECK(t, !strcmp(log.text, "abc"));
  CHECK(t, timers[0].timer.slot == 0);
  loop_timer_clear(loop, &timers[3].timer);
  loop_free(loop);
}

/* ---- mailbox ---- */

struct message {
  struct loop_msg msg;
  struct loop *loop;
  struct log *log;
  char name;
};

static void deliver(struct loop_msg *msg)
{
  struct message *m = CONTAINER_OF(msg, struct message, msg);
  add(m->log, m->name);
  loop_received(m->loop);
}

static void test_mailbox(struct test_run *t)
{
  struct err e;
  struct log log = {{0}};
  struct loop *loop = loop_new(&e);
  struct message a = {{.deliver = deliver}, loop, &log, 'a'};
  struct message b = {{.deliver = deliver}, loop, &log, 'b'};
  loop_expect(loop);
  loop_expect(loop);
  loop_post(loop, &a.msg);
  loop_post(loop, &b.msg);
  loop_free(loop);
  CHECK(t, !strcmp(log.text, "ab"));
}

/* ---- spinning ---- */

/* Two loops that send a byte to and fro. */
struct player {
  struct loop_io io;
  struct loop *loop;
  int left; /* bytes to answer */
};

static void on_byte(struct loop_io *io, uint32_t events)
{
  struct player *p = CONTAINER_OF(io, struct player, io);
  char byte;
  (void)events;
  if (read(io->fd, &byte, 1) != 1 || write(io->fd, &byte, 1) != 1 ||
      --p->left == 0)
    loop_stop(p->loop);
}

static void *play(void *arg)
{
  struct player *p = arg;
  struct err e;
  p->loop = loop_new(&e);
  p->io.on_ready = on_byte;
  loop_io_add(p->loop, &p->io, EPOLLIN, &e);
  loop_expect_soon(p->loop, true);
  loop_run(p->loop, &e);
  loop_io_remove(p->loop, &p->io);
  loop_free(p->loop);
  return NULL;
}

static void test_spinning(struct test_run *t)
{
  struct player a = {.left = 5000}, b = {.left = 5000};
  pthread_t thread;
  int fds[2];
  if (!CHECK(t, !socketpair(AF_UNIX, SOCK_STREAM, 0, fds))) return;
  a.io.fd = fds[0];
  b.io.fd = fds[1];
  CHECK_INT(t, write(fds[0], "x", 1), 1);
  pthread_create(&thread, NULL, play, &b);
  play(&a);
  pthread_join(thread, NULL);
  CHECK_INT(t, a.left + b.left, 0);
  close(fds[0]);
  close(fds[1]);
}

struct ticker {
  struct loop_timer timer;
  struct loop *loop;
  int left;
};

static void on_tick(struct loop_timer *timer)
{
  struct ticker *s = CONTAINER_OF(timer, struct ticker, timer);
  if (--s->left)
    loop_timer_set(s->loop, timer, LOOP_MS);
  else
    loop_stop(s->loop);
}

static uint64_t processor_time(void)
{
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (uint64_t)t.tv_sec * LOOP_S + (uint64_t)t.tv_nsec;
}

/* A loop that waits for long does not spin, whatever is expected. */
static void test_no_spinning(struct test_run *t)
{
  struct err e;
  struct ticker s = {.timer.on_expire = on_tick, .left = 200};
  s.loop = loop_new(&e);
  loop_expect_soon(s.loop, true);
  loop_timer_set(s.loop, &s.timer, LOOP_MS);
  uint64_t began = loop_clock(), used = processor_time();
  CHECK_INT(t, loop_run(s.loop, &e), 0);
  used = processor_time() - used;
  CHECK(t, used < (loop_clock() - began) / 2);
  loop_expect_soon(s.loop, false);
  loop_free(s.loop);
}

const struct test loop_tests[] = {
    {"loop: the newest hook runs first", test_hooks},
    {"loop: timers expire in their order", test_timers},
    {"loop: messages are delivered before it is freed", test_mailbox},
    {"loop: spinning loses no event", test_spinning},
    {"loop: an idle loop does not spin", test_no_spinning},
    {NULL, NULL},
};
