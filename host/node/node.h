/* SPDX-License-Identifier: MIT */
/* This unit provides a node: drivers' sessions on one side, workers on the
 * other, and what goes between them (protocol.h). serve.c is the program around
 * it.
 *   node.c          its life: draining, backpressure
 *   requests.c    what drivers ask
 *   worker_events.c   what workers say
 *   cancel.c   how tasks are cancelled
 *   notices.c   what the node itself tells drivers
 * [loop] */
#ifndef MF_NODE_H
#define MF_NODE_H

#include "event/loop.h"
#include "net/rpc.h"
#include "node/not_begun.h"
#include "node/request.h"
#include "node/serve_options.h"
#include "node/session.h"
#include "node/workers.h"

struct node_cancels;

struct node {
  const struct serve_options *options;
  struct loop *loop;
  struct pool *pool; /* set once the workers are started */
  struct session_list sessions;
  struct node_cancels *cancels; /* by worker index - 1 */
  struct not_begun *not_begun;  /* the same */
  struct loop_timer leave;
  uint8_t boot[8];
  bool draining;
  size_t unfetched; /* bytes of records, when `leave` was last looked at */
  bool paused;      /* workers are not read */
};

/* ---- its life ---- */

int node_init(struct node *n, const struct serve_options *options,
              struct loop *loop, struct err *e);
/* Ends the sessions. Accepts one that is all zero. */
void node_free(struct node *n);

/* Finishes what runs, refuses the rest, then stops the loop; a second time at
 * once. */
void node_drain(struct node *n);

/* To be called when tasks have ended, and when records have come or gone. */
void node_check(struct node *n);

/* Starts a frame [name, session, ...] of `count` elements; NULL when the worker
 * is not alive, or soon will not be. Then pool_end. */
struct buf *node_frame(struct node *n, struct pool_worker *w, const char *name,
                       const struct session *s, size_t count);

/* Whether the worker has been told anything of the session. */
bool node_knows(const struct session *s, const struct pool_worker *w);

/* Whether a task that the worker was sent waits there: for not_begun.h. */
bool node_waits(const void *worker, uint64_t number);

/* Whether so much lies unread before the worker that it gets no more. */
bool node_is_stuffed(struct node *n, struct pool_worker *w);

/* ---- what drivers ask: for rpc_handlers; `arg` is the node ---- */

void node_on_request(void *arg, struct rpc_request *req, uint32_t pipe,
                     const uint8_t *data, size_t len);
void node_on_disconnect(void *arg, uint32_t pipe);

/* ---- what workers say: for pool_events ---- */

void node_on_frame(void *arg, struct pool_worker *w, const uint8_t *data,
                   size_t len);
void node_on_up(void *arg, struct pool_worker *w);
void node_on_quiet(void *arg, struct pool_worker *w);
void node_on_down(void *arg, struct pool_worker *w,
                  const struct pool_death *death);

/* ---- cancelling: a worker that goes on computing is killed ---- */

int node_cancels_init(struct node *n, struct err *e);
void node_cancels_free(struct node *n);

void node_cancel_tasks(struct node *n, struct session *s, struct pool_worker *w,
                       const struct request_cancel *c);
void node_close_job(struct node *n, struct session *s, int64_t job);
void node_end_session(struct node *n, struct session *s);
/* After any number of the above: asks the workers to say that it is done. */
void node_sync(struct node *n);

/* The worker has done everything before that sync; or it is gone. */
void node_synced(struct node *n, struct pool_worker *w, int64_t sync);
void node_cancels_forget(struct node *n, struct pool_worker *w);

/* ---- records of the node itself ---- */

/* `death`: NULL when it came up. To every session; only that of the task that
 * was on the processor is told of the task. */
void node_record_worker(struct node *n, const struct pool_worker *w,
                        const struct pool_death *death);
void node_record_refused(struct session *s, const struct request_batch *b,
                         const struct pool_worker *w, const char *why);
void node_record_state(struct node *n);
const char *node_state(const struct node *n);

#endif
