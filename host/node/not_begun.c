/* SPDX-License-Identifier: MIT */
#include "node/not_begun.h"

#include "wire/task_page.h"

#include <stdlib.h>

static struct not_begun_range *range_at(const struct not_begun *u, size_t i)
{
  return &u->ranges[(u->head + i) & (u->capacity - 1)];
}

static void drop_head(struct not_begun *u, int64_t tasks)
{
  struct not_begun_range *head = range_at(u, 0);
  if (tasks < head->count) {
    head->first += tasks;
    head->number += (uint64_t)tasks;
    head->count -= tasks;
    return;
  }
  u->head++;
  u->count--;
}

/* What has begun, and what is too long ago to be told. */
static void drop_begun(struct not_begun *u, not_begun_is_queued *waits,
                       const void *arg)
{
  while (u->count) {
    const struct not_begun_range *head = range_at(u, 0);
    if (u->sent - head->number > TASK_PAGE_TASKS) {
      uint64_t over = u->sent - head->number - TASK_PAGE_TASKS;
      bool all = over > (uint64_t)head->count;
      drop_head(u, all ? head->count : (int64_t)over);
    } else if (!head->session) {
      drop_head(u, head->count);
    } else if (!waits(arg, head->number)) {
      drop_head(u, 1);
    } else {
      return;
    }
  }
}

static int make_room(struct not_begun *u)
{
  if (u->count < u->capacity) return 0;
  size_t capacity = u->capacity ? u->capacity * 2 : 16;
  struct not_begun_range *ranges = calloc(capacity, sizeof(*ranges));
  if (!ranges) return -1;
  for (size_t i = 0; i < u->count; i++) ranges[i] = *range_at(u, i);
  free(u->ranges);
  u->ranges = ranges;
  u->capacity = capacity;
  u->head = 0;
  return 0;
}

void not_begun_add(struct not_begun *u, struct not_begun_range range,
                   not_begun_is_queued *waits, const void *arg)
{
  range.number = u->sent;
  u->sent += (uint64_t)range.count;
  drop_begun(u, waits, arg);
  if (make_room(u) < 0) return;
  *range_at(u, u->count) = range;
  u->count++;
}

bool not_begun_next(const struct not_begun *u, int64_t session,
                    struct not_begun_walk *at, struct not_begun_range *to,
                    not_begun_is_queued *waits, const void *arg)
{
  uint64_t oldest = u->sent > TASK_PAGE_TASKS ? u->sent - TASK_PAGE_TASKS : 0;
  for (; at->range < u->count; at->range++, at->task = 0) {
    const struct not_begun_range *r = range_at(u, at->range);
    if (r->session != session) continue;
    int64_t from = at->task, end;
    while (from < r->count && (r->number + (uint64_t)from < oldest ||
                               !waits(arg, r->number + (uint64_t)from)))
      from++;
    if (from == r->count) continue;
    for (end = from + 1; end < r->count; end++)
      if (!waits(arg, r->number + (uint64_t)end)) break;
    *to = *r;
    to->first += from;
    to->count = end - from;
    to->number += (uint64_t)from;
    at->task = end;
    return true;
  }
  return false;
}

void not_begun_forget(struct not_begun *u, int64_t session)
{
  for (size_t i = 0; i < u->count; i++) {
    struct not_begun_range *r = range_at(u, i);
    if (r->session == session) r->session = 0;
  }
}

void not_begun_clear(struct not_begun *u)
{
  free(u->ranges);
  *u = (struct not_begun){0};
}
