/* SPDX-License-Identifier: MIT */
/* struct workers: the worker processes of a node. Starts them (exec of this
 * same program), owns their channels, kills those that run a task for longer
 * than it may, reports their death with its cause, and replaces them with
 * growing delays. Of jobs it knows what the task page shows. [loop] */
#ifndef MF_WORKERS_H
#define MF_WORKERS_H

#include "base/buf.h"
#include "base/err.h"
#include "event/loop.h"
#include "node/not_begun.h"
#include "node/serve_options.h"
#include "wire/task_page.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <sys/uio.h>

struct worker_process {
  int index;          /* 1..n */
  int64_t generation; /* counts the processes that had this index */
  bool alive;         /* started, and its end not yet seen */
  /* ---- kept by the node ---- */
  int64_t outstanding; /* tasks sent and not ended */
  int64_t running;     /* tasks begun and not ended, as it last reported */
  struct not_begun not_begun;
  STAILQ_HEAD(cancels, cancel) cancels; /* see cancel.c */
  int cancel_count;
  int64_t last_sync;
  bool needs_sync;
  /* ---- for workers.c ---- */
  struct workers *workers;
  pid_t pid;
  struct frame_channel *channel;
  struct task_page *page;
  struct loop_timer restart;
  uint64_t started, delay;
  int64_t oom_kills;  /* of the machine, when it started */
  bool exited, ended; /* it was reaped; its channel has ended */
  int status;
  bool killed;             /* by us */
  const char *kill_reason; /* NULL unless the kill is charged to a task */
  uint64_t kill_turn;      /* the turn of the task page that was killed */
  bool heard;              /* a frame has come since the last poll */
  uint64_t quiet;          /* polls without a frame */
};

/* Why a worker died. */
struct worker_death {
  int signal; /* that killed it, or 0 */
  int code;   /* else its exit code */
  /* "timeout": killed because its task was over its deadline and could not be
   * stopped; "cancelled": killed by workers_kill_if_running; "frozen": killed
   * because it had work and gave no sign of life; "draining": by
   * workers_give_up; "memory": the kernel or its limit of memory ended it;
   * NULL: it ended by itself, or somebody else killed it. */
  const char *why;
  /* The task whose code ran in the end, if it is the cause. An id of 0 is the
   * preparation of the job, a job of 0 the end of the session. */
  bool has_task;
  struct task_identity task;
};

struct worker_events {
  void (*on_frame)(void *arg, struct worker_process *w, const uint8_t *data,
                   size_t len);
  void (*on_up)(void *arg, struct worker_process *w);
  /* It has tasks and has been quiet for a while: the node must send it
   * something that it answers. */
  void (*on_quiet)(void *arg, struct worker_process *w);
  /* It has taken everything that was sent to it. */
  void (*on_drained)(void *arg, struct worker_process *w);
  /* Everything that it sent before has been delivered. */
  void (*on_down)(void *arg, struct worker_process *w,
                  const struct worker_death *death);
};

/* Starts the workers; `options` is borrowed. NULL and `e` when the first cannot
 * be started. */
struct workers *workers_new(struct loop *loop,
                            const struct serve_options *options,
                            const struct worker_events *events, void *arg,
                            struct err *e);
/* Kills and reaps all workers. Accepts NULL. */
void workers_free(struct workers *workers);

/* The worker with that index; NULL unless it is 1..n. */
struct worker_process *workers_get(struct workers *workers, int64_t index);

/* Goes over all workers, alive or not; `workers` may be NULL. */
struct worker_process *workers_next(struct workers *workers,
                                    const struct worker_process *w);
#define WORKERS_FOREACH(w, workers)                                            \
  for (struct worker_process *w = workers_next(workers, NULL); w;              \
       w = workers_next(workers, w))

/* As frame_begin and frame_end_with; NULL when the worker is not alive. */
struct buf *workers_begin(struct worker_process *w);
int workers_end(struct worker_process *w, const struct iovec *parts, int count);

/* For not_begun.h: whether task `number` (task_page.h) is still queued at a
 * worker_process that is alive, or whose on_down is running. */
bool workers_is_queued(const void *worker, uint64_t number);

/* Bytes that it has not taken yet. */
size_t workers_unread(const struct worker_process *w);

/* Why workers have died: as in struct worker_death; by themselves. */
enum workers_cause {
  WORKERS_TIMEOUT,
  WORKERS_CANCELLED,
  WORKERS_FROZEN,
  WORKERS_MEMORY,
  WORKERS_CRASH,
  WORKERS_CAUSES,
};

/* Adds what all workers have counted, also those that are not alive any more,
 * and says how many have died of which cause. */
void workers_count(const struct workers *workers, uint64_t totals[METERS],
                   uint64_t deaths[WORKERS_CAUSES]);

/* Stops or resumes reading from every worker, and from those that replace
 * them. */
void workers_pause(struct workers *workers, bool pause);

/* SIGKILL; on_down follows, and names no task as the cause. */
void workers_kill(struct worker_process *w);

/* The node leaves: the same for each worker that has tasks. None is replaced
 * from now on. */
void workers_give_up(struct workers *workers);

/* As workers_kill, if it now runs one of the tasks first..first+count-1 of that
 * job, or the preparation that they all wait for; or anything of the session,
 * when `job` is 0. Returns whether it did. */
bool workers_kill_if_running(struct worker_process *w, int64_t session,
                             int64_t job, int64_t first, int64_t count);

/* To be called on SIGCHLD. */
void workers_reap(struct workers *workers);

#endif
