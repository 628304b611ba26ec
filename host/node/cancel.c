/* SPDX-License-Identifier: MIT */
/* Cancelling is asked of the worker, which can do it as long as its loop turns.
 * Behind the request goes a "sync"; while the answer stays out for longer than
 * a grace, and what the worker has on its processor is one of the tasks that
 * were cancelled, it is killed. Other tasks may take all the time they want. */
#include "base/log.h"
#include "node/node.h"
#include "wire/msgpack.h"

#include <stdlib.h>

/* A worker that does not answer within this is looked at, and again after. */
#define GRACE (2 * LOOP_S)
#define LOOK_AGAIN (500 * LOOP_MS)
/* Cancellations a worker owes an answer to. Beyond them it is warned, and
 * killed for the end of a session only. */
enum { MAX_CANCELS = 1024 };

struct cancel {
  struct cancel *next;
  int64_t sync;                       /* the one behind it */
  uint64_t due;                       /* the loop's clock */
  int64_t session, job, first, count; /* job 0: all of the session */
};

struct node_cancels {
  struct loop_timer timer; /* set while there is any */
  struct node *node;
  int index; /* of the worker */
  struct cancel *first, **last;
  int count;
  int64_t sync; /* the last that was sent */
  bool unsynced;
};

static struct node_cancels *cancels_of(struct node *n,
                                       const struct pool_worker *w)
{
  return &n->cancels[w->index - 1];
}

static void drop_first(struct node_cancels *q)
{
  struct cancel *c = q->first;
  q->first = c->next;
  if (!q->first) q->last = &q->first;
  q->count--;
  free(c);
  if (!q->first) loop_timer_clear(q->node->loop, &q->timer);
}

static void on_grace(struct loop_timer *timer)
{
  struct node_cancels *q = (struct node_cancels *)timer;
  struct pool *pool = q->node->pool;
  struct pool_worker *w = pool_worker(pool, q->index);
  uint64_t now = loop_clock();
  for (struct cancel *c = q->first; c && c->due <= now; c = c->next)
    if (pool_kill_if_running(pool, w, c->session, c->job, c->first, c->count)) {
      log_warn("worker does not stop a cancelled task, killing it",
               LOG_INT("worker", q->index));
      return; /* node_on_down follows */
    }
  loop_timer_set(q->node->loop, &q->timer, LOOK_AGAIN);
}

int node_cancels_init(struct node *n, struct err *e)
{
  int count = n->options->workers;
  n->cancels = calloc((size_t)count, sizeof(*n->cancels));
  if (!n->cancels) return err_set(e, "memory", "out of memory");
  for (int i = 0; i < count; i++) {
    struct node_cancels *q = &n->cancels[i];
    q->timer.on_expire = on_grace;
    q->node = n;
    q->index = i + 1;
    q->last = &q->first;
  }
  return 0;
}

void node_cancels_free(struct node *n)
{
  for (int i = 0; n->cancels && i < n->options->workers; i++)
    while (n->cancels[i].first) drop_first(&n->cancels[i]);
  free(n->cancels);
  n->cancels = NULL;
}

void node_cancels_forget(struct node *n, struct pool_worker *w)
{
  struct node_cancels *q = cancels_of(n, w);
  while (q->first) drop_first(q);
  q->unsynced = false;
}

void node_synced(struct node *n, struct pool_worker *w, int64_t sync)
{
  struct node_cancels *q = cancels_of(n, w);
  while (q->first && q->first->sync <= sync) drop_first(q);
}

/* What ends the session stands for all that was cancelled of it before. */
static void drop_session(struct node_cancels *q, int64_t session)
{
  for (struct cancel **at = &q->first, *c; (c = *at);) {
    if (c->session != session) {
      at = &c->next;
      continue;
    }
    *at = c->next;
    if (!c->next) q->last = at;
    q->count--;
    free(c);
  }
}

/* The frame is built: sends it, and sees to it that something comes of it when
 * the session has tasks there. Its end runs finalizers, tasks or not. */
static void send_cancel(struct node *n, struct session *s,
                        struct pool_worker *w, struct cancel what)
{
  struct node_cancels *q = cancels_of(n, w);
  if (pool_end(n->pool, w) < 0) {
    log_error("worker cannot be told to cancel, killing it",
              LOG_INT("worker", w->index));
    pool_kill(n->pool, w);
    return;
  }
  bool idle = !s->workers[w->index - 1].outstanding;
  if (!what.job)
    drop_session(q, s->number);
  else if (idle || q->count >= MAX_CANCELS)
    return;
  struct cancel *c = malloc(sizeof(*c));
  if (!c) return;
  *c = what;
  c->session = s->number;
  c->sync = q->sync + 1;
  c->due = loop_clock() + GRACE;
  *q->last = c;
  q->last = &c->next;
  q->count++;
  q->unsynced = true;
  if (!q->timer.slot) loop_timer_set(n->loop, &q->timer, GRACE);
}

void node_cancel_tasks(struct node *n, struct session *s, struct pool_worker *w,
                       const struct request_cancel *c)
{
  struct buf *b = node_frame(n, w, "cancel", s, 5);
  if (!b) return;
  mp_write_int(b, c->job);
  mp_write_int(b, c->first);
  mp_write_int(b, c->count);
  send_cancel(
      n, s, w,
      (struct cancel){.job = c->job, .first = c->first, .count = c->count});
}

void node_close_job(struct node *n, struct session *s, int64_t job)
{
  for (int i = 1; i <= pool_count(n->pool); i++) {
    struct pool_worker *w = pool_worker(n->pool, i);
    struct buf *b = node_knows(s, w) ? node_frame(n, w, "close", s, 3) : NULL;
    if (!b) continue;
    mp_write_int(b, job);
    send_cancel(
        n, s, w,
        (struct cancel){.job = job, .first = 1, .count = INT64_MAX - 1});
  }
}

void node_end_session(struct node *n, struct session *s)
{
  for (int i = 1; i <= pool_count(n->pool); i++) {
    struct pool_worker *w = pool_worker(n->pool, i);
    if (node_knows(s, w) && node_frame(n, w, "end", s, 2))
      send_cancel(n, s, w, (struct cancel){0});
    w->outstanding -= s->workers[i - 1].outstanding;
    not_begun_forget(&n->not_begun[i - 1], s->number);
  }
  session_end(s);
  node_sync(n);
  node_check(n);
}

void node_on_quiet(void *arg, struct pool_worker *w)
{
  struct node *n = arg;
  cancels_of(n, w)->unsynced = true;
  node_sync(n);
}

void node_sync(struct node *n)
{
  for (int i = 1; i <= pool_count(n->pool); i++) {
    struct pool_worker *w = pool_worker(n->pool, i);
    struct node_cancels *q = cancels_of(n, w);
    if (!q->unsynced) continue;
    q->unsynced = false;
    struct buf *b = pool_begin(n->pool, w);
    if (!b) continue; /* it is gone, node_on_down follows */
    mp_write_array(b, 2);
    mp_write_cstr(b, "sync");
    mp_write_int(b, ++q->sync);
    if (pool_end(n->pool, w) < 0) pool_kill(n->pool, w);
  }
}
