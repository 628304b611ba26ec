/* SPDX-License-Identifier: MIT */
#include "node/rotation.h"

#include "base/container.h"
#include "base/log.h"
#include "net/carrier_tls.h"
#include "net/channel.h"
#include "node/peer.h"

#include <stdlib.h>
#include <time.h>

struct rotation {
  struct node *node;
  struct tls_identity *identity;
  struct loop_timer timer;
  uint64_t warned; /* by the loop's clock */
};

/* ---- the log ---- */

static void log_keys(const struct rotation *r, const char *message)
{
  char date[CERTIFICATE_DATE_SIZE];
  const char *until = date;
  const struct certificate *own = tls_identity_certificate(r->identity);
  certificate_date(own->not_after, date);
  log_info(message, LOG_STR("folder", tls_identity_dir(r->identity)),
           LOG_STR("fleet", own->fleet), LOG_STR("serial", own->serial),
           LOG_STR("until", until),
           LOG_INT("revoked", tls_identity_revoked(r->identity)));
}

static void log_warnings(struct rotation *r)
{
  struct err warnings[TLS_IDENTITY_WARNINGS];
  int n = tls_identity_warnings(r->identity, time(NULL), warnings);
  for (int i = 0; i < n; i++) log_warn(warnings[i].text);
  r->warned = loop_clock();
}

/* ---- standing connections ---- */

static bool verify(const struct rotation *r, struct channel *c)
{
  const struct carrier *carrier = channel_carrier(c);
  const struct certificate *cert = carrier_tls_peer(carrier);
  struct err why;
  if (carrier_tls_verify(carrier, r->identity, &why) == 0) return true;
  log_warn("a connection is closed", LOG_STR("peer", channel_peer(c)),
           LOG_STR("cn", cert->name),
           LOG_STR("role", certificate_role_name(cert->role)),
           LOG_STR("serial", cert->serial), LOG_STR("why", why.text));
  return false;
}

bool rotation_accepts(const struct rotation *r, struct channel *c)
{
  return carrier_tls_is_current(channel_carrier(c), r->identity) ||
         verify(r, c);
}

/* Without new keys, only time can have changed what is accepted. */
static void check_peer(struct rotation *r, struct peer *p, bool is_new)
{
  const struct certificate *cert =
      carrier_tls_peer(channel_carrier(p->channel));
  if (cert && (is_new || cert->not_after < time(NULL)) &&
      !verify(r, p->channel))
    peer_close(p);
}

static void check_peers(struct rotation *r, bool is_new)
{
  struct peer *p, *next;
  for (p = TAILQ_FIRST(&r->node->idle); p; p = next) {
    next = TAILQ_NEXT(p, link);
    check_peer(r, p, is_new);
  }
  for (struct session *s = r->node->sessions.first; s; s = s->next)
    if (s->peer) check_peer(r, s->peer, is_new);
}

/* ---- looking ---- */

/* Acts upon the result of tls_identity_reload or tls_identity_take_text. */
static void act(struct rotation *r, int rc, const struct err *e)
{
  if (rc < 0)
    log_warn("the keys in use stay, since the new ones cannot be used",
             LOG_STR("why", e->text));
  if (rc > 0) log_keys(r, "new keys");
  if (rc > 0 || loop_clock() - r->warned >= ROTATION_WARN_INTERVAL)
    log_warnings(r);
  check_peers(r, rc > 0);
}

void rotation_check(struct rotation *r)
{
  struct err e;
  int rc = tls_identity_reload(r->identity, &e);
  act(r, rc, &e);
}

void rotation_take(struct rotation *r, const struct buf *text)
{
  struct err e;
  int rc = tls_identity_take_text(r->identity, (const char *)text->data,
                                  text->len, &e);
  act(r, rc, &e);
}

static void on_time(struct loop_timer *timer)
{
  struct rotation *r = CONTAINER_OF(timer, struct rotation, timer);
  loop_timer_set(r->node->loop, timer, ROTATION_INTERVAL);
  rotation_check(r);
}

/* Takes over the identity; NULL and `e` when that is NULL. */
static struct rotation *start(struct node *n, struct tls_identity *identity,
                              struct err *e)
{
  struct rotation *r = identity ? err_calloc(sizeof(*r), "the keys", e) : NULL;
  if (!r) {
    tls_identity_free(identity);
    return NULL;
  }
  r->node = n;
  r->timer.on_expire = on_time;
  r->identity = identity;
  if (loop_timer_set(n->loop, &r->timer, ROTATION_INTERVAL) < 0) {
    err_set(e, "memory", "out of memory for the keys");
    rotation_free(r);
    return NULL;
  }
  log_keys(r, "keys loaded");
  log_warnings(r);
  return r;
}

struct rotation *rotation_new(struct node *n, const char *dir, struct err *e)
{
  return start(n, tls_identity_load(dir, CERTIFICATE_NODE, "serve", e), e);
}

struct rotation *rotation_new_text(struct node *n, const char *name,
                                   const struct buf *text, struct err *e)
{
  return start(n,
               tls_identity_load_text(name, (const char *)text->data, text->len,
                                      CERTIFICATE_NODE, "serve", e),
               e);
}

void rotation_free(struct rotation *r)
{
  if (!r) return;
  loop_timer_clear(r->node->loop, &r->timer);
  tls_identity_free(r->identity);
  free(r);
}

struct tls_identity *rotation_identity(const struct rotation *r)
{
  return r ? r->identity : NULL;
}
