/* SPDX-License-Identifier: MIT */
/* This unit provides the worker processes of a node: starting them (exec of
 * this same program), their channels, ending those that run a task for longer
 * than it may, noticing their death with its cause, and replacing them with
 * growing delays. Of jobs it knows what the task page says. [loop] */
#ifndef MF_POOL_H
#define MF_POOL_H

#include "base/buf.h"
#include "base/err.h"
#include "event/loop.h"
#include "node/serve_options.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct pool;

struct pool_worker {
  int index;          /* 1..n */
  int64_t generation; /* counts the processes this slot has had */
  bool alive;         /* started, and its end not yet seen */
  pid_t pid;
  int64_t outstanding; /* tasks sent and not ended: kept by the owner */
  int64_t running;     /* as the worker last said: kept by the owner */
};

/* Why a worker died. */
struct pool_death {
  int signal; /* that killed it, or 0 */
  int code;   /* else its exit code */
  /* "timeout": we killed it, for its task was over its deadline and could not
   * be stopped; "cancelled": by pool_kill_if_running; "frozen": we killed it,
   * for it had work and gave no sign of life; "memory": the kernel or its limit
   * of memory ended it; NULL: itself, or somebody else did */
  const char *why;
  /* Whether a task is to blame: the one whose code ran in the end. An id of 0
   * is the preparation of the job, a job of 0 the end of the session. */
  bool has_task;
  int64_t session, job, id, attempt;
};

struct pool_events {
  void (*on_frame)(void *arg, struct pool_worker *w, const uint8_t *data,
                   size_t len);
  void (*on_up)(void *arg, struct pool_worker *w);
  /* It has tasks and has been quiet for a while: to be sent something that it
   * answers. */
  void (*on_quiet)(void *arg, struct pool_worker *w);
  /* Everything it sent before has been delivered. */
  void (*on_down)(void *arg, struct pool_worker *w,
                  const struct pool_death *death);
};

/* Starts the workers. NULL and `e` when the first cannot be started. */
struct pool *pool_new(struct loop *loop, const struct serve_options *options,
                      const struct pool_events *events, void *arg,
                      struct err *e);
/* Kills and reaps all workers. Accepts NULL. */
void pool_free(struct pool *p);

int pool_count(const struct pool *p);
/* 1..count, else NULL. */
struct pool_worker *pool_worker(struct pool *p, int64_t index);

/* As frame_begin and frame_end; NULL when the worker is not alive. */
struct buf *pool_begin(struct pool *p, struct pool_worker *w);
int pool_end(struct pool *p, struct pool_worker *w);

/* Whether task `number` (task_page.h) has certainly not begun there. For a
 * worker that is alive, and within on_down. */
bool pool_waits(const struct pool_worker *w, uint64_t number);

/* Bytes that it has not taken yet. */
size_t pool_queued(const struct pool *p, const struct pool_worker *w);

/* Stops and restarts reading from every worker, and from those that replace
 * them. */
void pool_pause(struct pool *p, bool pause);

/* SIGKILL; on_down follows, and blames no task. */
void pool_kill(struct pool *p, struct pool_worker *w);

/* The same, if it now runs one of the tasks first..first+count-1 of that
 * job, or the preparation that they all wait for; or anything of the
 * session, when `job` is 0. Whether it did. */
bool pool_kill_if_running(struct pool *p, struct pool_worker *w,
                          int64_t session, int64_t job, int64_t first,
                          int64_t count);

/* To be called on SIGCHLD. */
void pool_reap(struct pool *p);

#endif
