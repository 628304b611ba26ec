/* SPDX-License-Identifier: MIT */
#include "node/node.h"

#include "base/container.h"
#include "base/log.h"
#include "wire/msgpack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* After the last record is fetched, for its reply to leave the socket. */
#define LINGER (100 * LOOP_MS)
/* A drained node whose driver does not fetch its records leaves after this. */
#define DRAIN_PATIENCE (5 * LOOP_S)
/* Above this many bytes of unfetched records, workers are not read. */
enum { MAX_UNFETCHED = 64 * 1024 * 1024 };
/* A worker with more bytes before it gets no further work; with more than the
 * second it is not even told what to cancel, but killed. */
enum { MAX_UNREAD = 256 * 1024 * 1024, HOPELESS = 3 * MAX_UNREAD };

static void on_leave(struct loop_timer *timer)
{
  struct node *n = CONTAINER_OF(timer, struct node, leave);
  loop_stop(n->loop);
}

static void on_lease_over(struct session_list *l, struct session *s)
{
  struct node *n = CONTAINER_OF(l, struct node, sessions);
  log_info("session ended without a word of its driver",
           LOG_INT("session", s->number));
  node_end_session(n, s);
}

int node_init(struct node *n, const struct serve_options *options,
              struct loop *loop, struct err *e)
{
  n->options = options;
  n->loop = loop;
  n->leave.on_expire = on_leave;
  session_list_init(&n->sessions, loop, options->workers, on_lease_over);
  if (options->lease) n->sessions.lease = (uint64_t)options->lease * LOOP_MS;
  n->not_begun = calloc((size_t)options->workers, sizeof(*n->not_begun));
  if (!n->not_begun) return err_set(e, "memory", "out of memory");
  if (getrandom(n->boot, sizeof(n->boot), 0) < 0)
    return err_errno(e, "system", errno, "getrandom");
  return node_cancels_init(n, e);
}

void node_free(struct node *n)
{
  if (!n->loop) return;
  session_list_close(&n->sessions);
  node_cancels_free(n);
  for (int i = 0; n->not_begun && i < n->options->workers; i++)
    not_begun_clear(&n->not_begun[i]);
  free(n->not_begun);
  n->not_begun = NULL;
  loop_timer_clear(n->loop, &n->leave);
}

static size_t unfetched(const struct node *n)
{
  size_t bytes = 0;
  for (const struct session *s = n->sessions.first; s; s = s->next)
    bytes += s->outbox.bytes;
  return bytes;
}

/* Leave once nothing runs and every record has been fetched. Only fetching
 * makes us wait anew: not those who ask, nor what is refused meanwhile. */
static void check_drained(struct node *n)
{
  size_t before = n->unfetched, bytes = unfetched(n);
  for (int i = 1; i <= pool_count(n->pool); i++)
    if (pool_worker(n->pool, i)->outstanding) return;
  n->unfetched = bytes;
  if (n->leave.slot && bytes >= before && (before || !bytes)) return;
  loop_timer_set(n->loop, &n->leave, bytes ? DRAIN_PATIENCE : LINGER);
}

void node_drain(struct node *n)
{
  if (n->draining || n->options->parent) { /* a private node has no guests */
    loop_stop(n->loop);
    return;
  }
  n->draining = true;
  log_info("draining");
  node_record_state(n);
  node_check(n);
}

/* Workers are not read while drivers leave too many records behind: the
 * socket fills, and the worker stops starting tasks. */
static void check_pause(struct node *n)
{
  bool pause = unfetched(n) > MAX_UNFETCHED;
  if (pause == n->paused) return;
  n->paused = pause;
  pool_pause(n->pool, pause);
}

void node_check(struct node *n)
{
  check_pause(n);
  if (n->draining) check_drained(n);
}

struct buf *node_frame(struct node *n, struct pool_worker *w, const char *name,
                       const struct session *s, size_t count)
{
  if (pool_queued(n->pool, w) > HOPELESS) {
    pool_kill(n->pool, w);
    return NULL;
  }
  struct buf *b = pool_begin(n->pool, w);
  if (!b) return NULL;
  mp_write_array(b, count);
  mp_write_cstr(b, name);
  mp_write_int(b, s->number);
  return b;
}

bool node_knows(const struct session *s, const struct pool_worker *w)
{
  return w->alive && s->workers[w->index - 1].generation == w->generation;
}

bool node_waits(const void *worker, uint64_t number)
{
  return pool_waits(worker, number);
}

bool node_is_stuffed(struct node *n, struct pool_worker *w)
{
  return pool_queued(n->pool, w) > MAX_UNREAD;
}
