/* SPDX-License-Identifier: MIT */
/* The server side of rpc.h: listening, connections and their limits, requests
 * and replies. */
#include "net/rpc.h"

#include "base/container.h"
#include "base/fault.h"
#include "base/log.h"
#include "net/nng_workaround.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>

#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

/* Contexts that wait for a request; more are opened when fewer than SPARE are
 * left, because held requests (a driver waiting for results) keep theirs. */
enum { SPARE = 4, MAX_CONTEXTS = 8192 };
/* Limits per connection on unanswered requests and on unsent bytes of replies.
 * A driver has a few under way. A peer over a limit is not reading, and would
 * take all contexts or all memory. */
enum { MAX_UNANSWERED = 1024, MAX_UNSENT = 512 * 1024 * 1024 };
#define POLL_INTERVAL (20 * LOOP_MS)
#define WARN_INTERVAL (10 * LOOP_S)
/* Concurrent connections, or half of the descriptors that the process may have,
 * if that is less. nng allocates a message as soon as it knows its length, and
 * reports it only when it is whole: so this times the largest request is what
 * unfinished messages may take. When there are more connections, the one that
 * has been quiet for the longest is closed; first of all one that has never
 * sent a message, for which it has FIRST_MESSAGE_TIMEOUT. */
enum { MAX_CONNECTIONS = 640 };
#define FIRST_MESSAGE_TIMEOUT (30 * LOOP_S)

/* Operations begin on the loop's thread only (see rpc_client.c). The end of a
 * send has no callback, which would wake one more of nng's threads for each
 * reply: mostly it has ended when nng_ctx_send returns. A context whose reply
 * is queued behind others is polled when one is needed, and now and then. */
struct rpc_request {
  struct loop_msg mail;
  struct rpc_server *server;
  SLIST_ENTRY(rpc_request) entry;  /* of server->contexts */
  LIST_ENTRY(rpc_request) sending; /* of server->sending */
  nng_ctx ctx;
  nng_aio *send, *aio; /* the second, to receive, calls back */
  nng_msg *delayed;    /* a reply, by a fault: sent when the aio has slept */
  int result;
  nng_msg *msg;
  uint32_t pipe; /* where the request came from; 0: none */
  size_t unsent; /* bytes of its reply */
};

/* Posted when a connection is made and when it ends; the first stays as the
 * connection. */
struct connection {
  struct loop_msg mail;
  struct rpc_server *server;
  LIST_ENTRY(connection) entry; /* of server->connections */
  uint32_t pipe;
  size_t unanswered;             /* requests whose reply is not sent */
  size_t unsent;                 /* bytes of such replies */
  bool closing;                  /* by us */
  uint64_t opened, last_message; /* loop_clock; 0: no message */
  uint64_t uid;                  /* of a user that is refused */
};

struct rpc_server {
  struct loop *loop;
  nng_socket socket;
  struct rpc_handlers handlers;
  void *arg;
  SLIST_HEAD(contexts, rpc_request) contexts; /* all */
  LIST_HEAD(sending, rpc_request) sending;    /* replies not sent yet */
  size_t count, waiting;  /* contexts; those that wait for a request */
  struct loop_timer poll; /* set while there are contexts in `sending` */
  LIST_HEAD(connections, connection) connections;
  int ipc_mode;
  uint64_t warned;          /* when a refused user was last logged */
  int max_open, open;       /* connections that are not being closed */
  struct loop_timer silent; /* set while some have sent no message yet */
  bool closed;
};

static struct connection *find_connection(const struct rpc_server *server,
                                          uint32_t pipe)
{
  struct connection *c = LIST_FIRST(&server->connections);
  while (c && c->pipe != pipe) c = LIST_NEXT(c, entry);
  return c;
}

/* Waits for another request; the one before is done. */
static void receive(struct rpc_request *req)
{
  struct connection *from = find_connection(req->server, req->pipe);
  if (from) {
    from->unanswered--;
    from->unsent -= req->unsent;
  }
  req->pipe = 0;
  req->unsent = 0;
  req->server->waiting++;
  nng_ctx_recv(req->ctx, req->aio);
}

/* nng takes the message when its turn comes, or ends with an error. */
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
  struct connection *from = find_connection(server, req->pipe);
  req->unsent = nng_msg_len(msg);
  if (from) from->unsent += req->unsent;
  nng_aio_set_msg(req->send, msg);
  nng_ctx_send(req->ctx, req->send);
  if (is_sent(req)) {
    receive(req);
    return;
  }
  LIST_INSERT_HEAD(&server->sending, req, sending);
  if (!server->poll.slot)
    loop_timer_set(server->loop, &server->poll, POLL_INTERVAL);
}

/* Lets contexts whose reply is sent receive again. */
static void reclaim(struct rpc_server *server)
{
  for (struct rpc_request *req = LIST_FIRST(&server->sending), *next; req;
       req = next) {
    next = LIST_NEXT(req, sending);
    if (!is_sent(req)) continue;
    LIST_REMOVE(req, sending);
    receive(req);
  }
}

static void on_poll(struct loop_timer *timer)
{
  struct rpc_server *server = CONTAINER_OF(timer, struct rpc_server, poll);
  reclaim(server);
  if (!LIST_EMPTY(&server->sending))
    loop_timer_set(server->loop, timer, POLL_INTERVAL);
}

static int add_context(struct rpc_server *server);

static void close_connection(struct connection *c)
{
  c->closing = true;
  c->server->open--;
  nng_pipe_close((nng_pipe){c->pipe});
}

static bool exceeds_limit(const struct connection *c)
{
  return c->unanswered >= MAX_UNANSWERED || c->unsent > MAX_UNSENT;
}

/* May a request of the connection be taken? The end of the connection may
 * overtake it; a connection over a limit is closed. */
static bool may_take(struct connection *from)
{
  if (!from || from->closing) return false;
  if (exceeds_limit(from)) reclaim(from->server);
  if (!exceeds_limit(from)) return true;
  log_warn("a connection takes no replies, closing it",
           LOG_INT("requests", from->unanswered),
           LOG_INT("bytes", from->unsent));
  close_connection(from);
  return false;
}

static void deliver_request(struct loop_msg *mail)
{
  struct rpc_request *req = CONTAINER_OF(mail, struct rpc_request, mail);
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
  if (req->result) { /* never for one request alone: the socket is closing */
    log_warn("receiving failed", LOG_STR("error", nng_strerror(req->result)));
    return;
  }
  server->waiting--;
  uint32_t pipe = (uint32_t)nng_pipe_id(nng_msg_get_pipe(msg));
  struct connection *from = find_connection(server, pipe);
  if (!may_take(from)) {
    nng_msg_free(msg);
    receive(req);
    return;
  }
  from->unanswered++;
  from->last_message = loop_clock();
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
  SLIST_INSERT_HEAD(&server->contexts, req, entry);
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
  if (fault.what == FAULT_DROP || nng_msg_alloc(&msg, len)) {
    rpc_drop(req);
    return;
  }
  memcpy(nng_msg_body(msg), data, len);
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

/* Has `a` been quiet for longer than `b`? */
static bool is_quieter(const struct connection *a, const struct connection *b)
{
  return a->last_message != b->last_message ? a->last_message < b->last_message
                                            : a->opened < b->opened;
}

/* Closes a connection other than the latest, which is one too many. */
static void make_room(struct rpc_server *server,
                      const struct connection *latest)
{
  struct connection *c, *quietest = NULL;
  for (c = LIST_FIRST(&server->connections); c; c = LIST_NEXT(c, entry))
    if (c != latest && !c->closing && (!quietest || is_quieter(c, quietest)))
      quietest = c;
  if (!quietest) return;
  log_warn("too many connections, closing the quietest",
           LOG_INT("connections", server->open));
  close_connection(quietest);
}

static void on_silent(struct loop_timer *timer)
{
  struct rpc_server *server = CONTAINER_OF(timer, struct rpc_server, silent);
  uint64_t now = loop_clock(), oldest = UINT64_MAX;
  struct connection *c;
  for (c = LIST_FIRST(&server->connections); c; c = LIST_NEXT(c, entry)) {
    if (c->last_message || c->closing) continue;
    if (now - c->opened >= FIRST_MESSAGE_TIMEOUT)
      close_connection(c);
    else if (c->opened < oldest)
      oldest = c->opened;
  }
  if (oldest < UINT64_MAX)
    loop_timer_set(server->loop, timer, oldest + FIRST_MESSAGE_TIMEOUT - now);
}

static void deliver_opened(struct loop_msg *mail)
{
  struct connection *c = CONTAINER_OF(mail, struct connection, mail);
  struct rpc_server *server = c->server;
  c->opened = loop_clock();
  LIST_INSERT_HEAD(&server->connections, c, entry);
  if (server->closed) return;
  if (server->open++ >= server->max_open) make_room(server, c);
  if (!server->silent.slot)
    loop_timer_set(server->loop, &server->silent, FIRST_MESSAGE_TIMEOUT);
}

static void deliver_closed(struct loop_msg *mail)
{
  struct connection *event = CONTAINER_OF(mail, struct connection, mail);
  struct rpc_server *server = event->server;
  struct connection *c = find_connection(server, event->pipe);
  if (c) {
    LIST_REMOVE(c, entry);
    if (!c->closing) server->open--;
    free(c);
    if (!server->closed)
      server->handlers.on_disconnect(server->arg, event->pipe);
  }
  free(event);
}

static void deliver_refused(struct loop_msg *mail)
{
  struct connection *event = CONTAINER_OF(mail, struct connection, mail);
  struct rpc_server *server = event->server;
  uint64_t now = loop_clock();
  if (!server->warned || now - server->warned > WARN_INTERVAL) {
    log_warn("a connection of another user is refused; --ipc-mode opens ipc "
             "addresses to others",
             LOG_INT("uid", event->uid));
    server->warned = now;
  }
  free(event);
}

/* [any] Must the user of the connection be refused? */
static bool is_refused(const struct rpc_server *server, nng_pipe pipe,
                       uint64_t *uid)
{
  if (server->ipc_mode & (S_IRWXG | S_IRWXO)) return false;
  if (nng_pipe_get_uint64(pipe, NNG_OPT_IPC_PEER_UID, uid)) return false;
  return *uid != geteuid() && *uid != 0;
}

/* nng thread. nng calls this with ADD_PRE before it receives from the
 * connection, so that event is in the mailbox before any request. */
static void on_pipe(nng_pipe pipe, nng_pipe_ev ev, void *arg)
{
  struct rpc_server *server = arg;
  struct connection *event = calloc(1, sizeof(*event));
  if (!event) {
    nng_pipe_close(pipe);
    return;
  }
  event->mail.deliver =
      ev == NNG_PIPE_EV_ADD_PRE ? deliver_opened : deliver_closed;
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

static int server_open(struct rpc_server *server, const char *const *urls,
                       struct err *e)
{
  size_t max = server->handlers.max_request;
  int rv;
  nng_workaround_init();
  if ((rv = nng_rep0_open(&server->socket)) ||
      (rv = nng_socket_set_size(server->socket, NNG_OPT_RECVMAXSZ,
                                max ? max : RPC_MAX_MESSAGE)) ||
      (rv = nng_pipe_notify(server->socket, NNG_PIPE_EV_ADD_PRE, on_pipe,
                            server)) ||
      (rv = nng_pipe_notify(server->socket, NNG_PIPE_EV_REM_POST, on_pipe,
                            server)))
    return err_set(e, "system", "nng: %s", nng_strerror(rv));
  nng_socket_set_bool(server->socket, NNG_OPT_TCP_KEEPALIVE, true);
  for (int i = 0; i < SPARE * 2; i++)
    if (add_context(server) < 0)
      return err_set(e, "memory", "out of memory for a server");
  for (; *urls; urls++)
    if (listen_one(server, *urls, e) < 0) return -1;
  return 0;
}

struct rpc_server *rpc_listen(struct loop *loop, const char *const *urls,
                              int ipc_mode, const struct rpc_handlers *handlers,
                              void *arg, struct err *e)
{
  struct rpc_server *server = err_calloc(sizeof(*server), "a server", e);
  if (!server) return NULL;
  server->loop = loop;
  server->ipc_mode = ipc_mode;
  server->poll.on_expire = on_poll;
  server->silent.on_expire = on_silent;
  long files = sysconf(_SC_OPEN_MAX);
  bool few = files >= 0 && files / 2 < MAX_CONNECTIONS;
  server->max_open = few ? (int)(files / 2) : MAX_CONNECTIONS;
  server->handlers = *handlers;
  server->arg = arg;
  if (server_open(server, urls, e) == 0) return server;
  rpc_server_close(server);
  return NULL;
}

void rpc_server_close(struct rpc_server *server)
{
  if (!server) return;
  server->closed = true;
  loop_timer_clear(server->loop, &server->poll);
  loop_timer_clear(server->loop, &server->silent);
  nng_close(server->socket);
  struct rpc_request *req;
  for (req = SLIST_FIRST(&server->contexts); req;
       req = SLIST_NEXT(req, entry)) {
    nng_aio_stop(req->aio);
    nng_aio_stop(req->send);
  }
  loop_drain(server->loop); /* no callback runs now: these are the last */
  while ((req = SLIST_FIRST(&server->contexts))) {
    SLIST_REMOVE_HEAD(&server->contexts, entry);
    nng_msg_free(nng_aio_get_msg(req->send));
    nng_aio_free(req->send);
    nng_aio_free(req->aio);
    nng_msg_free(req->delayed);
    free(req);
  }
  for (struct connection *c; (c = LIST_FIRST(&server->connections));) {
    LIST_REMOVE(c, entry);
    free(c);
  }
  free(server);
}

/* ---- addresses ---- */

bool rpc_is_local(const char *url)
{
  /* a name like 127.example.org must not pass */
  static const char pattern[] = "^(ipc|abstract)://|"
                                "^tcp://(localhost|\\[::1]|127\\.[0-9.]*)(:|$)";
  regex_t regex;
  if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB)) return false;
  bool local = regexec(&regex, url, 0, NULL, 0) == 0;
  regfree(&regex);
  return local;
}

void rpc_global_free(void)
{
  nng_fini();
}
