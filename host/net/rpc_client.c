/* SPDX-License-Identifier: MIT */
/* The client side of rpc.h: connections to peers, and calls on them. */
#include "net/rpc.h"

#include "base/container.h"
#include "base/fault.h"
#include "net/nng_workaround.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

const char *rpc_library_version(void)
{
  return nng_version();
}

/* A connection on a local network takes less time; a refusal is noticed after
 * it. */
#define PROBE_DELAY (50 * LOOP_MS)

/* nng reports connections on a thread of its own, which must not touch the
 * peer: it posts one of these. */
struct pipe_event {
  struct loop_msg mail;
  struct rpc_peer *peer;
  bool up;
};

struct rpc_peer {
  struct loop *loop;
  nng_socket socket;
  rpc_on_state *on_state;
  void *arg;
  bool up, ended; /* ended: FAILED or DOWN was reported */
  /* nng does not tell why a connection cannot be made, so when it takes long
   * this makes one more. Not always: to the node it looks like a broken peer,
   * and nng's listeners pause for a while after one. */
  nng_stream_dialer *probe;
  nng_aio *probe_aio;
  struct loop_msg probe_mail;
  bool probing;
  bool reached; /* the probe got a connection */
  int probe_result;
  struct loop_timer timer; /* until the connection stands */
  uint64_t deadline;
  LIST_HEAD(calls, rpc_call) calls; /* in flight */
  LIST_HEAD(idle, rpc_call) idle;   /* for reuse */
  size_t events; /* atomic: pipe events in the mailbox; nng_close returns only
                    after nng's callbacks have */
  bool closed;
  char url[];
};

/* Operations begin on the loop's thread only: nng 1.5 uses freed memory when
 * one begins on a context while nng_close is at work on its socket. Receiving
 * begins together with sending, whose end has no callback: it would wake one
 * more of nng's threads for each call. */
struct rpc_call {
  struct loop_msg mail;
  struct rpc_peer *peer;
  LIST_ENTRY(rpc_call) entry; /* of peer->calls or peer->idle */
  nng_ctx ctx;
  nng_aio *send, *aio; /* the second, to receive, calls back */
  uint64_t deadline;   /* 0: none */
  nng_msg *delayed;    /* by a fault: sent when the aio has slept */
  int result;
  nng_msg *reply;
  rpc_on_reply *on_reply; /* NULL: cancelled */
  void *arg;
};

static int nng_err(struct err *e, int rv, const char *url)
{
  switch (rv) {
  case NNG_ETIMEDOUT:
    return err_set(e, "timeout", "%s: no answer in time", url);
  case NNG_ENOMEM: return err_set(e, "memory", "out of memory");
  case NNG_ECONNREFUSED:
    return err_set(e, "connect",
                   "%s: connection refused; is moonfleet serve running there?",
                   url);
  case NNG_EADDRINVAL:
    return err_set(e, "connect",
                   "%s: no such host or port; an address is HOST:PORT", url);
  default: return err_set(e, "connect", "%s: %s", url, nng_strerror(rv));
  }
}

static void call_free(struct rpc_call *call)
{
  nng_ctx_close(call->ctx); /* ends a send that still waits for its turn */
  nng_aio_free(call->aio);
  nng_aio_wait(call->send);
  nng_msg_free(nng_aio_get_msg(call->send)); /* a failed send returns it */
  nng_aio_free(call->send);
  nng_msg_free(call->delayed);
  free(call);
}

static void peer_free_if_unused(struct rpc_peer *peer)
{
  if (!peer->closed || !LIST_EMPTY(&peer->calls) || peer->probing ||
      __atomic_load_n(&peer->events, __ATOMIC_ACQUIRE))
    return;
  for (struct rpc_call *call; (call = LIST_FIRST(&peer->idle));) {
    LIST_REMOVE(call, entry);
    call_free(call);
  }
  if (peer->probe_aio) nng_aio_free(peer->probe_aio);
  if (peer->probe) nng_stream_dialer_free(peer->probe);
  free(peer);
}

/* ---- connecting ---- */

static void report(struct rpc_peer *peer, enum rpc_state state,
                   const struct err *e)
{
  if (peer->closed || peer->ended) return;
  peer->up = state == RPC_UP;
  peer->ended = state != RPC_UP;
  loop_timer_clear(peer->loop, &peer->timer);
  peer->on_state(peer->arg, state, e);
}

/* Each call under way then calls back, once, through the mailbox. */
static void abort_calls(struct rpc_peer *peer, int error)
{
  for (struct rpc_call *call = LIST_FIRST(&peer->calls); call;
       call = LIST_NEXT(call, entry))
    nng_aio_abort(call->aio, error);
}

static void deliver_pipe_event(struct loop_msg *mail)
{
  struct pipe_event *event = CONTAINER_OF(mail, struct pipe_event, mail);
  struct rpc_peer *peer = event->peer;
  bool up = event->up;
  free(event);
  __atomic_sub_fetch(&peer->events, 1, __ATOMIC_ACQ_REL);
  if (up) {
    if (!peer->up) report(peer, RPC_UP, NULL);
  } else if (peer->up) {
    struct err e;
    err_set(&e, "lost", "%s: the connection broke", peer->url);
    abort_calls(peer, NNG_ECONNRESET);
    report(peer, RPC_DOWN, &e);
  }
  peer_free_if_unused(peer);
}

/* nng thread */
static void on_pipe(nng_pipe pipe, nng_pipe_ev ev, void *arg)
{
  struct rpc_peer *peer = arg;
  (void)pipe;
  struct pipe_event *event = calloc(1, sizeof(*event));
  if (!event) return; /* the heartbeat will notice */
  event->mail.deliver = deliver_pipe_event;
  event->peer = peer;
  event->up = ev == NNG_PIPE_EV_ADD_POST;
  __atomic_add_fetch(&peer->events, 1, __ATOMIC_ACQ_REL);
  loop_post(peer->loop, &event->mail);
}

/* The time left, above 0; nng cannot count more than 24 days. */
static nng_duration time_left(uint64_t deadline)
{
  uint64_t now = loop_clock();
  uint64_t ms = deadline > now ? (deadline - now) / LOOP_MS + 1 : 1;
  return ms < INT32_MAX ? (nng_duration)ms : INT32_MAX;
}

/* Starts a probe the first time, gives up the second. */
static void on_connect_timer(struct loop_timer *timer)
{
  struct rpc_peer *peer = CONTAINER_OF(timer, struct rpc_peer, timer);
  struct err e;
  uint64_t now = loop_clock();
  if (now < peer->deadline) {
    nng_aio_set_timeout(peer->probe_aio, time_left(peer->deadline));
    peer->probing = true;
    loop_expect(peer->loop);
    nng_stream_dialer_dial(peer->probe, peer->probe_aio);
    loop_timer_set(peer->loop, &peer->timer, peer->deadline - now);
    return;
  }
  if (peer->reached)
    err_set(&e, "connect",
            "%s: connected, but no moonfleet node answers there; it hangs, or "
            "another program has the port",
            peer->url);
  else
    nng_err(&e, NNG_ETIMEDOUT, peer->url);
  report(peer, RPC_FAILED, &e);
}

static void deliver_probe(struct loop_msg *mail)
{
  struct rpc_peer *peer = CONTAINER_OF(mail, struct rpc_peer, probe_mail);
  struct err e;
  peer->probing = false;
  loop_received(peer->loop);
  if (peer->probe_result == 0) {
    nng_stream *stream = nng_aio_get_output(peer->probe_aio, 0);
    nng_sockaddr address;
    /* nng 1.5 reports some connections as made that are still being made */
    peer->reached = nng_stream_get_addr(stream, NNG_OPT_REMADDR, &address) == 0;
    nng_stream_free(stream);
  } else if (!peer->up) {
    nng_err(&e, peer->probe_result, peer->url);
    report(peer, RPC_FAILED, &e);
  }
  peer_free_if_unused(peer);
}

/* nng thread */
static void on_probe(void *arg)
{
  struct rpc_peer *peer = arg;
  peer->probe_result = nng_aio_result(peer->probe_aio);
  loop_post(peer->loop, &peer->probe_mail);
}

static int peer_open(struct rpc_peer *peer, struct err *e)
{
  int rv;
  nng_workaround_init();
  if ((rv = nng_req0_open(&peer->socket))) goto fail;
  if ((rv = nng_socket_set_ms(peer->socket, NNG_OPT_REQ_RESENDTIME,
                              NNG_DURATION_INFINITE)) ||
      (rv = nng_socket_set_size(peer->socket, NNG_OPT_RECVMAXSZ,
                                RPC_MAX_MESSAGE)) ||
      (rv = nng_pipe_notify(peer->socket, NNG_PIPE_EV_ADD_POST, on_pipe,
                            peer)) ||
      (rv = nng_pipe_notify(peer->socket, NNG_PIPE_EV_REM_POST, on_pipe,
                            peer)) ||
      (rv = nng_aio_alloc(&peer->probe_aio, on_probe, peer)))
    goto fail;
  /* keepalive exists for tcp only */
  nng_socket_set_bool(peer->socket, NNG_OPT_TCP_KEEPALIVE, true);
  if ((rv = nng_stream_dialer_alloc(&peer->probe, peer->url)))
    return err_set(e, "usage", "'%s' is not an address moonfleet can use: %s",
                   peer->url, nng_strerror(rv));
  nng_socket_set_ms(peer->socket, NNG_OPT_RECONNMINT, 20);
  nng_socket_set_ms(peer->socket, NNG_OPT_RECONNMAXT, 500);
  if ((rv = nng_dial(peer->socket, peer->url, NULL, NNG_FLAG_NONBLOCK)))
    goto fail;
  loop_timer_set(peer->loop, &peer->timer, PROBE_DELAY);
  return 0;
fail:
  return err_set(e, "system", "nng: %s", nng_strerror(rv));
}

struct rpc_peer *rpc_dial(struct loop *loop, const char *url,
                          uint64_t timeout_ms, rpc_on_state *on_state,
                          void *arg, struct err *e)
{
  size_t size = strlen(url) + 1;
  struct rpc_peer *peer = err_calloc(sizeof(*peer) + size, "a connection", e);
  if (!peer) return NULL;
  memcpy(peer->url, url, size);
  peer->loop = loop;
  peer->deadline = loop_clock() + timeout_ms * LOOP_MS;
  peer->on_state = on_state;
  peer->arg = arg;
  peer->timer.on_expire = on_connect_timer;
  peer->probe_mail.deliver = deliver_probe;
  if (peer_open(peer, e) < 0) {
    rpc_close(peer);
    return NULL;
  }
  return peer;
}

void rpc_close(struct rpc_peer *peer)
{
  if (!peer || peer->closed) return;
  peer->closed = true;
  loop_timer_clear(peer->loop, &peer->timer);
  if (peer->probing) nng_aio_stop(peer->probe_aio);
  /* nng_aio_stop would not do: it may return before a callback that is due has
   * run, and an operation that begins after it never calls back */
  abort_calls(peer, NNG_ECLOSED);
  nng_close(peer->socket);
  peer_free_if_unused(peer);
}

/* ---- calls ---- */

static void set_timeout(struct rpc_call *call)
{
  nng_aio_set_timeout(call->aio, call->deadline ? time_left(call->deadline)
                                                : NNG_DURATION_INFINITE);
}

/* Receiving bounds the time of both, and is what is aborted. */
static void send_msg(struct rpc_call *call, nng_msg *msg)
{
  set_timeout(call);
  nng_aio_set_msg(call->send, msg);
  nng_aio_set_msg(call->aio, NULL); /* not that of the call before */
  nng_ctx_send(call->ctx, call->send);
  nng_ctx_recv(call->ctx, call->aio);
}

static void finish_call(struct rpc_call *call)
{
  struct rpc_peer *peer = call->peer;
  loop_received(peer->loop);
  LIST_REMOVE(call, entry);
  if (call->on_reply && call->result == 0) {
    call->on_reply(call->arg, nng_msg_body(call->reply),
                   nng_msg_len(call->reply), NULL);
  } else if (call->on_reply) {
    struct err e;
    if (call->result == NNG_ETIMEDOUT || call->result == NNG_ENOMEM)
      nng_err(&e, call->result, peer->url);
    else
      err_set(&e, "lost", "%s: the connection broke", peer->url);
    call->on_reply(call->arg, NULL, 0, &e);
  }
  nng_msg_free(call->reply);
  call->reply = NULL;
  /* a context that failed may hold half a request: not reused */
  if (call->result == 0 && !peer->closed) {
    nng_aio_wait(call->send); /* a reply has come, so it ends this moment */
    LIST_INSERT_HEAD(&peer->idle, call, entry);
  } else {
    call_free(call);
  }
  peer_free_if_unused(peer);
}

static void deliver_call(struct loop_msg *mail)
{
  struct rpc_call *call = CONTAINER_OF(mail, struct rpc_call, mail);
  nng_msg *delayed = call->delayed;
  if (delayed && call->result == 0 && !call->peer->closed) {
    call->delayed = NULL;
    send_msg(call, delayed);
    return;
  }
  if (delayed && call->result == 0) call->result = NNG_ECLOSED;
  finish_call(call);
}

/* nng thread */
static void on_call(void *arg)
{
  struct rpc_call *call = arg;
  call->result = nng_aio_result(call->aio);
  if (call->result == 0 && !call->delayed) {
    /* In nng 1.5 an aio that has slept once, for a fault, reports no error when
     * its next operation times out, but has no message. */
    call->reply = nng_aio_get_msg(call->aio);
    if (!call->reply) call->result = NNG_ETIMEDOUT;
  }
  loop_post(call->peer->loop, &call->mail);
}

static struct rpc_call *call_new(struct rpc_peer *peer, struct err *e)
{
  struct rpc_call *call = LIST_FIRST(&peer->idle);
  int rv = NNG_ENOMEM;
  if (call) {
    LIST_REMOVE(call, entry);
    return call;
  }
  call = calloc(1, sizeof(*call));
  if (!call) goto fail;
  call->peer = peer;
  call->mail.deliver = deliver_call;
  if ((rv = nng_ctx_open(&call->ctx, peer->socket))) goto fail;
  if ((rv = nng_aio_alloc(&call->aio, on_call, call)) ||
      (rv = nng_aio_alloc(&call->send, NULL, NULL))) {
    nng_aio_free(call->aio);
    nng_ctx_close(call->ctx);
    goto fail;
  }
  return call;
fail:
  free(call);
  nng_err(e, rv, peer->url);
  return NULL;
}

static struct rpc_call *start_call(struct rpc_peer *peer, const void *data,
                                   size_t len, uint64_t timeout_ms,
                                   rpc_on_reply *on_reply, void *arg,
                                   struct fault fault, struct err *e)
{
  nng_msg *msg;
  struct rpc_call *call = call_new(peer, e);
  if (!call) return NULL;
  if (fault.what == FAULT_TRUNCATE) len /= 2;
  if (nng_msg_alloc(&msg, len)) {
    LIST_INSERT_HEAD(&peer->idle, call, entry);
    nng_err(e, NNG_ENOMEM, peer->url);
    return NULL;
  }
  memcpy(nng_msg_body(msg), data, len);
  call->on_reply = on_reply;
  call->arg = arg;
  call->deadline = timeout_ms ? loop_clock() + timeout_ms * LOOP_MS : 0;
  call->result = 0;
  LIST_INSERT_HEAD(&peer->calls, call, entry);
  loop_expect(peer->loop);
  /* everything is filled in: the callback may run before this returns */
  if (fault.what == FAULT_DROP || fault.what == FAULT_DELAY) {
    set_timeout(call);
    call->delayed = msg;
    nng_sleep_aio(fault.what == FAULT_DROP ? INT32_MAX : fault.ms, call->aio);
  } else {
    send_msg(call, msg);
  }
  return call;
}

struct rpc_call *rpc_call(struct rpc_peer *peer, const void *data, size_t len,
                          uint64_t timeout_ms, rpc_on_reply *on_reply,
                          void *arg, struct err *e)
{
  if (!peer->up) {
    err_set(e, "lost", "%s: not connected", peer->url);
    return NULL;
  }
  if (len > RPC_MAX_MESSAGE - 64) { /* room for the protocol's headers */
    err_set(e, "too_large", "a message of %zu bytes is over the limit of %d",
            len, RPC_MAX_MESSAGE - 64);
    return NULL;
  }
  struct fault fault = fault_at("request");
  if (fault.what == FAULT_DUPLICATE) /* the reply to that one is dropped */
    start_call(peer, data, len, timeout_ms, NULL, NULL, fault, e);
  return start_call(peer, data, len, timeout_ms, on_reply, arg, fault, e);
}

void rpc_cancel(struct rpc_call *call)
{
  call->on_reply = NULL;
  nng_aio_abort(call->aio, NNG_ECANCELED);
}
