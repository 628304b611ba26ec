/* SPDX-License-Identifier: MIT */
#include "node/node.h"

#include "base/container.h"
#include "base/log.h"
#include "node/cancel.h"
#include "node/notices.h"

#include <errno.h>
#include <sys/random.h>

/* Time for the reply with the last events to leave the socket. */
#define SHUTDOWN_DELAY (100 * LOOP_MS)
/* A drained node whose driver does not fetch its events leaves after this. */
#define DRAIN_TIMEOUT (5 * LOOP_S)
/* Above this many bytes of unfetched events, workers are not read. */
enum { MAX_UNFETCHED = 64 * 1024 * 1024 };

static void on_leave(struct loop_timer *timer)
{
  struct node *n = CONTAINER_OF(timer, struct node, leave);
  loop_stop(n->loop);
}

static void on_lease_expired(struct session_list *l, struct session *s)
{
  struct node *n = CONTAINER_OF(l, struct node, sessions);
  log_info("session expired: its driver is silent",
           LOG_INT("session", s->number));
  node_end_session(n, s);
}

int node_init(struct node *n, const struct serve_options *options,
              struct loop *loop, struct err *e)
{
  n->options = options;
  n->loop = loop;
  n->leave.on_expire = on_leave;
  session_list_init(&n->sessions, loop, options->workers, on_lease_expired);
  if (options->lease) n->sessions.lease = (uint64_t)options->lease * LOOP_MS;
  cancel_init(n);
  if (getrandom(n->boot, sizeof(n->boot), 0) < 0)
    return err_errno(e, "system", errno, "getrandom");
  return 0;
}

void node_free(struct node *n)
{
  if (!n->loop) return;
  session_list_close(&n->sessions);
  cancel_free(n);
  WORKERS_FOREACH (w, n->workers) not_begun_clear(&w->not_begun);
  loop_timer_clear(n->loop, &n->leave);
}

static size_t unfetched(const struct node *n)
{
  size_t bytes = 0;
  for (const struct session *s = n->sessions.first; s; s = s->next)
    bytes += s->outbox.bytes;
  return bytes;
}

/* Leaves once nothing runs and every event has been fetched. Only fetching
 * starts the wait anew, not requests, nor what is refused meanwhile. */
static void check_drained(struct node *n)
{
  size_t before = n->unfetched, bytes = unfetched(n);
  WORKERS_FOREACH (w, n->workers)
    if (w->outstanding) return;
  n->unfetched = bytes;
  if (n->leave.slot && bytes >= before && (before || !bytes)) return;
  loop_timer_set(n->loop, &n->leave, bytes ? DRAIN_TIMEOUT : SHUTDOWN_DELAY);
}

void node_drain(struct node *n)
{
  if (n->draining || n->options->parent) { /* a private node has no guests */
    loop_stop(n->loop);
    return;
  }
  n->draining = true;
  log_info("draining");
  notices_state(n);
  node_check(n);
}

/* Workers are not read while drivers leave too many events unfetched: the
 * socket fills, and the worker stops starting tasks. */
static void check_pause(struct node *n)
{
  bool pause = unfetched(n) > MAX_UNFETCHED;
  if (pause == n->paused) return;
  n->paused = pause;
  workers_pause(n->workers, pause);
}

void node_check(struct node *n)
{
  check_pause(n);
  if (n->draining) check_drained(n);
}

void node_end_session(struct node *n, struct session *s)
{
  cancel_session(n, s);
  WORKERS_FOREACH (w, n->workers) {
    w->outstanding -= s->workers[w->index - 1].outstanding;
    not_begun_forget(&w->not_begun, s->number);
  }
  session_end(s);
  cancel_sync(n);
  node_check(n);
}
