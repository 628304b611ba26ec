/* SPDX-License-Identifier: MIT */
/* Tasks that a worker has not begun, with a fake worker. */
#include "../test.h"
#include "node/not_begun.h"
#include "wire/task_page.h"

extern const struct test not_begun_tests[];

/* Tasks below `begun` do not wait, nor does `other`. */
struct play {
  struct not_begun list;
  uint64_t begun, other;
};

static bool waits(const void *arg, uint64_t number)
{
  const struct play *p = arg;
  return number >= p->begun && number != p->other;
}

static void add(struct play *p, int64_t session, int64_t first, int64_t count)
{
  not_begun_add(
      &p->list,
      (struct not_begun_range){
          .session = session, .job = 7, .first = first, .count = count},
      waits, p);
}

static int64_t count_ranges(const struct play *p)
{
  const struct not_begun_range *r;
  int64_t n = 0;
  STAILQ_FOREACH (r, &p->list.ranges, link) n++;
  return n;
}

static int64_t next(struct play *p, int64_t session, struct not_begun_walk *at,
                    int64_t *count)
{
  struct not_begun_range r;
  if (!not_begun_next(&p->list, session, at, &r, waits, p)) return 0;
  *count = r.count;
  return r.first;
}

static void test_ranges(struct test_run *t)
{
  struct play p = {.begun = 2, .other = 6};
  struct not_begun_walk at = {0};
  int64_t count = 0;
  not_begun_init(&p.list);
  add(&p, 1, 101, 5); /* numbers 0..4 */
  add(&p, 2, 501, 1); /* 5 */
  add(&p, 1, 201, 3); /* 6..8 */
  CHECK_INT(t, next(&p, 1, &at, &count), 103);
  CHECK_INT(t, count, 3);
  CHECK_INT(t, next(&p, 1, &at, &count), 202);
  CHECK_INT(t, count, 2);
  CHECK_INT(t, next(&p, 1, &at, &count), 0);
  at = (struct not_begun_walk){0};
  p.other = 103 - 101 + 1; /* in the middle of the first */
  CHECK_INT(t, next(&p, 1, &at, &count), 103);
  CHECK_INT(t, count, 1);
  CHECK_INT(t, next(&p, 1, &at, &count), 105);
  CHECK_INT(t, count, 1);
  not_begun_forget(&p.list, 1);
  at = (struct not_begun_walk){0};
  CHECK_INT(t, next(&p, 1, &at, &count), 0);
  CHECK_INT(t, next(&p, 2, &at, &count), 0);
  at = (struct not_begun_walk){0};
  CHECK_INT(t, next(&p, 2, &at, &count), 501);
  not_begun_clear(&p.list);
}

static void test_bounded(struct test_run *t)
{
  struct play p = {.other = UINT64_MAX};
  struct not_begun_walk at = {0};
  int64_t count = 0;
  not_begun_init(&p.list);
  for (int64_t i = 0; i < 3 * TASK_PAGE_TASKS; i++) {
    if (i % 2) p.begun++; /* slower than they come */
    add(&p, 1, i + 1, 1);
  }
  CHECK(t, count_ranges(&p) <= TASK_PAGE_TASKS);
  CHECK_INT(t, next(&p, 1, &at, &count), 2 * TASK_PAGE_TASKS + 1);
  p.begun = 3 * TASK_PAGE_TASKS;
  add(&p, 1, 1000000, 2 * TASK_PAGE_TASKS); /* more than the page covers */
  CHECK_INT(t, count_ranges(&p), 1);
  at = (struct not_begun_walk){0};
  CHECK_INT(t, next(&p, 1, &at, &count), 1000000 + TASK_PAGE_TASKS);
  CHECK_INT(t, count, TASK_PAGE_TASKS);
  not_begun_clear(&p.list);
}

const struct test not_begun_tests[] = {
    {"not_begun: ranges of a session", test_ranges},
    {"not_begun: no more than the page covers", test_bounded},
    {NULL, NULL},
};
