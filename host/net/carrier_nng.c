/* SPDX-License-Identifier: MIT */
#include "net/carrier_nng.h"

#include "base/container.h"
#include "net/stream_descriptor.h"

#include <nng/nng.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_SIZE = 256 * 1024 };

/* What nng's threads do is expensive: one sees that a descriptor is ready,
 * wakes another one for the callback, and that wakes the loop. A send or
 * receive that is possible at once is done when nng's function returns, so:
 * - Sending has no callback. If not all bytes are taken at once, a send of
 *   nothing is queued behind, and that has one.
 * - Only the first receive has a callback. Then the loop itself waits for the
 *   descriptor, and has nng receive what is there. Where the descriptor is not
 *   found, every receive has a callback. */

/* After a send has failed, for what the peer had sent before to arrive. */
#define LAST_WORDS (50 * LOOP_MS)

struct carrier_nng {
  struct carrier base;
  struct loop *loop;
  nng_stream *stream;
  nng_aio *recv, *recv_now, *send, *sent;
  struct loop_msg recv_mail, sent_mail; /* posted when these have ended */
  bool receiving, sending;              /* until the mail is delivered */
  size_t held;                          /* bytes that arrived during a pause */
  struct loop_io io;                    /* fd -1: not found */
  bool searched;                        /* for that */
  bool watched;                         /* by the loop */
  bool paused, ended;
  int error;                  /* of a send */
  struct loop_timer failed;   /* reports it */
  struct carrier_parts parts; /* that have not been taken */
  bool busy;   /* inside a callback of the loop: closing only sets `closed` */
  bool closed; /* to be freed when that has returned and no mail is due */
  uint8_t data[READ_SIZE];
};

static struct carrier_nng *of(struct carrier *c)
{
  return CONTAINER_OF(c, struct carrier_nng, base);
}

static void destroy(struct carrier_nng *c)
{
  nng_aio_free(c->recv);
  nng_aio_free(c->recv_now);
  nng_aio_free(c->send);
  nng_aio_free(c->sent);
  if (c->stream) nng_stream_free(c->stream);
  free(c);
}

/* Has the loop wait for the descriptor, or no longer; returns whether it does.
 * The process at the other end may be beside this one, and reply soon. */
static bool watch(struct carrier_nng *c, bool on)
{
  struct err ignored;
  if (c->watched == on) return on;
  if (on && loop_io_add(c->loop, &c->io, EPOLLIN, &ignored) < 0) return false;
  if (!on) loop_io_remove(c->loop, &c->io);
  loop_expect_soon(c->loop, on);
  return c->watched = on;
}

static void end(struct carrier_nng *c, int error)
{
  struct err e;
  if (c->ended || c->closed) return;
  c->ended = true;
  watch(c, false);
  loop_timer_clear(c->loop, &c->failed);
  if (error == NNG_ECONNSHUT)
    err_set(&e, "lost", "the connection was closed");
  else
    err_set(&e, "lost", "the connection broke: %s", nng_strerror(error));
  c->base.events->on_end(c->base.arg, &e);
}

static void leave(struct carrier_nng *c)
{
  c->busy = false;
  if (c->closed && !c->receiving && !c->sending) destroy(c);
}

/* Has nng taken or delivered bytes, or failed? Its threads set one of the two
 * at the very end. */
static bool is_done(nng_aio *aio)
{
  if (!nng_aio_count(aio) && !nng_aio_result(aio)) return false;
  nng_aio_wait(aio); /* it ends this moment, if it has not */
  return true;
}

/* ---- receiving ---- */

static void deliver(struct carrier_nng *c, nng_aio *aio)
{
  int error = nng_aio_result(aio);
  if (error) {
    end(c, error);
  } else if (c->paused) {
    c->held = nng_aio_count(aio);
  } else if (!c->ended && !c->closed) {
    c->held = 0;
    c->base.events->on_bytes(c->base.arg, c->data, nng_aio_count(aio));
  }
}

/* The callback comes once for each receive, also when the stream is closed. */
static void receive_by_thread(struct carrier_nng *c)
{
  nng_iov iov = {c->data, READ_SIZE};
  c->receiving = true;
  loop_expect(c->loop);
  nng_aio_set_iov(c->recv, 1, &iov);
  nng_stream_recv(c->stream, c->recv);
}

/* Has more bytes delivered, unless the last callback has stopped that. */
static void go_on(struct carrier_nng *c)
{
  if (c->paused || c->ended || c->closed) return;
  if (c->io.fd < 0 || !watch(c, true)) receive_by_thread(c);
}

static void on_readable(struct loop_io *io, uint32_t events)
{
  struct carrier_nng *c = CONTAINER_OF(io, struct carrier_nng, io);
  nng_iov iov = {c->data, READ_SIZE};
  (void)events;
  c->busy = true;
  nng_aio_set_iov(c->recv_now, 1, &iov);
  nng_stream_recv(c->stream, c->recv_now);
  if (!is_done(c->recv_now)) {
    nng_aio_cancel(c->recv_now);
    nng_aio_wait(c->recv_now);
  }
  if (nng_aio_result(c->recv_now) == NNG_ECANCELED) {
    watch(c, false); /* this nng does not read at once */
    c->io.fd = -1;
  } else {
    deliver(c, c->recv_now);
  }
  go_on(c);
  leave(c);
}

/* nng thread */
static void on_received(void *arg)
{
  struct carrier_nng *c = arg;
  loop_post(c->loop, &c->recv_mail);
}

static void deliver_received(struct loop_msg *mail)
{
  struct carrier_nng *c = CONTAINER_OF(mail, struct carrier_nng, recv_mail);
  c->receiving = false;
  loop_received(c->loop);
  c->busy = true;
  deliver(c, c->recv);
  if (!c->searched && !c->ended && !c->closed) {
    c->searched = true;
    /* With nng 1.10 a thread of its own has used a stream that had been freed,
     * once, in a test that breaks connections; why is not known. */
    c->io.fd =
        strncmp(nng_version(), "1.5.", 4) ? -1 : stream_descriptor(c->stream);
  }
  go_on(c);
  leave(c);
}

static void nng_carrier_start(struct carrier *base)
{
  go_on(of(base));
}

static void nng_carrier_pause(struct carrier *base, bool pause)
{
  struct carrier_nng *c = of(base);
  if (c->paused == pause) return;
  c->paused = pause;
  if (pause) watch(c, false);
  if (pause || c->busy || c->receiving || c->ended || !c->base.started) return;
  if (!c->held) {
    go_on(c);
    return;
  }
  c->receiving = true; /* again, so to speak: the aio still has the result */
  loop_expect(c->loop);
  loop_post(c->loop, &c->recv_mail);
}

/* ---- sending ---- */

static void send_parts(struct carrier_nng *c)
{
  nng_iov iov[CARRIER_MAX_PARTS];
  for (int i = 0; i < c->parts.count; i++)
    iov[i] = (nng_iov){c->parts.list[i].iov_base, c->parts.list[i].iov_len};
  nng_aio_set_iov(c->send, (unsigned)c->parts.count, iov);
  nng_stream_send(c->stream, c->send);
}

/* The end of `send` or an error is reported later. */
static void wait_for_send(struct carrier_nng *c)
{
  if (c->error) {
    bool reading = c->receiving || c->watched;
    loop_timer_set(c->loop, &c->failed, reading ? LAST_WORDS : 0);
    return;
  }
  c->sending = true;
  loop_expect(c->loop);
  nng_stream_send(c->stream, c->sent);
}

/* Returns true when all parts are taken. */
static bool flush(struct carrier_nng *c)
{
  while (c->parts.count) {
    send_parts(c);
    if (!is_done(c->send)) break;
    c->error = nng_aio_result(c->send);
    if (c->error) break;
    carrier_parts_drop(&c->parts, nng_aio_count(c->send));
  }
  if (!c->parts.count) return true;
  wait_for_send(c);
  return false;
}

/* nng thread */
static void on_sent(void *arg)
{
  struct carrier_nng *c = arg;
  loop_post(c->loop, &c->sent_mail);
}

static void deliver_sent(struct loop_msg *mail)
{
  struct carrier_nng *c = CONTAINER_OF(mail, struct carrier_nng, sent_mail);
  c->sending = false;
  loop_received(c->loop);
  c->busy = true;
  if (!c->closed && !c->ended) {
    nng_aio_wait(c->send); /* it has ended before */
    c->error = nng_aio_result(c->send);
    carrier_parts_drop(&c->parts, nng_aio_count(c->send));
    if (c->error)
      wait_for_send(c);
    else if (flush(c))
      c->base.events->on_sent(c->base.arg);
  }
  leave(c);
}

static void on_failed(struct loop_timer *timer)
{
  struct carrier_nng *c = CONTAINER_OF(timer, struct carrier_nng, failed);
  c->busy = true;
  end(c, c->error);
  leave(c);
}

static bool nng_carrier_send(struct carrier *base, const struct iovec *parts,
                             int count)
{
  struct carrier_nng *c = of(base);
  carrier_parts_set(&c->parts, parts, count);
  return !c->ended && !c->error && flush(c);
}

/* ---- the end ---- */

/* What is under way ends with an error then; `send` before this returns. */
static void nng_carrier_close(struct carrier *base)
{
  struct carrier_nng *c = of(base);
  c->closed = true;
  loop_timer_clear(c->loop, &c->failed);
  watch(c, false);
  nng_stream_close(c->stream);
  nng_aio_wait(c->send);
  if (!c->busy && !c->receiving && !c->sending) destroy(c);
}

static const struct carrier_type type = {nng_carrier_start, nng_carrier_send,
                                         nng_carrier_pause, nng_carrier_close};

/* ---- construction ---- */

/* Returns 0, or an error of nng when the connection has ended. */
static int name_peer(struct carrier_nng *c)
{
  char host[INET6_ADDRSTRLEN] = "?";
  char *name = c->base.peer;
  size_t size = sizeof(c->base.peer);
  nng_sockaddr a;
  int rv = nng_stream_get_addr(c->stream, NNG_OPT_REMADDR, &a);
  if (rv) return rv;
  if (a.s_family == NNG_AF_INET) {
    inet_ntop(AF_INET, &a.s_in.sa_addr, host, sizeof(host));
    snprintf(name, size, "%s:%d", host, ntohs(a.s_in.sa_port));
  } else if (a.s_family == NNG_AF_INET6) {
    inet_ntop(AF_INET6, a.s_in6.sa_addr, host, sizeof(host));
    snprintf(name, size, "[%s]:%d", host, ntohs(a.s_in6.sa_port));
  } else {
    snprintf(name, size, "ipc");
  }
  return 0;
}

struct carrier *carrier_nng_new(struct loop *loop, struct nng_stream *stream,
                                struct err *e)
{
  struct carrier_nng *c = malloc(sizeof(*c));
  int rv = NNG_ENOMEM;
  if (!c) {
    nng_stream_free(stream);
    goto fail;
  }
  /* without its buffer, which takes no memory before it is used */
  memset(c, 0, offsetof(struct carrier_nng, data));
  c->base.type = &type;
  c->loop = loop;
  c->stream = stream;
  c->recv_mail.deliver = deliver_received;
  c->sent_mail.deliver = deliver_sent;
  c->failed.on_expire = on_failed;
  c->io.fd = -1;
  c->io.on_ready = on_readable;
  if ((rv = nng_aio_alloc(&c->recv, on_received, c)) ||
      (rv = nng_aio_alloc(&c->recv_now, NULL, NULL)) ||
      (rv = nng_aio_alloc(&c->send, NULL, NULL)) ||
      (rv = nng_aio_alloc(&c->sent, on_sent, c)) || (rv = name_peer(c))) {
    destroy(c);
    goto fail;
  }
  /* only tcp has these */
  nng_stream_set_bool(stream, NNG_OPT_TCP_NODELAY, true);
  nng_stream_set_bool(stream, NNG_OPT_TCP_KEEPALIVE, true);
  return &c->base;
fail:
  if (rv == NNG_ENOMEM)
    err_set(e, "memory", "out of memory for a connection");
  else
    err_set(e, "lost", "the connection was closed");
  return NULL;
}

bool carrier_nng_uid(struct carrier *c, uint64_t *uid)
{
  return nng_stream_get_uint64(of(c)->stream, NNG_OPT_IPC_PEER_UID, uid) == 0;
}

const char *carrier_nng_library_version(void)
{
  return nng_version();
}

void carrier_nng_global_free(void)
{
  nng_fini();
}
