/* SPDX-License-Identifier: MIT */
/* This unit provides a job inside a worker: one stream of tasks, those that
 * wait and those that run, and the records of those that ended. It shares the
 * Lua state of its session (job_session.h) with the session's other jobs.
 * [loop]
 *
 * The job's Lua side is lua/fleet/worker/runner.lua: prepare(definition) gives
 * back the map function and how many tasks may run at a time. It runs as a
 * task, of id 0, which may wait as others do. The job's tasks wait until it is
 * done; when it fails, they all fail with its error. */
#ifndef MF_JOB_H
#define MF_JOB_H

#include "base/buf.h"
#include "lua/vm.h"
#include "worker/outcome.h"

#include <stdbool.h>
#include <stdint.h>

struct job;
struct task;

/* What the jobs of a session have in common; the owner's. */
struct job_host {
  struct vm *vm;
  int64_t session;
  struct record_worker worker;
  /* Sends an "out" message (protocol.h) about `ended` tasks whose records are
   * the `count` parts, one after the other. */
  void (*send)(void *arg, int64_t session, int64_t ended,
               const struct buf *const *parts, size_t count);
  void *arg;
};

/* `definition` is a MessagePack map, see runner.lua; NULL when there is none,
 * which fails the tasks. NULL when memory is out. `host` is borrowed. */
struct job *job_new(struct job_host *host, int64_t number,
                    const uint8_t *definition, size_t len);
/* Cancels the tasks, reports only how many they were. */
void job_close(struct job *j);
/* For the end of the session: nothing more is said of the job's tasks. They are
 * cancelled by vm_free, which has to come before job_free. */
void job_silence(struct job *j);
void job_free(struct job *j);

int64_t job_number(const struct job *j);
/* The owner's list link. */
struct job **job_next(struct job *j);

/* A batch of tasks: first..first+count-1, whose items stand one after the other
 * in `items`. */
struct job_batch {
  int64_t first, count, attempt;
  uint64_t timeout; /* ns, of one task; 0: none */
  const uint8_t *items;
  size_t len;
  uint64_t number; /* of the first, by task_page_queue */
};

/* Queues a copy. 0, or -1 when memory is out. */
int job_add(struct job *j, const struct job_batch *b);

/* Ends the tasks first..first+count-1 that it has, as cancelled. 0, or -1 when
 * memory is out. */
int job_cancel(struct job *j, int64_t first, int64_t count);

/* Tasks begun and not ended. */
int64_t job_running(const struct job *j);

/* Starts queued tasks up to the job's concurrency, or fails some of those of a
 * job that is broken; whether to come back at once. */
bool job_start_tasks(struct job *j);

/* Sends what there is to tell: records of tasks that ended, output of tasks,
 * and that all wait while there is room for more. Progress only if there is
 * `room` before the node: else it waits, for newer to take its place. Whether
 * there was too much progress for one message. */
bool job_report(struct job *j, bool room);

/* What `t`, a task of this job or one made by such a task, says: text, or the
 * value at `idx` as its progress (0; or -1 with `e`: it cannot be encoded).
 * Nothing when the task it belongs to has ended. */
void job_print(struct job *j, struct task *t, const char *text, size_t len);
int job_progress(struct job *j, struct task *t, lua_State *L, int idx,
                 struct err *e);

#endif
