/* SPDX-License-Identifier: MIT */
#include "node/not_begun.h"

#include "wire/task_page.h"

#include <stdlib.h>

/* The first task that the page still covers. */
static uint64_t oldest(const struct not_begun *n)
{
  return n->sent > TASK_PAGE_TASKS ? n->sent - TASK_PAGE_TASKS : 0;
}

static void skip(struct not_begun_range *r, int64_t tasks)
{
  r->first += tasks;
  r->number += (uint64_t)tasks;
  r->count -= tasks;
}

static void drop(struct not_begun *n, struct not_begun_range *r)
{
  STAILQ_REMOVE(&n->ranges, r, not_begun_range, link);
  free(r);
}

/* Drops from the front what has begun or is too old for the page. */
static void drop_begun(struct not_begun *n, not_begun_is_queued *is_queued,
                       const void *arg)
{
  struct not_begun_range *r;
  while ((r = STAILQ_FIRST(&n->ranges))) {
    if (r->number + (uint64_t)r->count <= oldest(n)) {
      drop(n, r);
      continue;
    }
    if (r->number < oldest(n)) skip(r, (int64_t)(oldest(n) - r->number));
    while (r->count && !is_queued(arg, r->number)) skip(r, 1);
    if (r->count) return;
    drop(n, r);
  }
}

void not_begun_init(struct not_begun *n)
{
  n->sent = 0;
  STAILQ_INIT(&n->ranges);
}

void not_begun_add(struct not_begun *n, struct not_begun_range range,
                   not_begun_is_queued *is_queued, const void *arg)
{
  struct not_begun_range *r = malloc(sizeof(*r));
  range.number = n->sent;
  n->sent += (uint64_t)range.count;
  if (r) {
    *r = range;
    STAILQ_INSERT_TAIL(&n->ranges, r, link);
  }
  drop_begun(n, is_queued, arg);
}

bool not_begun_next(const struct not_begun *n, int64_t session,
                    struct not_begun_walk *at, struct not_begun_range *to,
                    not_begun_is_queued *is_queued, const void *arg)
{
  const struct not_begun_range *r = at->range;
  for (r = r ? r : STAILQ_FIRST(&n->ranges); r;
       r = STAILQ_NEXT(r, link), at->task = 0) {
    *to = *r;
    skip(to, at->task);
    at->range = r;
    if (r->session != session) continue;
    while (to->count && (to->number < oldest(n) || !is_queued(arg, to->number)))
      skip(to, 1);
    int64_t most = to->count;
    for (to->count = 0; to->count < most; to->count++)
      if (!is_queued(arg, to->number + (uint64_t)to->count)) break;
    at->task = to->first + to->count - r->first;
    if (to->count) return true;
  }
  if (at->range) at->task = at->range->count; /* stays at the end */
  return false;
}

void not_begun_forget(struct not_begun *n, int64_t session)
{
  for (struct not_begun_range *r = STAILQ_FIRST(&n->ranges), *after; r;
       r = after) {
    after = STAILQ_NEXT(r, link);
    if (r->session == session) drop(n, r);
  }
}

void not_begun_clear(struct not_begun *n)
{
  while (!STAILQ_EMPTY(&n->ranges)) drop(n, STAILQ_FIRST(&n->ranges));
  n->sent = 0;
}
