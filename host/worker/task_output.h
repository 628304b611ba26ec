/* SPDX-License-Identifier: MIT */
/* The output of running tasks for their driver: printed text, up to
 * TASK_OUTPUT_MAX bytes per task, and progress values, of which only the latest
 * is sent. Kept until the next report of the job. [loop] */
#ifndef MF_TASK_OUTPUT_H
#define MF_TASK_OUTPUT_H

#include "base/buf.h"
#include "wire/task_page.h"
#include "worker/outcome.h"

/* Bytes of text that one task may print, and of one value of its progress. */
enum { TASK_OUTPUT_MAX = 64 * 1024 };

/* The output of one task; part of the task's own struct. */
struct task_output {
  const struct task_identity *who;
  size_t printed;
  bool cut;            /* it printed too much, and the driver was told */
  struct buf progress; /* the latest, encoded; empty: none since the report */
  struct task_output *prev, *next;
};

/* The output of all tasks of one job that is yet to be sent. */
struct output_queue {
  const struct record_worker *from;
  struct buf records;               /* to be sent */
  struct task_output *first, *last; /* tasks with progress, oldest first */
};

void output_queue_init(struct output_queue *queue,
                       const struct record_worker *from);
void output_queue_free(struct output_queue *queue);

/* `who` must stay valid until task_output_end. */
void task_output_begin(struct task_output *s, const struct task_identity *who);
/* What the task has written stays in the queue. */
void task_output_end(struct output_queue *queue, struct task_output *s);

/* Text over the limit is cut, and the driver told so once. */
void task_output_print(struct output_queue *queue, struct task_output *s,
                       const char *text, size_t len);

/* To be filled with the encoded value (it is empty, and fails above
 * TASK_OUTPUT_MAX); then task_output_progress_end. */
struct buf *task_output_progress(struct task_output *s);
void task_output_progress_end(struct output_queue *queue,
                              struct task_output *s);

/* Adds latest progress to queue->records, which are to be sent, then cleared by
 * output_queue_clear: of as many as leave them at about `most` bytes, who
 * waited longest first. Whether there is more. */
bool output_queue_add_progress(struct output_queue *queue, size_t most);
void output_queue_clear(struct output_queue *queue);

#endif
