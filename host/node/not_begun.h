/* SPDX-License-Identifier: MIT */
/* struct not_begun: the tasks that one worker process was sent and that may not
 * have begun, in the order in which they were sent. Those that have begun are
 * dropped when others are added. [loop] */
#ifndef MF_NOT_BEGUN_H
#define MF_NOT_BEGUN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

/* Tasks first..first+count-1 of a job. */
struct not_begun_range {
  STAILQ_ENTRY(not_begun_range) link;
  int64_t session, job, first, count, attempt;
  uint64_t number; /* of the first, by task_page.h */
};

struct not_begun {
  STAILQ_HEAD(not_begun_ranges, not_begun_range) ranges;
  uint64_t sent; /* tasks */
};

/* Whether a task, by its number, is queued (see task_page_is_queued). */
typedef bool not_begun_is_queued(const void *arg, uint64_t number);

void not_begun_init(struct not_begun *n);

/* Adds a range and sets its number. When memory is out, its tasks count as
 * begun. */
void not_begun_add(struct not_begun *n, struct not_begun_range range,
                   not_begun_is_queued *is_queued, const void *arg);

/* Where a walk stands; all zero: at its beginning. */
struct not_begun_walk {
  const struct not_begun_range *range;
  int64_t task; /* of the range */
};

/* Sets `to` to the next range of tasks of a session none of which has begun.
 * Returns false when there is no other. */
bool not_begun_next(const struct not_begun *n, int64_t session,
                    struct not_begun_walk *at, struct not_begun_range *to,
                    not_begun_is_queued *is_queued, const void *arg);

/* Drops all tasks of a session. */
void not_begun_forget(struct not_begun *n, int64_t session);

/* Drops all tasks: another process takes the worker's place. */
void not_begun_clear(struct not_begun *n);

#endif
