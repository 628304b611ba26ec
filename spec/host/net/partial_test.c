/* SPDX-License-Identifier: MIT */
/* Messages that arrive in parts. */
#include "../test.h"
#include "net/partial.h"

#include <stdlib.h>
#include <string.h>

extern const struct test partial_tests[];

static uint8_t bytes[PARTIAL_SIZE];

static enum partial_result add(struct partial_list *l, int64_t id,
                               int64_t offset, int64_t total, size_t len,
                               uint64_t now)
{
  memset(bytes, (int)(offset / PARTIAL_SIZE + 1), len);
  return partial_add(l, id, offset, total, bytes, len, now);
}

static void test_whole(struct test_run *t)
{
  enum { TOTAL = 2 * PARTIAL_SIZE + 5 };
  struct partial_list l = {0};
  CHECK_INT(t, add(&l, 3, 2 * PARTIAL_SIZE, TOTAL, 5, 1), PARTIAL_OK);
  CHECK_INT(t, add(&l, 3, 0, TOTAL, PARTIAL_SIZE, 2), PARTIAL_OK);
  CHECK_INT(t, add(&l, 3, 0, TOTAL, PARTIAL_SIZE, 3), PARTIAL_OK);
  CHECK(t, !partial_take(&l, 3));
  CHECK_INT(t, l.bytes, TOTAL);
  CHECK_INT(t, add(&l, 3, PARTIAL_SIZE, TOTAL, PARTIAL_SIZE, 4), PARTIAL_OK);
  struct partial *p = partial_take(&l, 3);
  if (!CHECK(t, p)) return;
  CHECK_INT(t, p->total, TOTAL);
  CHECK(t, p->data[0] == 1 && p->data[PARTIAL_SIZE] == 2 &&
               p->data[TOTAL - 1] == 3);
  free(p);
  CHECK(t, !l.bytes && !l.count && LIST_EMPTY(&l.all));
}

static void test_wrong(struct test_run *t)
{
  const int64_t most = (int64_t)PARTIAL_SIZE * PARTIAL_MAX_PARTS;
  struct partial_list l = {0};
  CHECK_INT(t, add(&l, 1, 0, 0, 0, 1), PARTIAL_MALFORMED);
  CHECK_INT(t, add(&l, 1, 0, most + 1, PARTIAL_SIZE, 1), PARTIAL_MALFORMED);
  CHECK_INT(t, add(&l, 1, 1, most, PARTIAL_SIZE, 1), PARTIAL_MALFORMED);
  CHECK_INT(t, add(&l, 1, -PARTIAL_SIZE, most, 1, 1), PARTIAL_MALFORMED);
  CHECK_INT(t, add(&l, 1, 0, most, 1, 1), PARTIAL_MALFORMED);
  CHECK_INT(t, add(&l, 1, 0, 5, 6, 1), PARTIAL_MALFORMED);
  CHECK(t, LIST_EMPTY(&l.all));
  for (int64_t id = 1; id <= PARTIAL_COUNT; id++)
    CHECK_INT(t, add(&l, id, 0, most, PARTIAL_SIZE, (uint64_t)id), PARTIAL_OK);
  CHECK_INT(t, add(&l, 9, 0, 5, 5, 9), PARTIAL_FULL);
  CHECK_INT(t, add(&l, 1, 0, most - 1, PARTIAL_SIZE, 9), PARTIAL_MALFORMED);
  partial_drop_old(&l, 3);
  CHECK_INT(t, l.count, PARTIAL_COUNT - 2);
  CHECK(t, !partial_find(&l, 2) && partial_find(&l, 3));
  CHECK_INT(t, add(&l, 9, 0, 5, 5, 9), PARTIAL_OK);
  partial_drop_all(&l);
  CHECK(t, !l.bytes && !l.count && LIST_EMPTY(&l.all));
}

const struct test partial_tests[] = {
    {"partial: parts in any order make a message", test_whole},
    {"partial: malformed parts, and too many messages", test_wrong},
    {NULL, NULL},
};
