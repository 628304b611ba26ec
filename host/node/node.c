/* SPDX-License-Identifier: MIT */
#include "node/node.h"

#include "base/container.h"
#include "base/log.h"
#include "node/cancel.h"
#include "node/notices.h"
#include "node/peer.h"

#include <errno.h>
#include <sys/random.h>

/* A drained node stays for a message that is under way to it. */
#define SHUTDOWN_DELAY (100 * LOOP_MS)
/* A drained node whose driver does not take its events leaves after this. */
#define DRAIN_TIMEOUT (5 * LOOP_S)
/* Above this many bytes of events that drivers have not acknowledged, workers
 * are not read. */
enum { MAX_UNFETCHED = 64 * 1024 * 1024 };

/* A node that has one channel ends with it, or with --lease-exit: its driver
 * may be stopped and go on (a year). */
#define NO_LEASE (365 * 86400 * LOOP_S)

static void leave(struct node *n)
{
  if (n->on_drained)
    n->on_drained(n);
  else
    loop_stop(n->loop);
}

static void on_leave(struct loop_timer *timer)
{
  leave(CONTAINER_OF(timer, struct node, leave));
}

static void on_drain_end(struct loop_timer *timer)
{
  struct node *n = CONTAINER_OF(timer, struct node, drain_end);
  if (n->gave_up) {
    leave(n);
    return;
  }
  n->gave_up = true;
  log_warn("tasks still run, and there is no more time to drain: their drivers "
           "run them elsewhere");
  if (n->workers) workers_give_up(n->workers);
  loop_timer_set(n->loop, timer, DRAIN_TIMEOUT);
}

static void on_lease_exit(struct loop_timer *timer)
{
  struct node *n = CONTAINER_OF(timer, struct node, lease_exit);
  uint64_t limit = (uint64_t)n->options->lease_exit * LOOP_MS;
  uint64_t silent = loop_clock() - n->heard;
  if (silent < limit) {
    loop_timer_set(n->loop, timer, limit - silent);
    return;
  }
  log_warn("no driver has been heard for --lease-exit, leaving",
           LOG_INT("ms", n->options->lease_exit));
  loop_stop(n->loop);
}

static void on_expired(struct session_list *l, struct session *s)
{
  struct node *n = CONTAINER_OF(l, struct node, sessions);
  struct peer *peer = s->peer;
  if (!s->failed)
    log_info("session expired: its driver is silent",
             LOG_INT("session", s->number));
  node_end_session(n, s);
  if (peer) peer_close(peer);
}

int node_init(struct node *n, const struct serve_options *options,
              struct loop *loop, struct err *e)
{
  n->options = options;
  n->loop = loop;
  n->leave.on_expire = on_leave;
  n->drain_end.on_expire = on_drain_end;
  n->lease_exit.on_expire = on_lease_exit;
  session_list_init(&n->sessions, loop, options->workers);
  n->sessions.on_expired = on_expired;
  if (options->lease)
    n->sessions.lease = (uint64_t)options->lease * LOOP_MS;
  else if (options->in_fd >= 0)
    n->sessions.lease = NO_LEASE;
  cancel_init(n);
  peers_init(n);
  assembly_set_init(&n->unfinished);
  n->heard = n->began = loop_clock();
  if (options->lease_exit) on_lease_exit(&n->lease_exit);
  if (getrandom(n->boot, sizeof(n->boot), 0) < 0)
    return err_errno(e, "system", errno, "getrandom");
  return 0;
}

void node_free(struct node *n)
{
  if (!n->loop) return;
  while (n->sessions.first) {
    struct peer *peer = n->sessions.first->peer;
    if (peer) peer_leave(peer);
    session_end(n->sessions.first);
  }
  peers_close(n);
  cancel_free(n);
  WORKERS_FOREACH (w, n->workers) not_begun_clear(&w->not_begun);
  loop_timer_clear(n->loop, &n->leave);
  loop_timer_clear(n->loop, &n->drain_end);
  loop_timer_clear(n->loop, &n->lease_exit);
}

static size_t unfetched(const struct node *n)
{
  size_t bytes = 0;
  for (const struct session *s = n->sessions.first; s; s = s->next)
    bytes += resumable_bytes(&s->messages);
  return bytes;
}

/* Leaves once nothing runs and every event has been acknowledged. Only that
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

/* Of a driver that is about to end; what a launched node runs is finished. */
static bool is_private(const struct node *n)
{
  return n->options->in_fd >= 0 && n->options->in_fd == n->options->out_fd;
}

void node_drain(struct node *n)
{
  if (n->draining) return;
  n->draining = true;
  log_info("draining");
  if (n->options->drain_timeout)
    node_drain_within(n, (uint64_t)n->options->drain_timeout);
  notices_state(n);
  node_check(n);
}

void node_drain_within(struct node *n, uint64_t ms)
{
  uint64_t end = loop_clock() + ms * LOOP_MS;
  if (n->gave_up || (n->drain_deadline && n->drain_deadline <= end)) return;
  n->drain_deadline = end;
  loop_timer_set(n->loop, &n->drain_end, ms * LOOP_MS);
}

void node_stop(struct node *n)
{
  n->stops++;
  if (n->stops > 2 || is_private(n))
    loop_stop(n->loop);
  else if (n->stops == 2)
    leave(n);
  else
    node_drain(n); /* unless a notice has begun that */
}

/* Workers are not read while drivers leave too many events: the socket fills,
 * and the worker stops starting tasks. */
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

bool node_is_in_the_way(const struct node *n, const struct session *s)
{
  return n->paused && n->sessions.count > 1 && resumable_bytes(&s->messages);
}

void node_end_session(struct node *n, struct session *s)
{
  if (s->peer) peer_leave(s->peer);
  cancel_session(n, s);
  WORKERS_FOREACH (w, n->workers) {
    w->outstanding -= s->workers[w->index - 1].outstanding;
    not_begun_forget(&w->not_begun, s->number);
  }
  session_end(s);
  cancel_sync(n);
  node_check(n);
}
