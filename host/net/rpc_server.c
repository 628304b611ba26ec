/* SPDX-License-Identifier: MIT */
#include "net/rpc.h"

#include "base/container.h"
#include "base/fault.h"
#include "base/log.h"
#include "net/nng_workaround.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Contexts that wait for a request; more are opened when fewer than SPARE are
 * left, because held requests (a driver waiting for results) keep theirs. */
enum { SPARE = 4, MAX_CONTEXTS = 8192 };
/* Limits per connection on unanswered requests and on unsent bytes of replies.
 * A driver has a few under way. A peer over a limit is not reading, and would
 * take all contexts or all memory. */
enum { MAX_OWED = 1024, MAX_UNSENT = 512 * 1024 * 1024 };
#define LOOK_AGAIN (20 * LOOP_MS)
#define WARN_EVERY (10 * LOOP_S)
/* Connections at a time, or half of the descriptors that the process may have,
 * if that is less. nng takes memory for a message as soon as it knows its
 * length, and does not tell of it before it is whole: so this times the largest
 * request is what unfinished messages may take. When there are more, the one
 * goes that has been quiet for the longest; first of all one of which no
 * message ever came, which has MUTE to send its first. */
enum { MAX_CONNECTIONS = 640 };
#define MUTE (30 * LOOP_S)

/* Operations begin on the loop's thread only (see rpc_client.c). Nobody is told
 * of the end of a send, which would wake one more of nng's threads for each
 * reply: mostly it has ended when nng_ctx_send returns, and a context whose
 * reply waits behind others is looked at again when one is needed, and after a
 * while. */
struct rpc_request {
  struct loop_msg mail;
  struct rpc_server *server;
  struct rpc_request *next;      /* every context of the server */
  struct rpc_request *next_sent; /* of those whose reply was not out yet */
  nng_ctx ctx;
  nng_aio *send, *aio; /* the second, to receive, calls back */
  nng_msg *delayed;    /* a reply, by a fault: sent when the aio has slept */
  int result;
  nng_msg *msg;
  uint32_t pipe; /* where the request came from; 0: none */
  size_t unsent; /* bytes of its reply */
};

/* Posted when a connection comes and when it is gone. */
struct pipe_event {
  struct loop_msg mail;
  struct rpc_server *server;
  struct pipe_event *next; /* of a connection that stands: server->pipes */
  uint32_t pipe;
  size_t owed;          /* requests whose reply is not out */
  size_t unsent;        /* bytes of such replies */
  bool closing;         /* by us */
  uint64_t came, heard; /* loop_clock; heard: of its last message, 0: none */
  uint64_t uid;         /* of a user that is refused */
};

struct rpc_server {
  struct loop *loop;
  nng_socket socket;
  struct rpc_handlers handlers;
  void *arg;
  struct rpc_request *contexts, *sent;
  size_t count, waiting;  /* contexts; those that wait for a request */
  struct loop_timer look; /* set while there are contexts in `sent` */
  struct pipe_event *pipes;
  int ipc_mode;
  uint64_t warned;        /* when a refused user was last logged */
  int most;               /* connections that there may be */
  int connections;        /* those that are not being closed */
  struct loop_timer mute; /* set while there are some that said nothing yet */
  bool closed;
};

/* Where the connection stands in the list, or its end. */
static struct pipe_event **find_pipe(struct rpc_server *server, uint32_t pipe)
{
  struct pipe_event **at = &server->pipes;
  while (*at && (*at)->pipe != pipe) at = &(*at)->next;
  return at;
}

/* Another request; what the one before was is over. */
static void receive(struct rpc_request *req)
{
  struct pipe_event *from = *find_pipe(req->server, req->pipe);
  if (from) {
    from->owed--;
    from->unsent -= req->unsent;
  }
  req->pipe = 0;
  req->unsent = 0;
  req->server->waiting++;
  nng_ctx_recv(req->ctx, req->aio);
}

/* nng takes the message when its turn has come, or ends with an error. */
static bool is_sent(struct rpc_request *req)
{
  nng_msg *msg = nng_aio_get_msg(req->send);
  if (msg && !nng_aio_result(req->send)) return false;
  nng_aio_wait(req->send); /* it ends this moment, if it has not */
  nng_msg_free(msg);
  nng_aio_set_msg(req->send, NULL);
  return true;
}

static void send_reply(struct rpc_request *req, nng_msg *msg)
{
  struct rpc_server *server = req->server;
  struct pipe_event *from = *find_pipe(server, req->pipe);
  req->unsent = nng_msg_len(msg);
  if (from) from->unsent += req->unsent;
  nng_aio_set_msg(req->send, msg);
  nng_ctx_send(req->ctx, req->send);
  if (is_sent(req)) {
    receive(req);
    return;
  }
  req->next_sent = server->sent;
  server->sent = req;
  if (!server->look.slot)
    loop_timer_set(server->loop, &server->look, LOOK_AGAIN);
}

static void reclaim(struct rpc_server *server)
{
  for (struct rpc_request **at = &server->sent, *req; (req = *at);) {
    if (is_sent(req)) {
      *at = req->next_sent;
      receive(req);
    } else {
      at = &req->next_sent;
    }
  }
}

static void on_look(struct loop_timer *timer)
{
  struct rpc_server *server = CONTAINER_OF(timer, struct rpc_server, look);
  reclaim(server);
  if (server->sent) loop_timer_set(server->loop, timer, LOOK_AGAIN);
}

static int add_context(struct rpc_server *server);

static void end_connection(struct rpc_server *server, struct pipe_event *which)
{
  which->closing = true;
  server->connections--;
  nng_pipe_close((nng_pipe){which->pipe});
}

static bool is_over(const struct pipe_event *from)
{
  return from->owed >= MAX_OWED || from->unsent > MAX_UNSENT;
}

/* Whether a request of the connection may be taken: the end of a connection may
 * overtake it, and one that has too many is ended. */
static bool may_take(struct rpc_server *server, struct pipe_event *from)
{
  if (!from || from->closing) return false;
  if (is_over(from)) reclaim(server);
  if (!is_over(from)) return true;
  log_warn("a connection takes no replies, closing it",
           LOG_INT("requests", from->owed), LOG_INT("bytes", from->unsent));
  end_connection(server, from);
  return false;
}

static void deliver_request(struct loop_msg *mail)
{
  struct rpc_request *req = (struct rpc_request *)mail;
  struct rpc_server *server = req->server;
  nng_msg *msg = req->msg, *delayed = req->delayed;
  req->msg = NULL;
  if (server->closed) {
    nng_msg_free(msg);
    return;
  }
  if (delayed) {
    req->delayed = NULL;
    send_reply(req, delayed);
    return;
  }
  if (req->result) { /* never for one request alone: the socket is ending */
    log_warn("receiving failed", LOG_STR("error", nng_strerror(req->result)));
    return;
  }
  server->waiting--;
  uint32_t pipe = (uint32_t)nng_pipe_id(nng_msg_get_pipe(msg));
  struct pipe_event *from = *find_pipe(server, pipe);
  if (!may_take(server, from)) {
    nng_msg_free(msg);
    receive(req);
    return;
  }
  from->owed++;
  from->heard = loop_clock();
  req->pipe = pipe;
  if (server->waiting < SPARE) reclaim(server);
  if (server->waiting < SPARE && add_context(server) < 0)
    log_warn("too many requests held", LOG_INT("contexts", server->count));
  server->handlers.on_request(server->arg, req, pipe, nng_msg_body(msg),
                              nng_msg_len(msg));
  nng_msg_free(msg);
}

/* nng thread */
static void on_aio(void *arg)
{
  struct rpc_request *req = arg;
  int rv = nng_aio_result(req->aio);
  if (rv == NNG_ECLOSED || rv == NNG_ECANCELED) return;
  req->result = rv;
  req->msg = rv || req->delayed ? NULL : nng_aio_get_msg(req->aio);
  loop_post(req->server->loop, &req->mail);
}

static int add_context(struct rpc_server *server)
{
  if (server->count >= MAX_CONTEXTS) return -1;
  struct rpc_request *req = calloc(1, sizeof(*req));
  if (!req) return -1;
  req->server = server;
  req->mail.deliver = deliver_request;
  if (nng_ctx_open(&req->ctx, server->socket)) goto fail;
  if (nng_aio_alloc(&req->aio, on_aio, req) ||
      nng_aio_alloc(&req->send, NULL, NULL)) {
    nng_aio_free(req->aio);
    nng_ctx_close(req->ctx);
    goto fail;
  }
  req->next = server->contexts;
  server->contexts = req;
  server->count++;
  receive(req);
  return 0;
fail:
  free(req);
  return -1;
}

void rpc_reply(struct rpc_request *req, const void *data, size_t len)
{
  nng_msg *msg;
  struct fault fault = fault_at("reply");
  if (fault.what == FAULT_TRUNCATE) len /= 2;
  if (fault.what == FAULT_DROP || nng_msg_alloc(&msg, 0)) {
    rpc_drop(req);
    return;
  }
  if (nng_msg_append(msg, data, len)) {
    nng_msg_free(msg);
    rpc_drop(req);
    return;
  }
  if (fault.what == FAULT_DELAY) {
    req->delayed = msg;
    nng_sleep_aio(fault.ms, req->aio);
    return;
  }
  send_reply(req, msg);
}

void rpc_drop(struct rpc_request *req)
{
  receive(req);
}

/* ---- connections ---- */

/* Whether `a` is to go rather than `b`. */
static bool goes_first(const struct pipe_event *a, const struct pipe_event *b)
{
  return a->heard != b->heard ? a->heard < b->heard : a->came < b->came;
}

/* There is one connection more than there may be: the latest. */
static void make_room(struct rpc_server *server,
                      const struct pipe_event *latest)
{
  struct pipe_event *first = NULL;
  for (struct pipe_event *p = server->pipes; p; p = p->next)
    if (p != latest && !p->closing && (!first || goes_first(p, first)))
      first = p;
  if (!first) return;
  log_warn("too many connections, closing the quietest",
           LOG_INT("connections", server->connections));
  end_connection(server, first);
}

static void on_mute(struct loop_timer *timer)
{
  struct rpc_server *server = CONTAINER_OF(timer, struct rpc_server, mute);
  uint64_t now = loop_clock(), soonest = UINT64_MAX;
  for (struct pipe_event *p = server->pipes; p; p = p->next) {
    if (p->heard || p->closing) continue;
    if (now - p->came >= MUTE)
      end_connection(server, p);
    else if (p->came < soonest)
      soonest = p->came;
  }
  if (soonest < UINT64_MAX)
    loop_timer_set(server->loop, timer, soonest + MUTE - now);
}

static void deliver_came(struct loop_msg *mail)
{
  struct pipe_event *event = (struct pipe_event *)mail;
  struct rpc_server *server = event->server;
  event->came = loop_clock();
  event->next = server->pipes;
  server->pipes = event;
  if (server->closed) return;
  if (server->connections++ >= server->most) make_room(server, event);
  if (!server->mute.slot) loop_timer_set(server->loop, &server->mute, MUTE);
}

static void deliver_gone(struct loop_msg *mail)
{
  struct pipe_event *event = (struct pipe_event *)mail;
  struct rpc_server *server = event->server;
  struct pipe_event **at = find_pipe(server, event->pipe), *came = *at;
  if (came) {
    *at = came->next;
    if (!came->closing) server->connections--;
    free(came);
    if (!server->closed) server->handlers.on_gone(server->arg, event->pipe);
  }
  free(event);
}

static void deliver_refused(struct loop_msg *mail)
{
  struct pipe_event *event = (struct pipe_event *)mail;
  struct rpc_server *server = event->server;
  uint64_t now = loop_clock();
  if (!server->warned || now - server->warned > WARN_EVERY) {
    log_warn("a connection of another user is refused; --ipc-mode opens ipc "
             "addresses to others",
             LOG_INT("uid", event->uid));
    server->warned = now;
  }
  free(event);
}

/* [any] Whether the user of a connection is to be refused. */
static bool is_refused(const struct rpc_server *server, nng_pipe pipe,
                       uint64_t *uid)
{
  if (server->ipc_mode & (S_IRWXG | S_IRWXO)) return false;
  if (nng_pipe_get_uint64(pipe, NNG_OPT_IPC_PEER_UID, uid)) return false;
  return *uid != geteuid() && *uid != 0;
}

/* nng thread. nng calls for ADD_PRE before it receives from the connection, so
 * that event is in the mailbox before any request. */
static void on_pipe(nng_pipe pipe, nng_pipe_ev ev, void *arg)
{
  struct rpc_server *server = arg;
  struct pipe_event *event = calloc(1, sizeof(*event));
  if (!event) {
    nng_pipe_close(pipe);
    return;
  }
  event->mail.deliver = ev == NNG_PIPE_EV_ADD_PRE ? deliver_came : deliver_gone;
  if (ev == NNG_PIPE_EV_ADD_PRE && is_refused(server, pipe, &event->uid)) {
    event->mail.deliver = deliver_refused;
    nng_pipe_close(pipe);
  }
  event->server = server;
  event->pipe = (uint32_t)nng_pipe_id(pipe);
  loop_post(server->loop, &event->mail);
}

static int listen_one(struct rpc_server *server, const char *url, struct err *e)
{
  nng_listener listener;
  int rv = nng_listener_create(&listener, server->socket, url);
  /* nng sets the mode before it listens; other addresses have none */
  if (rv == 0 && !strncmp(url, "ipc://", 6))
    rv = nng_listener_set_int(listener, NNG_OPT_IPC_PERMISSIONS,
                              server->ipc_mode);
  if (rv == 0) rv = nng_listener_start(listener, 0);
  if (rv == 0) return 0;
  if (rv == NNG_EADDRINUSE)
    return err_set(e, "usage",
                   "cannot listen on %s: the address is in use; stop what uses "
                   "it or choose another with --listen",
                   url);
  return err_set(e, "usage", "cannot listen on %s: %s", url, nng_strerror(rv));
}

static int most_connections(void)
{
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) < 0 ||
      files.rlim_cur / 2 > MAX_CONNECTIONS)
    return MAX_CONNECTIONS;
  return (int)files.rlim_cur / 2;
}

struct rpc_server *rpc_listen(struct loop *loop, const char *const *urls,
                              int ipc_mode, const struct rpc_handlers *handlers,
                              void *arg, struct err *e)
{
  struct rpc_server *server = calloc(1, sizeof(*server));
  int rv = NNG_ENOMEM;
  if (!server) goto fail;
  nng_mend();
  server->loop = loop;
  server->ipc_mode = ipc_mode;
  server->look.on_expire = on_look;
  server->mute.on_expire = on_mute;
  server->most = most_connections();
  server->handlers = *handlers;
  server->arg = arg;
  if ((rv = nng_rep0_open(&server->socket))) goto fail;
  size_t most = handlers->max_request ? handlers->max_request : RPC_MAX_MESSAGE;
  if ((rv = nng_socket_set_size(server->socket, NNG_OPT_RECVMAXSZ, most)) ||
      (rv = nng_pipe_notify(server->socket, NNG_PIPE_EV_ADD_PRE, on_pipe,
                            server)) ||
      (rv = nng_pipe_notify(server->socket, NNG_PIPE_EV_REM_POST, on_pipe,
                            server)))
    goto fail_open;
  nng_socket_set_bool(server->socket, NNG_OPT_TCP_KEEPALIVE, true);
  for (int i = 0; i < SPARE * 2; i++) {
    if (add_context(server) == 0) continue;
    rv = NNG_ENOMEM;
    goto fail_open;
  }
  for (; *urls; urls++) {
    if (listen_one(server, *urls, e) == 0) continue;
    rpc_server_close(server);
    return NULL;
  }
  return server;
fail_open:
  rpc_server_close(server);
  server = NULL;
fail:
  free(server);
  err_set(e, "system", "nng: %s", nng_strerror(rv));
  return NULL;
}

void rpc_server_close(struct rpc_server *server)
{
  if (!server) return;
  server->closed = true;
  loop_timer_clear(server->loop, &server->look);
  loop_timer_clear(server->loop, &server->mute);
  nng_close(server->socket);
  for (struct rpc_request *r = server->contexts; r; r = r->next) {
    nng_aio_stop(r->aio);
    nng_aio_stop(r->send);
  }
  loop_drain(server->loop); /* no callback runs now: these are the last */
  while (server->contexts) {
    struct rpc_request *next = server->contexts->next;
    nng_msg_free(nng_aio_get_msg(server->contexts->send));
    nng_aio_free(server->contexts->send);
    nng_aio_free(server->contexts->aio);
    nng_msg_free(server->contexts->delayed);
    free(server->contexts);
    server->contexts = next;
  }
  while (server->pipes) {
    struct pipe_event *next = server->pipes->next;
    free(server->pipes);
    server->pipes = next;
  }
  free(server);
}

/* ---- addresses ---- */

bool rpc_is_local(const char *url)
{
  if (!strncmp(url, "ipc://", 6) || !strncmp(url, "abstract://", 11) ||
      !strncmp(url, "unix://", 7))
    return true;
  if (strncmp(url, "tcp://", 6)) return false;
  const char *host = url + 6;
  if (!strncmp(host, "[::1]", 5)) return host[5] == ':' || !host[5];
  if (!strncmp(host, "localhost", 9)) return host[9] == ':' || !host[9];
  if (strncmp(host, "127.", 4)) return false;
  /* a name like 127.example.org must not pass */
  for (host += 4; *host && *host != ':'; host++)
    if (!isdigit((unsigned char)*host) && *host != '.') return false;
  return true;
}

void rpc_global_free(void)
{
  nng_fini();
}
