/* SPDX-License-Identifier: MIT */
/* struct job: a job inside a worker. It has tasks, queued and running, and the
 * events of those that have ended. It shares the Lua state of its session with
 * the session's other jobs. [loop]
 *
 * The job's Lua side is lua/fleet/worker/runner.lua: prepare(definition)
 * returns the map function and how many tasks may run at a time. It runs as a
 * task with id 0, which may wait as others do. The job's tasks wait until it
 * has returned; when it fails, they all fail with its error. */
#ifndef MF_JOB_H
#define MF_JOB_H

#include "lua/task.h"
#include "wire/blob_store.h"
#include "wire/protocol.h"
#include "worker/outcome.h"
#include "worker/task_output.h"

/* What the sessions of a worker share. */
struct job_host {
  struct vm_options vm; /* `user` is the session */
  struct worker_identity worker;
  /* Sends an "out" message (protocol.h) about `ended` tasks, whose events are
   * the `count` parts, one after the other. */
  void (*send)(void *arg, int64_t session, int64_t ended,
               const struct buf *const *parts, size_t count);
  void *arg;
};

/* See job_session.h; upcall.c uses the last three fields. */
struct job_session {
  LIST_ENTRY(job_session) link; /* for the owner */
  const struct job_host *host;
  int64_t number;
  struct vm *vm;
  LIST_HEAD(jobs, job) jobs;
  struct blob_store blobs;
  LIST_HEAD(upcalls, upcall) upcalls; /* those that wait for a reply */
  int64_t last_upcall;                /* its number */
  struct buf upcall_events;           /* to be sent */
};

/* Other units read `link`, `number` and `running`, and set `silent`. */
struct job {
  LIST_ENTRY(job) link; /* of the session */
  struct job_session *session;
  int64_t number;
  bool silent; /* nothing more is reported of its tasks */
  /* the result of prepare */
  enum { JOB_PREPARING, JOB_READY, JOB_BROKEN } state;
  struct task *preparing;
  struct task_output output; /* of prepare */
  int map;                   /* registry reference */
  int64_t concurrency;
  struct buf error; /* of prepare, encoded, when broken */
  /* tasks */
  TAILQ_HEAD(batches, batch) batches; /* queued */
  LIST_HEAD(running_tasks, running_task) running_tasks;
  struct running_task *spare;
  int64_t running, queued; /* number of tasks */
  uint64_t now;            /* while tasks are started */
  /* since the last report */
  struct buf events;
  struct output_queue outputs;
  int64_t ended;
  uint64_t busy, wall; /* ns, of the ended tasks */
  bool starved_sent;   /* until new work comes */
};

/* Makes a job of the session. `definition` is a MessagePack map, see
 * runner.lua; NULL, when it is missing, fails the tasks. NULL when memory is
 * out. */
struct job *job_new(struct job_session *s, int64_t number,
                    const uint8_t *definition, size_t len);
/* Cancels the tasks, reports only how many they were, and frees the job. */
void job_close(struct job *j);
/* Frees a job whose state is closed, which has cancelled its tasks. */
void job_free(struct job *j);

/* The tasks first..first+count-1, whose items stand one after the other in
 * `items`. */
struct job_batch {
  int64_t first, count, attempt;
  uint64_t timeout; /* ns, for one task; 0: none */
  const uint8_t *items;
  size_t len;
  uint64_t number; /* of the first, by task_page_queue */
};

/* Queues a copy. Returns 0, or -1 when memory is out. */
int job_add(struct job *j, const struct job_batch *b);

/* Cancels those of the tasks first..first+count-1 that have not ended. Returns
 * 0, or -1 when memory is out. */
int job_cancel(struct job *j, int64_t first, int64_t count);

/* Starts queued tasks, up to the job's concurrency, or fails some of those of a
 * broken job. Returns whether it should be called again at once. */
bool job_start_tasks(struct job *j);

/* Sends the events of tasks that have ended, the output of tasks, and whether
 * the job is starved: all its tasks wait, and more could run. Sends progress
 * only if the channel has `room`, else later progress replaces it. Returns
 * whether there was too much progress for one message. */
bool job_report(struct job *j, bool room);

/* Adds text, or the value at `idx` as progress, to the output of `t`, which is
 * a task of this job or was made by one; does nothing when that task has ended.
 * job_progress returns 0, or -1 and `e` when the value cannot be encoded. */
void job_print(struct job *j, struct task *t, const char *text, size_t len);
int job_progress(struct job *j, struct task *t, lua_State *L, int idx,
                 struct err *e);

#endif
