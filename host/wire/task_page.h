/* SPDX-License-Identifier: MIT */
/* This unit provides the task page: memory that a node and one worker process
 * share, in which the worker says at every moment whose code it runs. So the
 * node can end what nothing inside the worker can stop (a loop in a pattern
 * match or a finalizer), and knows whom to blame when the worker dies, and
 * which tasks had not begun by then.
 *
 * One process writes, one reads, with no lock: a reader that meets a change
 * sees nobody, never a mixture.
 *
 * A finalizer runs in the name of the task that allocates when it is due, which
 * need not be the one that made it: Lua does not tell. */
#ifndef MF_TASK_PAGE_H
#define MF_TASK_PAGE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
  /* The descriptor that a worker finds its page at. */
  TASK_PAGE_FD = 4,
  /* Its exit code when it cannot go on for want of memory. */
  TASK_PAGE_EXIT_MEMORY = 12,
  /* Tasks whose beginning can be told: the latest of those it was sent. */
  TASK_PAGE_TASKS = 16384,
};

/* Who runs. An id of 0 is none of the job's tasks, but the preparation of
 * them; a job of 0 the end of the session. */
struct task_identity {
  int64_t session, job, id, attempt;
  uint64_t deadline; /* by loop_clock, when it should have ended; 0: never */
};

/* ---- the worker's side ---- */

struct task_page_writer;

/* Maps the page at descriptor `fd`, which is closed. NULL and `e` on failure.
 */
struct task_page_writer *task_page_open(int fd, struct err *e);
void task_page_close(struct task_page_writer *w); /* accepts NULL */

/* From now on `t` runs, or nobody when NULL; returns who did before, to be
 * shown again afterwards. `since` (by loop_clock) is when it began: a deadline
 * before that counts as that, for it was not `t` who used the time up. `t`
 * stays the caller's and must outlive its turn. Does nothing when `w` is NULL.
 */
const struct task_identity *task_page_set(struct task_page_writer *w,
                                          const struct task_identity *t,
                                          uint64_t since);

/* Both sides number the tasks of a worker process 0, 1, 2, ... as the node has
 * sent them. `count` more have come: returns the number of the first. Does
 * nothing when `w` is NULL, and returns 0. */
uint64_t task_page_queue(struct task_page_writer *w, int64_t count);
/* Task `number` waits no more: it is about to begin, or never will. Does
 * nothing when `w` is NULL. */
void task_page_dequeue(struct task_page_writer *w, uint64_t number);

/* ---- the node's side ---- */

struct task_page;

/* Makes a page; `*fd` is the descriptor to hand to the worker, then to close.
 * NULL and `e` on failure. */
struct task_page *task_page_new(int *fd, struct err *e);
void task_page_free(struct task_page *p); /* accepts NULL */

/* Who runs: 0 for nobody, else the number of the turn, which no other turn
 * has, and `t` filled. */
uint64_t task_page_read(const struct task_page *p, struct task_identity *t);

/* Whether task `number`, one of the last TASK_PAGE_TASKS that were sent, has
 * certainly not begun: it has not come, or waits. */
bool task_page_is_queued(const struct task_page *p, uint64_t number);

#endif
