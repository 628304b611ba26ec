/* SPDX-License-Identifier: MIT */
#include "node/peer.h"

#include "base/container.h"
#include "base/log.h"
#include "net/carrier_tls.h"
#include "net/channel.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* ---- those without a session ---- */

static void on_idle(struct loop_timer *timer)
{
  struct node *n = CONTAINER_OF(timer, struct node, idle_timer);
  uint64_t now = loop_clock();
  struct peer *p;
  while ((p = TAILQ_FIRST(&n->idle)) && now - p->heard >= PEER_IDLE_TIMEOUT)
    peer_close(p);
  if (p) loop_timer_set(n->loop, timer, p->heard + PEER_IDLE_TIMEOUT - now);
}

static void add_idle(struct peer *p)
{
  struct node *n = p->node;
  TAILQ_INSERT_TAIL(&n->idle, p, link);
  p->heard = loop_clock();
  n->idle_count++;
  if (!n->idle_timer.slot && n->options->in_fd < 0)
    loop_timer_set(n->loop, &n->idle_timer, PEER_IDLE_TIMEOUT);
}

static void remove_idle(struct peer *p)
{
  TAILQ_REMOVE(&p->node->idle, p, link);
  p->node->idle_count--;
}

void peers_init(struct node *n)
{
  struct rlimit files;
  TAILQ_INIT(&n->idle);
  n->idle_timer.on_expire = on_idle;
  n->max_idle = PEER_MAX_IDLE;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 &&
      files.rlim_cur / 4 < PEER_MAX_IDLE)
    n->max_idle = (int)(files.rlim_cur / 4);
}

void peers_close(struct node *n)
{
  while (!TAILQ_EMPTY(&n->idle)) peer_close(TAILQ_FIRST(&n->idle));
  loop_timer_clear(n->loop, &n->idle_timer);
}

/* ---- one ---- */

struct peer *peer_new(struct node *n, struct channel *c)
{
  struct peer *p = calloc(1, sizeof(*p));
  if (!p) return NULL;
  if (n->idle_count >= n->max_idle) {
    struct peer *quietest = TAILQ_FIRST(&n->idle);
    log_warn("too many connections without a session, closing the quietest",
             LOG_STR("peer", channel_peer(quietest->channel)));
    peer_close(quietest);
  }
  p->node = n;
  p->channel = c;
  STAILQ_INIT(&p->cancels);
  add_idle(p);
  return p;
}

void peer_close(struct peer *p)
{
  struct deferred_cancel *d;
  peer_leave(p);
  remove_idle(p);
  while ((d = STAILQ_FIRST(&p->cancels))) {
    STAILQ_REMOVE_HEAD(&p->cancels, link);
    free(d);
  }
  channel_close(p->channel);
  if (p->node->options->in_fd >= 0) loop_stop(p->node->loop);
  free(p);
}

void peer_heard(struct peer *p)
{
  if (p->session) return;
  remove_idle(p);
  add_idle(p);
}

void peer_join(struct peer *p, struct session *s)
{
  remove_idle(p);
  p->session = s;
  s->peer = p;
  channel_attach(p->channel, &s->messages);
}

void peer_leave(struct peer *p)
{
  if (!p->session) return;
  resumable_detach(&p->session->messages);
  p->session->peer = NULL;
  p->session = NULL;
  add_idle(p);
}

/* ---- cancellations that wait ---- */

int peer_defer(struct peer *p, uint64_t after, uint32_t id,
               const uint8_t *tasks, size_t len)
{
  if (p->cancel_count >= PEER_MAX_DEFERRED) return -1;
  struct deferred_cancel *d = malloc(sizeof(*d) + len);
  if (!d) return -1;
  d->after = after;
  d->id = id;
  d->len = len;
  memcpy(d->tasks, tasks, len);
  STAILQ_INSERT_TAIL(&p->cancels, d, link);
  p->cancel_count++;
  return 0;
}

struct deferred_cancel *peer_take_deferred(struct peer *p)
{
  struct deferred_cancel *d;
  STAILQ_FOREACH (d, &p->cancels, link)
    if (!p->session || d->after <= p->session->messages.received) break;
  if (!d) return NULL;
  STAILQ_REMOVE(&p->cancels, d, deferred_cancel, link);
  p->cancel_count--;
  return d;
}

struct peer_identity peer_identity(const struct peer *p)
{
  const struct carrier *carrier = channel_carrier(p->channel);
  const struct certificate *cert = carrier_tls_peer(carrier);
  if (!cert)
    return (struct peer_identity){.role = "driver",
                                  .may_submit = !carrier_is_tls(carrier)};
  return (struct peer_identity){.name = cert->name,
                                .role = certificate_role_name(cert->role),
                                .serial = cert->serial,
                                .may_submit = cert->role == CERTIFICATE_DRIVER};
}
