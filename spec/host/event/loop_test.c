/* SPDX-License-Identifier: MIT */
/* The order of what a loop runs. */
#include "../test.h"
#include "base/container.h"
#include "event/loop.h"

#include <string.h>

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

const struct test loop_tests[] = {
    {"loop: the newest hook runs first", test_hooks},
    {"loop: timers expire in their order", test_timers},
    {"loop: messages are delivered before it is freed", test_mailbox},
    {NULL, NULL},
};
