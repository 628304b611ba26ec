/* SPDX-License-Identifier: MIT */
/* The watch page, both sides of it in one process. */
#include "../test.h"
#include "wire/task_page.h"

#include <pthread.h>
#include <stdatomic.h>

extern const struct test watch_tests[];

struct pair {
  struct watch_page *page;
  struct watch *watch;
};

static bool pair_open(struct test_run *t, struct pair *p)
{
  struct err e;
  int fd;
  p->watch = NULL;
  p->page = watch_page_new(&fd, &e);
  if (CHECK(t, p->page != NULL)) p->watch = watch_open(fd, &e);
  return CHECK(t, p->watch != NULL);
}

static void pair_close(struct pair *p)
{
  watch_close(p->watch);
  watch_page_free(p->page);
}

static void test_turns(struct test_run *t)
{
  const struct watch_task a = {1, 2, 3, 4, 500}, b = {5, 6, 7, 8, 0};
  struct watch_task seen;
  struct pair p;
  if (!pair_open(t, &p)) return;
  CHECK_INT(t, watch_read(p.page, &seen), 0);
  CHECK(t, !watch_show(p.watch, &a, 400));
  uint64_t first = watch_read(p.page, &seen);
  CHECK(t, first != 0);
  CHECK_INT(t, watch_read(p.page, &seen), first);
  CHECK_INT(t, seen.session, 1);
  CHECK_INT(t, seen.stream, 2);
  CHECK_INT(t, seen.id, 3);
  CHECK_INT(t, seen.attempt, 4);
  CHECK_INT(t, seen.deadline, 500);
  CHECK(t, watch_show(p.watch, &b, 600) == &a);
  CHECK(t, watch_read(p.page, &seen) != first);
  CHECK_INT(t, seen.id, 7);
  CHECK_INT(t, seen.deadline, 0);
  /* again, but late: it was not the task who used the time up */
  CHECK(t, watch_show(p.watch, &a, 700) == &b);
  CHECK(t, watch_read(p.page, &seen) != first);
  CHECK_INT(t, seen.deadline, 700);
  CHECK(t, watch_show(p.watch, NULL, 0) == &a);
  CHECK_INT(t, watch_read(p.page, &seen), 0);
  CHECK(t, !watch_show(p.watch, NULL, 0));
  CHECK(t, !watch_show(NULL, &a, 0)); /* a process that is not watched */
  pair_close(&p);
}

struct race {
  struct pair pair;
  atomic_bool stop;
};

/* Tasks whose fields are all the same number, and nobody. */
static void *change(void *arg)
{
  struct race *r = arg;
  for (int64_t n = 1; !atomic_load(&r->stop); n++) {
    const struct watch_task task = {n, n, n, n, (uint64_t)n};
    watch_show(r->pair.watch, &task, 0);
    if (n % 3 == 0) watch_show(r->pair.watch, NULL, 0);
  }
  watch_show(r->pair.watch, NULL, 0);
  return NULL;
}

static void test_race(struct test_run *t)
{
  enum { SEEN = 20000 };
  struct race r = {.stop = false};
  struct watch_task seen;
  pthread_t thread;
  int64_t last = 0, count = 0;
  bool mixed = false, back = false;
  if (!pair_open(t, &r.pair)) return;
  if (CHECK(t, pthread_create(&thread, NULL, change, &r) == 0)) {
    while (count < SEEN) {
      if (!watch_read(r.pair.page, &seen)) continue;
      count++;
      mixed |= seen.stream != seen.session || seen.id != seen.session ||
               seen.attempt != seen.session ||
               seen.deadline != (uint64_t)seen.session;
      back |= seen.session < last;
      last = seen.session;
    }
    atomic_store(&r.stop, true);
    pthread_join(thread, NULL);
  }
  CHECK(t, !mixed);
  CHECK(t, !back);
  CHECK(t, last > 1); /* or this tests nothing */
  pair_close(&r.pair);
}

static void test_waits(struct test_run *t)
{
  struct pair p;
  if (!pair_open(t, &p)) return;
  CHECK(t, watch_waits(p.page, 0)); /* nothing has come */
  CHECK_INT(t, watch_come(p.watch, 70), 0);
  CHECK_INT(t, watch_come(p.watch, 10), 70);
  watch_taken(p.watch, 0);
  watch_taken(p.watch, 64);
  for (uint64_t i = 0; i < 90; i++)
    CHECK(t, watch_waits(p.page, i) == (i != 0 && i != 64));
  /* places are used again, for what waits */
  CHECK_INT(t, watch_come(p.watch, WATCH_TASKS), 80);
  CHECK(t, watch_waits(p.page, WATCH_TASKS));
  CHECK(t, watch_waits(p.page, WATCH_TASKS + 64));
  watch_taken(p.watch, WATCH_TASKS + 64);
  CHECK(t, !watch_waits(p.page, WATCH_TASKS + 64));
  watch_taken(NULL, 1); /* a process that is not watched */
  CHECK_INT(t, watch_come(NULL, 1), 0);
  pair_close(&p);
}

const struct test watch_tests[] = {
    {"watch: who runs, turn by turn", test_turns},
    {"watch: never a mixture", test_race},
    {"watch: tasks that wait", test_waits},
    {NULL, NULL},
};
