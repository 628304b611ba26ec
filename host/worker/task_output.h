/* SPDX-License-Identifier: MIT */
/* The output of running tasks for their driver: printed text, up to
 * TASK_OUTPUT_MAX bytes per task, and progress values, of which only the latest
 * is sent. It is kept until the next report of the job. [loop] */
#ifndef MF_TASK_OUTPUT_H
#define MF_TASK_OUTPUT_H

#include "base/buf.h"
#include "wire/task_page.h"
#include "worker/outcome.h"

#include <sys/queue.h>

/* Bytes of text that one task may print, and of one value of its progress. */
enum { TASK_OUTPUT_MAX = 64 * 1024 };

/* The output of one task; part of the task's own struct. */
struct task_output {
  const struct task_identity *task;
  size_t printed;
  bool cut;            /* it printed too much, and the driver was told */
  bool queued;         /* for its progress */
  struct buf progress; /* the latest, encoded; empty: none since the report */
  TAILQ_ENTRY(task_output) link;
};

/* The output of all tasks of one job that is yet to be sent. */
struct output_queue {
  const struct worker_identity *worker;
  struct buf events; /* to be sent, then reset, by the owner */
  TAILQ_HEAD(outputs, task_output) tasks; /* with progress, oldest first */
};

void output_queue_init(struct output_queue *queue,
                       const struct worker_identity *worker);

/* `task` must stay valid until task_output_end. */
void task_output_begin(struct task_output *s, const struct task_identity *task);
/* The output of the task so far stays in the queue. Accepts an all-zero one. */
void task_output_end(struct output_queue *queue, struct task_output *s);

/* Cuts text over the limit, of which the driver is told once. */
void task_output_print(struct output_queue *queue, struct task_output *s,
                       const char *text, size_t len);

/* Replaces the progress by the value at `idx`. Returns 0, or -1 and `e` when it
 * cannot be encoded; then there is no progress. */
int task_output_progress(struct output_queue *queue, struct task_output *s,
                         lua_State *L, int idx, struct err *e);

/* Adds the latest progress to queue->events, the oldest first, until they have
 * about `max` bytes. Returns whether there is more. */
bool output_queue_add_progress(struct output_queue *queue, size_t max);

#endif
