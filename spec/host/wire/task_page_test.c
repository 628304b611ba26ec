/* SPDX-License-Identifier: MIT */
/* The task page, both sides of it in one process. */
#include "../test.h"
#include "wire/task_page.h"

#include <pthread.h>
#include <stdatomic.h>

extern const struct test task_page_tests[];

struct pair {
  struct task_page *page;
  struct task_page_writer *writer;
};

static bool pair_open(struct test_run *t, struct pair *p)
{
  struct err e;
  int fd;
  p->writer = NULL;
  p->page = task_page_new(&fd, &e);
  if (CHECK(t, p->page != NULL)) p->writer = task_page_open(fd, &e);
  return CHECK(t, p->writer != NULL);
}

static void pair_close(struct pair *p)
{
  task_page_close(p->writer);
  task_page_free(p->page);
}

static void test_turns(struct test_run *t)
{
  const struct task_identity a = {1, 2, 3, 4, 500}, b = {5, 6, 7, 8, 0};
  struct task_identity seen;
  struct pair p;
  if (!pair_open(t, &p)) return;
  CHECK_INT(t, task_page_read(p.page, &seen), 0);
  CHECK(t, !task_page_set(p.writer, &a, 400));
  uint64_t first = task_page_read(p.page, &seen);
  CHECK(t, first != 0);
  CHECK_INT(t, task_page_read(p.page, &seen), first);
  CHECK_INT(t, seen.session, 1);
  CHECK_INT(t, seen.job, 2);
  CHECK_INT(t, seen.id, 3);
  CHECK_INT(t, seen.attempt, 4);
  CHECK_INT(t, seen.deadline, 500);
  CHECK(t, task_page_set(p.writer, &b, 600) == &a);
  CHECK(t, task_page_read(p.page, &seen) != first);
  CHECK_INT(t, seen.id, 7);
  CHECK_INT(t, seen.deadline, 0);
  /* again, but late: the task did not use the time up */
  CHECK(t, task_page_set(p.writer, &a, 700) == &b);
  CHECK(t, task_page_read(p.page, &seen) != first);
  CHECK_INT(t, seen.deadline, 700);
  CHECK(t, task_page_set(p.writer, NULL, 0) == &a);
  CHECK_INT(t, task_page_read(p.page, &seen), 0);
  CHECK(t, !task_page_set(p.writer, NULL, 0));
  CHECK(t, !task_page_set(NULL, &a, 0)); /* a process without a page */
  pair_close(&p);
}

struct race {
  struct pair pair;
  atomic_bool stop;
};

/* Tasks whose fields are all the same number, and no task. */
static void *change(void *arg)
{
  struct race *r = arg;
  for (int64_t n = 1; !atomic_load(&r->stop); n++) {
    const struct task_identity task = {n, n, n, n, (uint64_t)n};
    task_page_set(r->pair.writer, &task, 0);
    if (n % 3 == 0) task_page_set(r->pair.writer, NULL, 0);
  }
  task_page_set(r->pair.writer, NULL, 0);
  return NULL;
}

static void test_race(struct test_run *t)
{
  enum { SEEN = 20000 };
  struct race r = {.stop = false};
  struct task_identity seen;
  pthread_t thread;
  int64_t last = 0, count = 0;
  bool mixed = false, back = false;
  if (!pair_open(t, &r.pair)) return;
  if (CHECK(t, pthread_create(&thread, NULL, change, &r) == 0)) {
    while (count < SEEN) {
      if (!task_page_read(r.pair.page, &seen)) continue;
      count++;
      mixed |= seen.job != seen.session || seen.id != seen.session ||
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
  CHECK(t, task_page_is_queued(p.page, 0)); /* nothing was received */
  CHECK_INT(t, task_page_queue(p.writer, 70), 0);
  CHECK_INT(t, task_page_queue(p.writer, 10), 70);
  task_page_dequeue(p.writer, 0);
  task_page_dequeue(p.writer, 64);
  for (uint64_t i = 0; i < 90; i++)
    CHECK(t, task_page_is_queued(p.page, i) == (i != 0 && i != 64));
  /* places are used again, for what waits */
  CHECK_INT(t, task_page_queue(p.writer, TASK_PAGE_TASKS), 80);
  CHECK(t, task_page_is_queued(p.page, TASK_PAGE_TASKS));
  CHECK(t, task_page_is_queued(p.page, TASK_PAGE_TASKS + 64));
  task_page_dequeue(p.writer, TASK_PAGE_TASKS + 64);
  CHECK(t, !task_page_is_queued(p.page, TASK_PAGE_TASKS + 64));
  task_page_dequeue(NULL, 1); /* a process without a page */
  CHECK_INT(t, task_page_queue(NULL, 1), 0);
  pair_close(&p);
}

static void test_meters(struct test_run *t)
{
  struct pair p;
  uint64_t totals[METERS] = {[METER_TASKS_OK] = 5};
  const uint64_t *times = totals + METER_TASK_TIME;
  const uint64_t *bytes = totals + METER_FETCH_BYTES;
  if (!pair_open(t, &p)) return;
  struct meters *m = task_page_meters(p.writer);
  meters_add(m, METER_TASKS_OK, 2);
  meters_add_time(m, METER_TASK_TIME, 0);
  meters_add_time(m, METER_TASK_TIME,
                  1000 * 1000); /* the bound belongs to it */
  meters_add_time(m, METER_TASK_TIME, 1000 * 1000 + 1);
  meters_add_time(m, METER_TASK_TIME, UINT64_C(61000000000));
  meters_add_bytes(m, 1024);
  meters_add_bytes(m, UINT64_MAX / 2);
  task_page_sum(p.page, totals);
  CHECK_INT(t, totals[METER_TASKS_OK], 7);
  CHECK_INT(t, times[0], 2);
  CHECK_INT(t, times[1], 1);
  CHECK_INT(t, times[METERS_SECONDS], 1);
  CHECK_INT(t, times[METERS_SECONDS + 1], 61002000001);
  CHECK_INT(t, bytes[0], 1);
  CHECK_INT(t, bytes[METERS_BYTES], 1);
  CHECK_INT(t, totals[METER_FETCH_TIME], 0);
  meters_add(task_page_meters(NULL), METER_TASKS_OK, 1); /* without a page */
  pair_close(&p);
}

const struct test task_page_tests[] = {
    {"task_page: what runs, turn by turn", test_turns},
    {"task_page: never a mixture", test_race},
    {"task_page: queued tasks", test_waits},
    {"task_page: what a worker counts", test_meters},
    {NULL, NULL},
};
