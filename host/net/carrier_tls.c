/* SPDX-License-Identifier: MIT */
#include "net/carrier_tls.h"

#include "base/container.h"
#include "net/tls.h"

#include <stdlib.h>
#include <string.h>

enum {
  CHUNK = 256 * 1024,    /* bytes that are encrypted before they are sent */
  KEEP = 2 * TLS_RECORD, /* bytes of an idle buffer */
  MAX_PLAIN = 4 * 1024 * 1024, /* bytes of one on_bytes */
};

/* Buffers of large values are kept for the next ones, and freed when there have
 * been none for one to two of these. */
#define KEEP_TIME (1 * LOOP_S)

/* After an error, for the peer to receive the alert that says why. Closing a
 * socket with unread bytes discards what is on its way to the peer. */
#define ALERT_TIMEOUT (500 * LOOP_MS)

struct carrier_tls {
  struct carrier base;
  struct loop *loop;
  struct carrier *inner;
  struct tls *tls;
  struct buf plain;           /* that has not been delivered */
  struct buf sent;            /* encrypted bytes that the inner carrier has */
  struct carrier_parts parts; /* that have not been encrypted */
  bool sending;               /* on_sent is due when they have been sent */
  bool inner_sending;
  bool server;
  bool paused;
  bool failed, ended;
  bool busy;      /* inside a callback of the inner carrier or of the timer */
  bool closed;    /* to be freed when it returns */
  struct err why; /* with `failed` */
  struct loop_timer timer; /* to report that, or to deliver after a pause */
  struct loop_timer idle;  /* set while there are large buffers */
  bool used;               /* one of these, since it was set */
};

static struct carrier_tls *of(const struct carrier *c)
{
  return (struct carrier_tls *)(uintptr_t)c; /* `base` is the first member */
}

static void destroy(struct carrier_tls *c)
{
  loop_timer_clear(c->loop, &c->idle);
  tls_free(c->tls);
  buf_free(&c->plain);
  buf_free(&c->sent);
  free(c);
}

static void leave(struct carrier_tls *c)
{
  c->busy = false;
  if (c->closed) destroy(c);
}

/* Empties a buffer. An idle connection shall not keep what its largest value
 * took. */
static void release(struct carrier_tls *c, struct buf *b)
{
  buf_clear(b);
  if (b->cap <= KEEP) return;
  c->used = true;
  if (!c->idle.slot && loop_timer_set(c->loop, &c->idle, KEEP_TIME) < 0)
    buf_free(b);
}

static void on_idle(struct loop_timer *timer)
{
  struct carrier_tls *c = CONTAINER_OF(timer, struct carrier_tls, idle);
  struct buf *out = tls_output(c->tls);
  bool in_use = c->used || c->plain.len || c->inner_sending || out->len;
  c->used = false;
  if (in_use && loop_timer_set(c->loop, timer, KEEP_TIME) == 0) return;
  if (!c->plain.len) buf_free(&c->plain);
  if (!c->inner_sending) buf_free(&c->sent);
  if (!out->len) buf_free(out);
}

/* ---- the end ---- */

static void end(struct carrier_tls *c, const struct err *reason)
{
  if (c->ended || c->closed) return;
  c->ended = true;
  loop_timer_clear(c->loop, &c->timer);
  c->base.events->on_end(c->base.arg, reason);
}

/* ---- sending ---- */

/* Sends what TLS has for the peer, and encrypts more. Returns true when nothing
 * is left. */
static bool flush(struct carrier_tls *c);

/* Reports `e` once the peer has, probably, received the alert. */
static void fail(struct carrier_tls *c, const struct err *e)
{
  if (c->failed) return;
  c->failed = true;
  c->why = *e;
  c->parts.count = 0;
  bool alert = tls_output(c->tls)->len > 0;
  flush(c);
  carrier_pause(c->inner, false); /* to read, and drop, up to the peer's end */
  bool linger = c->inner_sending || (alert && c->server);
  loop_timer_set(c->loop, &c->timer, linger ? ALERT_TIMEOUT : 0);
}

static bool flush(struct carrier_tls *c)
{
  struct buf *out = tls_output(c->tls);
  while (!c->inner_sending) {
    struct err e;
    if (!out->len && c->parts.count && tls_state(c->tls) == TLS_OPEN &&
        tls_send(c->tls, &c->parts, CHUNK, &e) < 0)
      fail(c, &e);
    if (!out->len) break;
    buf_swap(out, &c->sent);
    struct iovec part = {c->sent.data, c->sent.len};
    c->inner_sending = !carrier_send(c->inner, &part, 1);
    if (!c->inner_sending) buf_clear(&c->sent);
  }
  if (c->inner_sending || c->parts.count) return false;
  release(c, &c->sent);
  release(c, out);
  return true;
}

static void send_more(struct carrier_tls *c)
{
  if (c->closed || c->ended || !flush(c) || !c->sending || c->failed) return;
  c->sending = false;
  c->base.events->on_sent(c->base.arg);
}

static void on_sent(void *arg)
{
  struct carrier_tls *c = arg;
  c->busy = true;
  c->inner_sending = false;
  buf_clear(&c->sent);
  send_more(c);
  if (c->failed && !c->server && !c->ended && !c->closed)
    loop_timer_set(c->loop, &c->timer, 0);
  leave(c);
}

static bool tls_carrier_send(struct carrier *base, const struct iovec *parts,
                             int count)
{
  struct carrier_tls *c = of(base);
  if (c->ended || c->failed) return false;
  carrier_parts_set(&c->parts, parts, count);
  c->sending = !flush(c) || c->failed;
  return !c->sending;
}

/* ---- receiving ---- */

static void deliver(struct carrier_tls *c)
{
  if (!c->plain.len || c->paused || c->closed) return;
  c->base.events->on_bytes(c->base.arg, c->plain.data, c->plain.len);
  release(c, &c->plain);
}

/* What the last bytes have led to. */
static void on_received(struct carrier_tls *c, int rc, const struct err *e)
{
  deliver(c);
  if (c->closed) return;
  if (rc < 0) {
    fail(c, e);
  } else if (tls_state(c->tls) == TLS_CLOSED && !c->paused) {
    struct err closed;
    err_set(&closed, "lost", "the connection was closed");
    end(c, &closed);
  }
  send_more(c);
}

static void on_bytes(void *arg, const uint8_t *data, size_t len)
{
  struct carrier_tls *c = arg;
  struct err e;
  if (c->failed || c->ended) return;
  c->busy = true;
  bool open = tls_state(c->tls) == TLS_OPEN;
  int rc = tls_receive(c->tls, data, len, &c->plain, &e);
  if (!open && tls_state(c->tls) == TLS_OPEN && c->paused)
    carrier_pause(c->inner, true);
  on_received(c, rc, &e);
  leave(c);
}

static void on_end(void *arg, const struct err *reason)
{
  struct carrier_tls *c = arg;
  struct err e;
  c->busy = true;
  if (c->failed)
    end(c, &c->why);
  else
    end(c, tls_end(c->tls, &e) < 0 ? &e : reason);
  leave(c);
}

static void on_timer(struct loop_timer *timer)
{
  struct carrier_tls *c = CONTAINER_OF(timer, struct carrier_tls, timer);
  c->busy = true;
  if (c->failed)
    end(c, &c->why);
  else
    on_received(c, 0, NULL);
  leave(c);
}

/* ---- the carrier ---- */

static const struct carrier_events events = {on_bytes, on_sent, on_end};

static void tls_carrier_start(struct carrier *base)
{
  struct carrier_tls *c = of(base);
  carrier_start(c->inner, &events, c);
  flush(c);
}

/* The handshake goes on during a pause. */
static void tls_carrier_pause(struct carrier *base, bool pause)
{
  struct carrier_tls *c = of(base);
  if (c->paused == pause) return;
  c->paused = pause;
  if (c->failed || c->ended || tls_state(c->tls) == TLS_HANDSHAKE) return;
  carrier_pause(c->inner, pause);
  if (!pause && (c->plain.len || tls_state(c->tls) == TLS_CLOSED))
    loop_timer_set(c->loop, &c->timer, 0);
}

static void tls_carrier_close(struct carrier *base)
{
  struct carrier_tls *c = of(base);
  c->closed = true;
  loop_timer_clear(c->loop, &c->timer);
  c->parts.count = 0;
  if (!c->ended) {
    tls_finish(c->tls);
    flush(c);
  }
  carrier_close(c->inner);
  if (!c->busy) destroy(c);
}

static const struct carrier_type type = {tls_carrier_start, tls_carrier_send,
                                         tls_carrier_pause, tls_carrier_close};

struct carrier *carrier_tls_new(struct loop *loop, struct carrier *inner,
                                const struct tls_identity *id, struct err *e)
{
  struct carrier_tls *c = err_calloc(sizeof(*c), "a connection", e);
  if (c) c->tls = tls_new(id, e);
  if (!c || !c->tls) {
    free(c);
    carrier_close(inner);
    return NULL;
  }
  c->base.type = &type;
  memcpy(c->base.peer, inner->peer, sizeof(c->base.peer));
  c->loop = loop;
  c->inner = inner;
  c->server = tls_identity_certificate(id)->role == CERTIFICATE_NODE;
  c->timer.on_expire = on_timer;
  c->idle.on_expire = on_idle;
  buf_init(&c->plain, MAX_PLAIN);
  buf_init(&c->sent, tls_output(c->tls)->max);
  return &c->base;
}

bool carrier_is_tls(const struct carrier *c)
{
  return c->type == &type;
}

bool carrier_tls_is_current(const struct carrier *c,
                            const struct tls_identity *id)
{
  return !carrier_is_tls(c) || tls_is_current(of(c)->tls, id);
}

const struct certificate *carrier_tls_peer(const struct carrier *c)
{
  return carrier_is_tls(c) ? tls_peer(of(c)->tls) : NULL;
}

int carrier_tls_verify(const struct carrier *c, const struct tls_identity *id,
                       struct err *e)
{
  return carrier_is_tls(c) ? tls_verify(of(c)->tls, id, e) : 0;
}
