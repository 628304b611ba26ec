/* SPDX-License-Identifier: MIT */
/* This unit provides the list of the tasks that one worker process was sent and
 * that may not have begun, in the order in which they were sent. What has begun
 * is forgotten when others come. [loop] */
#ifndef MF_NOT_BEGUN_H
#define MF_NOT_BEGUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Tasks first..first+count-1 of a job. */
struct not_begun_range {
  int64_t session; /* 0: forgotten */
  int64_t job, first, count, attempt;
  uint64_t number; /* of the first, by task_page.h */
};

/* All zero: empty. */
struct not_begun {
  struct not_begun_range *ranges; /* a ring */
  size_t capacity, head, count;   /* capacity: a power of two, or 0 */
  uint64_t sent;                  /* tasks */
};

/* Whether a task, by its number, waits (see task_page_is_queued). */
typedef bool not_begun_is_queued(const void *arg, uint64_t number);

/* Adds a range, whose number is set. When memory is out it is taken to have
 * begun. */
void not_begun_add(struct not_begun *u, struct not_begun_range range,
                   not_begun_is_queued *waits, const void *arg);

/* Where a walk stands; all zero: at its beginning. */
struct not_begun_walk {
  size_t range;
  int64_t task; /* of the range */
};

/* The next range of tasks of a session none of which has begun, in `to`; false
 * when there is no other. */
bool not_begun_next(const struct not_begun *u, int64_t session,
                    struct not_begun_walk *at, struct not_begun_range *to,
                    not_begun_is_queued *waits, const void *arg);

/* A session is over, and all that waited of it. */
void not_begun_forget(struct not_begun *u, int64_t session);

/* Another process takes the worker's place. */
void not_begun_clear(struct not_begun *u);

#endif
