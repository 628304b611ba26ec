/* SPDX-License-Identifier: MIT */
#include "../test.h"
#include "base/container.h"
#include "node/session.h"

#include <string.h>

extern const struct test session_tests[];

/* Sessions end when their leases expire; the end of the first makes another
 * fail. */
struct ends {
  struct session_list list; /* first: passed to on_expired */
  struct session *expires;
  int count;
  struct loop_timer enough;
};

static void on_expired(struct session_list *l, struct session *s)
{
  struct ends *e = (struct ends *)l;
  if (s == e->expires) e->expires = NULL;
  if (e->expires) session_fail(e->expires, "of the end of another");
  e->count++;
  session_end(s);
}

static void on_enough(struct loop_timer *timer)
{
  struct ends *e = CONTAINER_OF(timer, struct ends, enough);
  loop_stop(e->list.loop);
}

static struct session *open_session(struct ends *e, char name)
{
  uint8_t key[PROTOCOL_SESSION_SIZE];
  memset(key, name, sizeof(key));
  return session_new(&e->list, key);
}

/* Sessions are visited from the newest to the oldest. */
static void test_expired_in_walk(struct test_run *t, bool walked_before)
{
  struct ends e = {.enough = {.on_expire = on_enough}};
  struct err err;
  struct loop *loop = loop_new(&err);
  if (!CHECK(t, loop != NULL)) return;
  session_list_init(&e.list, loop, 1);
  e.list.on_expired = on_expired;
  struct session *a = open_session(&e, 'a'), *b = open_session(&e, 'b');
  struct session *ends = walked_before ? a : b;
  e.expires = walked_before ? b : a;
  ends->lease = 0;
  loop_timer_set(loop, &e.list.timer, 0);
  loop_timer_set(loop, &e.enough, 50 * LOOP_MS);
  loop_run(loop, &err);
  CHECK_INT(t, e.count, 2);
  CHECK_INT(t, e.list.count, 0);
  session_list_close(&e.list);
  loop_timer_clear(loop, &e.enough);
  loop_free(loop);
}

static void test_expired_before(struct test_run *t)
{
  test_expired_in_walk(t, true);
}

static void test_expired_after(struct test_run *t)
{
  test_expired_in_walk(t, false);
}

const struct test session_tests[] = {
    {"session: failed by the end of a later one, ends at once",
     test_expired_before},
    {"session: failed by the end of an earlier one", test_expired_after},
    {NULL, NULL},
};
