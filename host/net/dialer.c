/* SPDX-License-Identifier: MIT */
#include "net/dialer.h"

#include "base/container.h"
#include "net/address.h"
#include "net/carrier_fd.h"
#include "net/carrier_nng.h"
#include "net/carrier_tls.h"
#include "net/tls.h"

#include <nng/nng.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* nng 1.5 reports some connections as made that are still being made. They are
 * made once more. */
#define AGAIN_DELAY (10 * LOOP_MS)
/* A node of an older protocol greets at once, and closes the connection when it
 * sees our preface, which may discard the greeting. So after a connection that
 * was closed at once, another one only listens. */
#define GREETING_TIMEOUT (500 * LOOP_MS)

struct dialer {
  struct loop *loop;
  nng_stream_dialer *nng;
  nng_aio *aio;
  struct loop_msg mail; /* posted when it has ended */
  bool connecting;      /* until it is delivered */
  bool closed;          /* to be freed then */
  struct loop_timer timer, again;
  bool tcp;
  struct tls_identity *tls; /* NULL: without */
  int seconds;              /* the timeout, for messages */
  bool listens;             /* the second connection */
  struct err first;         /* what the first one failed with */
  struct channel *channel;  /* not ready yet */
  const struct channel_events *events;
  void *events_arg;
  dialer_on_done *on_done;
  void *arg;
  char name[]; /* the URL, or what the descriptors are called */
};

static void destroy(struct dialer *d)
{
  nng_aio_free(d->aio);
  if (d->nng) nng_stream_dialer_free(d->nng);
  free(d);
}

void dialer_cancel(struct dialer *d)
{
  d->closed = true;
  loop_timer_clear(d->loop, &d->timer);
  loop_timer_clear(d->loop, &d->again);
  channel_close(d->channel);
  if (d->connecting)
    nng_aio_abort(d->aio, NNG_ECANCELED);
  else
    destroy(d);
}

static void connect_now(struct dialer *d)
{
  d->connecting = true;
  loop_expect(d->loop);
  nng_stream_dialer_dial(d->nng, d->aio);
}

static void fail(struct dialer *d, const struct err *e)
{
  dialer_on_done *on_done = d->on_done;
  void *arg = d->arg;
  dialer_cancel(d);
  on_done(arg, NULL, e);
}

/* ---- the channel ---- */

static void on_ready(void *arg)
{
  struct dialer *d = arg;
  struct channel *c = d->channel;
  dialer_on_done *on_done = d->on_done;
  void *on_done_arg = d->arg;
  d->channel = NULL;
  channel_set_events(c, d->events, d->events_arg);
  dialer_cancel(d);
  on_done(on_done_arg, c, NULL);
}

/* Not before on_ready. */
static void on_request(void *arg, uint32_t id, const uint8_t *data, size_t len)
{
  (void)arg, (void)id, (void)data, (void)len;
}

static void wait_for_greeting(struct dialer *d)
{
  struct err why;
  if (d->tcp)
    tls_set_closed_at_once(&why);
  else
    err_set(&why, "lost",
            "closed the connection at once; is it of another user?");
  err_set(&d->first, why.kind, "%s: %s", d->name, why.text);
  channel_close(d->channel);
  d->channel = NULL;
  d->listens = true;
  loop_timer_set(d->loop, &d->timer, GREETING_TIMEOUT);
  connect_now(d);
}

static void on_end(void *arg, const struct err *reason)
{
  struct dialer *d = arg;
  const char *name = d->name, *kind = reason->kind, *text = reason->text;
  bool lost = !strcmp(kind, "lost") && d->nng && !d->tls;
  struct err e;
  if (!strcmp(kind, "protocol")) kind = "connect"; /* it is another program */
  if (lost && !d->listens) {
    wait_for_greeting(d);
    return;
  }
  if (lost)
    e = d->first;
  else if (!strcmp(kind, "skew"))
    err_set(&e, kind, "%s: %s; use the same release of moonfleet on both", name,
            text);
  else
    err_set(&e, kind, "%s: %s", name, text);
  fail(d, &e);
}

static void on_timeout(struct loop_timer *timer)
{
  struct dialer *d = CONTAINER_OF(timer, struct dialer, timer);
  struct err e;
  bool tls = d->channel && carrier_is_tls(channel_carrier(d->channel));
  if (d->listens) {
    e = d->first;
  } else if (tls && !carrier_tls_peer(channel_carrier(d->channel))) {
    struct err why;
    tls_set_no_answer(d->seconds, &why);
    err_set(&e, why.kind, "%s: %s", d->name, why.text);
  } else if (!d->nng) {
    err_set(&e, "timeout", "%s: no node has answered for %d s", d->name,
            d->seconds);
  } else if (d->channel) {
    err_set(&e, "connect",
            "%s: connected, but no moonfleet node answers there; it hangs, or "
            "another program has the port",
            d->name);
  } else {
    err_set(&e, "timeout", "%s: no answer in time", d->name);
  }
  fail(d, &e);
}

static int open_channel(struct dialer *d, struct carrier *carrier,
                        struct err *e)
{
  static const struct channel_events events = {on_ready, on_request, on_end};
  const struct channel_options options = {
      .loop = d->loop, .skip_noise = !d->nng, .wait_for_peer = d->listens};
  if (!carrier) return -1;
  snprintf(carrier->peer, sizeof(carrier->peer), "%s", d->name);
  if (d->tcp && d->tls) {
    carrier = carrier_tls_new(d->loop, carrier, d->tls, e);
    if (!carrier) return -1;
  }
  d->channel = channel_new(carrier, &options, &events, d, e);
  return d->channel ? 0 : -1;
}

/* ---- connecting ---- */

static void nng_err(struct err *e, int rv, const char *url)
{
  if (rv == NNG_ENOMEM)
    err_set(e, "memory", "%s: out of memory", url);
  else if (rv == NNG_ECONNREFUSED)
    err_set(e, "connect",
            "%s: connection refused; is moonfleet serve running there?", url);
  else if (rv == NNG_EADDRINVAL)
    err_set(e, "connect", "%s: no such host or port; an address is HOST:PORT",
            url);
  else if (rv == NNG_EAGAIN) /* EAI_AGAIN: no name server has answered */
    err_set(e, "connect", "%s: the host name could not be looked up", url);
  else
    err_set(e, "connect", "%s: %s", url, nng_strerror(rv));
}

static void on_again(struct loop_timer *timer)
{
  connect_now(CONTAINER_OF(timer, struct dialer, again));
}

/* nng thread */
static void on_aio(void *arg)
{
  struct dialer *d = arg;
  loop_post(d->loop, &d->mail);
}

static void deliver(struct loop_msg *mail)
{
  struct dialer *d = CONTAINER_OF(mail, struct dialer, mail);
  int rv = nng_aio_result(d->aio);
  nng_stream *stream = rv ? NULL : nng_aio_get_output(d->aio, 0);
  struct err e;
  d->connecting = false;
  loop_received(d->loop);
  if (d->closed) {
    if (stream) nng_stream_free(stream);
    destroy(d);
    return;
  }
  if (rv) {
    nng_err(&e, rv, d->name);
    fail(d, &e);
    return;
  }
  struct carrier *c = carrier_nng_new(d->loop, stream, &e);
  if (!c && !strcmp(e.kind, "lost"))
    loop_timer_set(d->loop, &d->again, AGAIN_DELAY);
  else if (open_channel(d, c, &e) < 0)
    fail(d, &e);
}

int dialer_check(const char *url, bool has_keys, bool insecure, struct err *e)
{
  if (address_kind(url) != ADDRESS_TCP || has_keys || insecure ||
      address_is_local(url))
    return 0;
  return err_set(e, "usage", "%s: reachable only with --tls DIR or --ssh",
                 url + strlen("tcp://"));
}

static int start_connecting(struct dialer *d, bool insecure, struct err *e)
{
  enum address_kind kind = address_kind(d->name);
  d->tcp = kind == ADDRESS_TCP;
  if (dialer_check(d->name, d->tls != NULL, insecure, e) < 0) return -1;
  int rv = kind == ADDRESS_UNKNOWN ? NNG_EADDRINVAL
                                   : nng_stream_dialer_alloc(&d->nng, d->name);
  if (rv)
    return err_set(e, "usage", "'%s' is not an address moonfleet can use: %s",
                   d->name, nng_strerror(rv));
  if (nng_aio_alloc(&d->aio, on_aio, d))
    return err_set(e, "memory", "out of memory for a connection");
  connect_now(d);
  return 0;
}

struct dialer *dialer_dial(const struct dialer_options *o,
                           const struct channel_events *events,
                           void *events_arg, dialer_on_done *on_done, void *arg,
                           struct err *e)
{
  const char *name = o->url ? o->url : o->name ? o->name : "the program";
  size_t size = strlen(name) + 1;
  struct dialer *d = err_calloc(sizeof(*d) + size, "a connection", e);
  struct carrier *carrier = NULL;
  if (!o->url) carrier = carrier_fd_new(o->loop, o->in, o->out, name, e);
  if (!d) {
    carrier_close(carrier);
    return NULL;
  }
  memcpy(d->name, name, size);
  d->loop = o->loop;
  d->tls = o->tls;
  d->mail.deliver = deliver;
  d->timer.on_expire = on_timeout;
  d->again.on_expire = on_again;
  d->events = events;
  d->events_arg = events_arg;
  d->on_done = on_done;
  d->arg = arg;
  if ((o->url ? start_connecting(d, o->insecure, e)
              : open_channel(d, carrier, e)) < 0) {
    destroy(d);
    return NULL;
  }
  d->seconds = (int)((o->timeout + LOOP_S - 1) / LOOP_S);
  loop_timer_set(d->loop, &d->timer, o->timeout);
  return d;
}
