/* SPDX-License-Identifier: MIT */
/* This unit provides the list of the tasks that one worker process was sent and
 * that may not have begun, in the order in which they were sent. What has begun
 * is forgotten when others come. [loop] */
#ifndef MF_UNBEGUN_H
#define MF_UNBEGUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Tasks first..first+count-1 of a job. */
struct unbegun_range {
  int64_t session; /* 0: forgotten */
  int64_t job, first, count, attempt;
  uint64_t number; /* of the first, by task_page.h */
};

/* All zero: empty. */
struct unbegun {
  struct unbegun_range *ranges; /* a ring */
  size_t capacity, head, count; /* capacity: a power of two, or 0 */
  uint64_t sent;                /* tasks */
};

/* Whether a task, by its number, waits (see task_page_is_queued). */
typedef bool unbegun_waits(const void *arg, uint64_t number);

/* Adds a range, whose number is set. When memory is out it is taken to have
 * begun. */
void unbegun_add(struct unbegun *u, struct unbegun_range range,
                 unbegun_waits *waits, const void *arg);

/* Where a walk stands; all zero: at its beginning. */
struct unbegun_walk {
  size_t range;
  int64_t task; /* of the range */
};

/* The next range of tasks of a session none of which has begun, in `to`; false
 * when there is no other. */
bool unbegun_next(const struct unbegun *u, int64_t session,
                  struct unbegun_walk *at, struct unbegun_range *to,
                  unbegun_waits *waits, const void *arg);

/* A session is over, and all that waited of it. */
void unbegun_forget(struct unbegun *u, int64_t session);

/* Another process takes the worker's place. */
void unbegun_clear(struct unbegun *u);

#endif
