/* SPDX-License-Identifier: MIT */
#include "node/cancel.h"

#include "base/container.h"
#include "base/log.h"
#include "node/dispatch.h"
#include "wire/msgpack.h"

#include <stdlib.h>

/* A worker that does not answer within the grace period is checked, and again
 * after each interval. */
#define GRACE (2 * LOOP_S)
#define CHECK_INTERVAL (500 * LOOP_MS)
/* Cancellations that a worker has not answered. Beyond them it gets the frame,
 * but is killed for the end of a session only. */
enum { MAX_CANCELS = 1024 };

struct cancel {
  STAILQ_ENTRY(cancel) link;
  int64_t sync;                       /* the one sent after it */
  uint64_t due;                       /* the loop's clock */
  int64_t session, job, first, count; /* job 0: all of the session */
};

static void drop(struct worker_process *w, struct cancel *c)
{
  STAILQ_REMOVE(&w->cancels, c, cancel, link);
  w->cancel_count--;
  free(c);
}

static void check_due(struct worker_process *w)
{
  uint64_t now = loop_clock();
  const struct cancel *c;
  STAILQ_FOREACH (c, &w->cancels, link)
    if (c->due <= now &&
        workers_kill_if_running(w, c->session, c->job, c->first, c->count))
      return; /* on_down follows */
}

static void on_timer(struct loop_timer *timer)
{
  struct node *n = CONTAINER_OF(timer, struct node, cancel_timer);
  bool any = false;
  WORKERS_FOREACH (w, n->workers) {
    check_due(w);
    any |= w->cancel_count > 0;
  }
  if (any) loop_timer_set(n->loop, timer, CHECK_INTERVAL);
}

void cancel_init(struct node *n)
{
  n->cancel_timer.on_expire = on_timer;
}

void cancel_free(struct node *n)
{
  WORKERS_FOREACH (w, n->workers) cancel_forget(w);
  loop_timer_clear(n->loop, &n->cancel_timer);
}

void cancel_forget(struct worker_process *w)
{
  while (!STAILQ_EMPTY(&w->cancels)) drop(w, STAILQ_FIRST(&w->cancels));
  w->needs_sync = false;
}

void cancel_synced(struct worker_process *w, int64_t sync)
{
  struct cancel *c;
  while ((c = STAILQ_FIRST(&w->cancels)) && c->sync <= sync) drop(w, c);
}

/* Drops what was cancelled of a session that ends now. */
static void drop_session(struct worker_process *w, int64_t session)
{
  for (struct cancel *c = STAILQ_FIRST(&w->cancels), *next; c; c = next) {
    next = STAILQ_NEXT(c, link);
    if (c->session == session) drop(w, c);
  }
}

/* Sends the frame that was begun, and checks on the worker later if the session
 * has tasks there. The end of a session runs finalizers, tasks or not. */
static void send_cancel(struct node *n, struct session *s,
                        struct worker_process *w, struct cancel what)
{
  if (workers_end(w, NULL, 0) < 0) {
    log_error("cannot send a cancellation to the worker, killing it",
              LOG_INT("worker", w->index));
    workers_kill(w);
    return;
  }
  bool idle = !s->workers[w->index - 1].outstanding;
  if (!what.job)
    drop_session(w, s->number);
  else if (idle || w->cancel_count >= MAX_CANCELS)
    return;
  struct cancel *c = malloc(sizeof(*c));
  if (!c) return;
  *c = what;
  c->session = s->number;
  c->sync = w->last_sync + 1;
  c->due = loop_clock() + GRACE;
  STAILQ_INSERT_TAIL(&w->cancels, c, link);
  w->cancel_count++;
  w->needs_sync = true;
  if (!n->cancel_timer.slot) loop_timer_set(n->loop, &n->cancel_timer, GRACE);
}

void cancel_tasks(struct node *n, struct session *s, struct worker_process *w,
                  int64_t job, int64_t first, int64_t count)
{
  struct buf *b = dispatch_begin(w, "cancel", s, 5);
  if (!b) return;
  mp_write_int(b, job);
  mp_write_int(b, first);
  mp_write_int(b, count);
  send_cancel(n, s, w,
              (struct cancel){.job = job, .first = first, .count = count});
}

void cancel_job(struct node *n, struct session *s, int64_t job)
{
  struct cancel all = {.job = job, .first = 1, .count = INT64_MAX - 1};
  WORKERS_FOREACH (w, n->workers) {
    struct buf *b =
        dispatch_knows(s, w) ? dispatch_begin(w, "close", s, 3) : NULL;
    if (!b) continue;
    mp_write_int(b, job);
    send_cancel(n, s, w, all);
  }
}

void cancel_session(struct node *n, struct session *s)
{
  WORKERS_FOREACH (w, n->workers)
    if (dispatch_knows(s, w) && dispatch_begin(w, "end", s, 2))
      send_cancel(n, s, w, (struct cancel){0});
}

void cancel_sync(struct node *n)
{
  WORKERS_FOREACH (w, n->workers) {
    if (!w->needs_sync) continue;
    w->needs_sync = false;
    struct buf *b = workers_begin(w);
    if (!b) continue; /* it has ended: on_down follows */
    mp_write_array(b, 2);
    mp_write_cstr(b, "sync");
    mp_write_int(b, ++w->last_sync);
    dispatch_end(w);
  }
}
