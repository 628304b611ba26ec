/* SPDX-License-Identifier: MIT */
/* The task page: memory that a node and one worker process share, where the
 * worker shows at every moment whose code it runs. With it the node can end
 * what nothing inside the worker can stop (a loop in a pattern match or a
 * finalizer), knows which task killed the worker, and which tasks had not begun
 * by then.
 *
 * One process writes and one reads, without a lock. A reader that meets a
 * change sees no task, never a mixture of two.
 *
 * It also has what the worker counts (meters.h).
 *
 * A finalizer runs in the name of the task that allocates when it is due, which
 * need not be the task that made the object: Lua does not tell. */
#ifndef MF_TASK_PAGE_H
#define MF_TASK_PAGE_H

#include "base/err.h"
#include "wire/meters.h"

#include <stdbool.h>
#include <stdint.h>

enum {
  /* The descriptor of the page in a worker. */
  TASK_PAGE_FD = 4,
  /* The exit code of a worker that is out of memory. */
  TASK_PAGE_EXIT_MEMORY = 12,
  /* Tasks that the page covers: the latest of those sent to the worker. */
  TASK_PAGE_TASKS = 16384,
};

/* What runs: a task, with an id of 0 the preparation of its job, with a job of
 * 0 the end of the session. */
struct task_identity {
  int64_t session, job, id, attempt;
  uint64_t deadline; /* by loop_clock; 0: none */
};

/* ---- the worker's side ---- */

struct task_page_writer;

/* Maps the page at descriptor `fd` and closes that. NULL and `e` on failure. */
struct task_page_writer *task_page_open(int fd, struct err *e);
void task_page_close(struct task_page_writer *w); /* accepts NULL */

/* Shows that `t` runs from now on, or no task when it is NULL. Returns what was
 * shown before, to be shown again afterwards. `since` (by loop_clock) is when
 * `t` began to run: an earlier deadline counts as that, because `t` did not use
 * up the time before. `t` stays the caller's and must outlive its turn. Does
 * nothing when `w` is NULL. */
const struct task_identity *task_page_set(struct task_page_writer *w,
                                          const struct task_identity *t,
                                          uint64_t since);

/* What the worker counts; NULL when `w` is NULL. */
struct meters *task_page_meters(struct task_page_writer *w);

/* Adds `count` tasks, which the worker has received, and returns the number of
 * the first: both sides number the tasks of a worker process 0, 1, 2, ... in
 * the order in which the node sends them. Does nothing when `w` is NULL, and
 * returns 0. */
uint64_t task_page_queue(struct task_page_writer *w, int64_t count);
/* Task `number` is about to begin, or never will. Does nothing when `w` is
 * NULL.
 */
void task_page_dequeue(struct task_page_writer *w, uint64_t number);

/* ---- the node's side ---- */

struct task_page;

/* Makes a page and sets `*fd` to its descriptor, for the caller to pass to the
 * worker and to close. NULL and `e` on failure. */
struct task_page *task_page_new(int *fd, struct err *e);
void task_page_free(struct task_page *p); /* accepts NULL */

/* Fills `t` with what runs, and returns the number of its turn, which no other
 * turn has; 0 when nothing runs. */
uint64_t task_page_read(const struct task_page *p, struct task_identity *t);

/* Adds what the worker has counted to `totals`. */
void task_page_sum(const struct task_page *p, uint64_t totals[METERS]);

/* Whether task `number`, one of the last TASK_PAGE_TASKS that were sent, has
 * certainly not begun: it was not received, or is queued. */
bool task_page_is_queued(const struct task_page *p, uint64_t number);

#endif
