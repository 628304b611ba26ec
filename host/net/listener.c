/* SPDX-License-Identifier: MIT */
#include "net/listener.h"

#include "base/container.h"
#include "base/log.h"
#include "net/address.h"
#include "net/carrier_nng.h"
#include "net/carrier_tls.h"
#include "net/legacy.h"

#include <nng/nng.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* After accept has failed, mostly since there are no descriptors left. */
#define RETRY_DELAY (100 * LOOP_MS)
#define LOG_INTERVAL LOOP_S

/* One address. Freed when no accept is under way any more. */
struct door {
  SLIST_ENTRY(door) link;
  struct loop *loop;
  struct listener *listener; /* NULL: closed */
  nng_stream_listener *socket;
  nng_aio *aio;
  struct loop_msg mail; /* posted when an accept has ended */
  bool accepting;       /* until it is delivered */
  struct loop_timer retry;
  bool tcp;
  char url[];
};

/* A connection that is not handed out yet. It has a carrier, until the first
 * byte tells what the peer is: a channel, or a legacy. */
struct pending {
  TAILQ_ENTRY(pending) link; /* of listener->pending, the oldest first */
  struct listener *listener;
  struct carrier *carrier; /* NULL: the channel's */
  struct channel *channel;
  bool is_legacy;
  struct legacy legacy;
  struct buf reply; /* to a legacy */
  uint64_t opened;
  char address[sizeof(((struct carrier *)0)->peer)]; /* without the port */
  char peer[sizeof(((struct carrier *)0)->peer)];
};

struct listener {
  struct loop *loop;
  struct tls_identity *tls;
  struct assembly_set *unfinished;
  const struct channel_events *events;
  listener_on_channel *on_channel;
  void *arg;
  int ipc_mode;
  SLIST_HEAD(doors, door) doors;
  TAILQ_HEAD(pendings, pending) pending;
  int count, max;
  struct loop_timer timeout;   /* of the oldest that is pending */
  struct loop_timer log_again; /* set after a line about a refusal */
  int unlogged;
};

/* ---- the log ---- */

/* Lets one line a second pass; the others are counted. */
static bool may_log(struct listener *l)
{
  if (l->log_again.slot) {
    l->unlogged++;
    return false;
  }
  loop_timer_set(l->loop, &l->log_again, LOG_INTERVAL);
  return true;
}

static void on_log_again(struct loop_timer *timer)
{
  struct listener *l = CONTAINER_OF(timer, struct listener, log_again);
  if (!l->unlogged) return;
  log_warn("more connections were refused", LOG_INT("count", l->unlogged));
  l->unlogged = 0;
  loop_timer_set(l->loop, &l->log_again, LOG_INTERVAL);
}

static void log_refusal(struct listener *l, const char *peer, const char *why)
{
  if (may_log(l))
    log_warn("a connection is refused", LOG_STR("peer", peer),
             LOG_STR("why", why));
}

/* ---- those that are pending ---- */

static void pending_close(struct pending *p)
{
  struct listener *l = p->listener;
  TAILQ_REMOVE(&l->pending, p, link);
  l->count--;
  carrier_close(p->carrier);
  channel_close(p->channel);
  legacy_free(&p->legacy);
  buf_free(&p->reply);
  free(p);
}

static void refuse(struct pending *p, const char *why)
{
  log_refusal(p->listener, p->peer, why);
  pending_close(p);
}

static void on_timeout(struct loop_timer *timer)
{
  struct listener *l = CONTAINER_OF(timer, struct listener, timeout);
  uint64_t now = loop_clock();
  struct pending *p;
  while ((p = TAILQ_FIRST(&l->pending)) &&
         now - p->opened >= LISTENER_HANDSHAKE_TIMEOUT)
    refuse(p, "its preface did not come in time");
  if (p)
    loop_timer_set(l->loop, timer,
                   p->opened + LISTENER_HANDSHAKE_TIMEOUT - now);
}

static int count_of(const struct listener *l, const char *address,
                    struct pending **oldest)
{
  int n = 0;
  struct pending *p;
  TAILQ_FOREACH (p, &l->pending, link) {
    if (strcmp(p->address, address)) continue;
    if (n++ == 0) *oldest = p;
  }
  return n;
}

/* Closes one if there are too many, now that `latest` has come. */
static void make_room(struct listener *l, const struct pending *latest)
{
  struct pending *oldest = NULL, *p, *first = NULL;
  int most = 0;
  if (count_of(l, latest->address, &oldest) > LISTENER_MAX_PER_ADDRESS) {
    refuse(oldest, "too many connections from its address are pending");
    return;
  }
  if (l->count <= l->max) return;
  TAILQ_FOREACH (p, &l->pending, link) {
    int n = count_of(l, p->address, &first);
    if (n <= most) continue;
    most = n;
    oldest = first;
  }
  refuse(oldest, "too many connections are pending");
}

/* ---- a channel ---- */

static void log_connected(const char *peer, const struct certificate *cert)
{
  if (cert)
    log_info("connected", LOG_STR("peer", peer), LOG_STR("cn", cert->name),
             LOG_STR("role", certificate_role_name(cert->role)),
             LOG_STR("serial", cert->serial));
  else
    log_event(LOG_DEBUG, "connected", LOG_FIELDS(LOG_STR("peer", peer)));
}

static void on_ready(void *arg)
{
  struct pending *p = arg;
  struct listener *l = p->listener;
  struct channel *c = p->channel;
  log_connected(p->peer, carrier_tls_peer(channel_carrier(c)));
  p->channel = NULL;
  pending_close(p);
  void *owner = l->on_channel(l->arg, c);
  if (owner)
    channel_set_events(c, l->events, owner);
  else
    channel_close(c);
}

/* Not before on_ready. */
static void on_request(void *arg, uint32_t id, const uint8_t *data, size_t len)
{
  (void)arg, (void)id, (void)data, (void)len;
}

static void on_channel_end(void *arg, const struct err *reason)
{
  refuse(arg, reason->text);
}

static const struct channel_events channel_events = {on_ready, on_request,
                                                     on_channel_end};

/* ---- the first bytes ---- */

static void receive_legacy(struct pending *p, const uint8_t *data, size_t len)
{
  buf_clear(&p->reply);
  int rv = legacy_receive(&p->legacy, data, len, &p->reply);
  struct iovec part = {p->reply.data, p->reply.len};
  bool sent = !p->reply.len || carrier_send(p->carrier, &part, 1);
  if (rv || !sent)
    refuse(p, rv < 0 ? "it is not moonfleet"
                     : "it speaks protocol 4 or older, and was told so");
}

static void on_bytes(void *arg, const uint8_t *data, size_t len)
{
  struct pending *p = arg;
  struct carrier *c = p->carrier;
  const struct channel_options options = {
      .loop = p->listener->loop, .unfinished = p->listener->unfinished};
  struct err e;
  p->is_legacy |= legacy_is_first_byte(data[0]);
  if (p->is_legacy) {
    receive_legacy(p, data, len);
    return;
  }
  p->carrier = NULL;
  p->channel = channel_new(c, &options, &channel_events, p, &e);
  if (p->channel)
    c->events->on_bytes(c->arg, data, len); /* which it has not seen */
  else
    refuse(p, e.text);
}

static void on_sent(void *arg)
{
  (void)arg;
}

static void on_end(void *arg, const struct err *reason)
{
  struct pending *p = arg;
  if (strcmp(reason->kind, "lost")) {
    refuse(p, reason->text);
    return;
  }
  /* one that only looks whether somebody listens is no news */
  log_event(LOG_DEBUG, "a connection has ended before its preface",
            LOG_FIELDS(LOG_STR("peer", p->peer), LOG_STR("why", reason->text)));
  pending_close(p);
}

/* ---- accepting ---- */

/* Over ipc a connection of another user is refused, unless the mode lets others
 * connect. */
static bool is_other_user(struct listener *l, struct carrier *c)
{
  uint64_t uid;
  if (l->ipc_mode & (S_IRWXG | S_IRWXO)) return false;
  if (!carrier_nng_uid(c, &uid) || uid == geteuid() || uid == 0) return false;
  if (may_log(l))
    log_warn("a connection of another user is refused; --ipc-mode opens ipc "
             "addresses to others",
             LOG_INT("uid", uid));
  return true;
}

static void admit(struct door *d, nng_stream *stream)
{
  static const struct carrier_events events = {on_bytes, on_sent, on_end};
  struct listener *l = d->listener;
  struct err e;
  struct carrier *c = carrier_nng_new(d->loop, stream, &e);
  if (!c) return;
  struct pending *p = is_other_user(l, c) ? NULL : calloc(1, sizeof(*p));
  if (p && d->tcp && l->tls) c = carrier_tls_new(d->loop, c, l->tls, &e);
  if (!p || !c) {
    free(p);
    carrier_close(c);
    return;
  }
  p->listener = l;
  p->carrier = c;
  p->opened = loop_clock();
  memcpy(p->peer, c->peer, sizeof(p->peer));
  memcpy(p->address, c->peer, sizeof(p->address));
  char *port = strrchr(p->address, ':');
  if (port) *port = 0;
  legacy_init(&p->legacy, !port);
  buf_init(&p->reply, 1024);
  TAILQ_INSERT_TAIL(&l->pending, p, link);
  l->count++;
  if (!l->timeout.slot)
    loop_timer_set(l->loop, &l->timeout, LISTENER_HANDSHAKE_TIMEOUT);
  carrier_start(c, &events, p);
  make_room(l, p);
}

static void door_free(struct door *d)
{
  loop_timer_clear(d->loop, &d->retry);
  if (d->socket) nng_stream_listener_free(d->socket);
  nng_aio_free(d->aio);
  free(d);
}

static void accept_next(struct door *d)
{
  d->accepting = true;
  loop_expect(d->loop);
  nng_stream_listener_accept(d->socket, d->aio);
}

/* nng thread */
static void on_aio(void *arg)
{
  struct door *d = arg;
  loop_post(d->loop, &d->mail);
}

static void deliver(struct loop_msg *mail)
{
  struct door *d = CONTAINER_OF(mail, struct door, mail);
  struct listener *l = d->listener;
  int rv = nng_aio_result(d->aio);
  nng_stream *stream = rv ? NULL : nng_aio_get_output(d->aio, 0);
  d->accepting = false;
  loop_received(d->loop);
  if (!l) {
    if (stream) nng_stream_free(stream);
    door_free(d);
    return;
  }
  if (rv) {
    if (may_log(l))
      log_warn("cannot accept a connection", LOG_STR("address", d->url),
               LOG_STR("why", nng_strerror(rv)));
    loop_timer_set(d->loop, &d->retry, RETRY_DELAY);
    return;
  }
  accept_next(d);
  admit(d, stream);
}

static void on_retry(struct loop_timer *timer)
{
  accept_next(CONTAINER_OF(timer, struct door, retry));
}

/* ---- listening ---- */

static int door_listen(struct door *d, int ipc_mode, struct err *e)
{
  enum address_kind kind = address_kind(d->url);
  d->tcp = kind == ADDRESS_TCP;
  if (kind == ADDRESS_UNKNOWN)
    return err_set(e, "usage",
                   "cannot listen on %s: an address is tcp://HOST:PORT or "
                   "ipc:///PATH",
                   d->url);
  int rv = nng_stream_listener_alloc(&d->socket, d->url);
  /* nng sets the mode before it listens; other addresses have none */
  if (!rv && kind == ADDRESS_IPC)
    rv = nng_stream_listener_set_int(d->socket, NNG_OPT_IPC_PERMISSIONS,
                                     ipc_mode);
  if (!rv) rv = nng_stream_listener_listen(d->socket);
  if (!rv) rv = nng_aio_alloc(&d->aio, on_aio, d);
  if (!rv) return 0;
  if (rv == NNG_EADDRINUSE)
    return err_set(e, "system",
                   "cannot listen on %s: the address is in use; stop what uses "
                   "it or choose another with --listen",
                   d->url);
  return err_set(e, "system", "cannot listen on %s: %s", d->url,
                 nng_strerror(rv));
}

static int listen_on(struct listener *l, const char *url, struct err *e)
{
  size_t size = strlen(url) + 1;
  struct door *d = err_calloc(sizeof(*d) + size, "an address", e);
  if (!d) return -1;
  memcpy(d->url, url, size);
  d->loop = l->loop;
  d->mail.deliver = deliver;
  d->retry.on_expire = on_retry;
  if (door_listen(d, l->ipc_mode, e) < 0) {
    door_free(d);
    return -1;
  }
  d->listener = l;
  SLIST_INSERT_HEAD(&l->doors, d, link);
  accept_next(d);
  return 0;
}

struct listener *listener_new(const struct listener_options *options,
                              const struct channel_events *events,
                              listener_on_channel *on_channel, void *arg,
                              struct err *e)
{
  struct listener *l = err_calloc(sizeof(*l), "a listener", e);
  struct rlimit files;
  if (!l) return NULL;
  l->loop = options->loop;
  l->tls = options->tls;
  l->unfinished = options->unfinished;
  l->ipc_mode = options->ipc_mode;
  l->events = events;
  l->on_channel = on_channel;
  l->arg = arg;
  l->timeout.on_expire = on_timeout;
  l->log_again.on_expire = on_log_again;
  l->max = LISTENER_MAX_PENDING;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 &&
      files.rlim_cur / 4 < LISTENER_MAX_PENDING)
    l->max = (int)(files.rlim_cur / 4);
  SLIST_INIT(&l->doors);
  TAILQ_INIT(&l->pending);
  for (const char *const *url = options->urls; *url; url++)
    if (listen_on(l, *url, e) < 0) {
      listener_free(l);
      return NULL;
    }
  return l;
}

void listener_free(struct listener *l)
{
  if (!l) return;
  for (struct door *d; (d = SLIST_FIRST(&l->doors));) {
    SLIST_REMOVE_HEAD(&l->doors, link);
    d->listener = NULL;
    nng_stream_listener_close(d->socket);
    if (!d->accepting) door_free(d);
  }
  while (!TAILQ_EMPTY(&l->pending)) pending_close(TAILQ_FIRST(&l->pending));
  loop_timer_clear(l->loop, &l->timeout);
  loop_timer_clear(l->loop, &l->log_again);
  free(l);
}
