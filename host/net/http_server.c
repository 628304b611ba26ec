/* SPDX-License-Identifier: MIT */
#include "net/http_server.h"

#include "base/container.h"
#include "base/log.h"
#include "net/carrier_fd.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* After accept has failed, mostly since there are no descriptors left. */
#define RETRY_DELAY (100 * LOOP_MS)
enum {
  BACKLOG = 128,
  ACCEPTS = 32, /* in one go, so that other work of the loop is not delayed */
  TURNED_AWAY = 32, /* connections beyond the limit that are told so */
};

TAILQ_HEAD(http_connections, http_connection_link);

struct http_server {
  struct loop *loop;
  struct loop_io io; /* fd: -1 when it has shut down */
  struct loop_timer retry;
  int max, count, port;
  bool freed;                       /* once `count` is 0 */
  struct http_connections all;      /* the oldest first */
  struct http_connections requests; /* that wait to be taken */
  void (*on_waiting)(void *arg);
  void *arg;
};

int http_server_port(const struct http_server *s)
{
  return s->port;
}

int http_server_connections(const struct http_server *s)
{
  return s->count;
}

/* ---- connections ---- */

static void on_request(void *arg, struct http_connection *c)
{
  struct http_server *s = arg;
  if (s->io.fd < 0) {
    http_connection_release(c);
    return;
  }
  TAILQ_INSERT_TAIL(&s->requests, http_connection_link(c), waiting);
  s->on_waiting(s->arg);
}

static void on_closed(void *arg, struct http_connection *c)
{
  struct http_server *s = arg;
  TAILQ_REMOVE(&s->all, http_connection_link(c), link);
  s->count--;
  if (s->freed && s->count == 0) free(s);
}

struct http_connection *http_server_take(struct http_server *s)
{
  struct http_connection_link *first = TAILQ_FIRST(&s->requests);
  if (!first) return NULL;
  TAILQ_REMOVE(&s->requests, first, waiting);
  return http_connection_of(first);
}

static void close_idle(struct http_server *s)
{
  struct http_connection_link *l;
  TAILQ_FOREACH (l, &s->all, link) {
    if (!http_connection_is_idle(http_connection_of(l))) continue;
    http_connection_close(http_connection_of(l));
    return;
  }
}

/* "127.0.0.1:40312" */
static void name_peer(char *to, size_t size, const struct sockaddr *address,
                      socklen_t len)
{
  char host[NI_MAXHOST], port[NI_MAXSERV];
  if (getnameinfo(address, len, host, sizeof(host), port, sizeof(port),
                  NI_NUMERICHOST | NI_NUMERICSERV))
    snprintf(to, size, "?");
  else
    snprintf(to, size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

static void add(struct http_server *s, int fd, const char *peer)
{
  static const struct http_connection_events events = {on_request, on_closed};
  struct err e;
  if (s->count >= s->max) close_idle(s);
  bool too_many = s->count >= s->max;
  struct carrier *carrier = carrier_fd_new(s->loop, fd, fd, peer, &e);
  struct http_connection *c =
      carrier ? http_connection_new(s->loop, carrier, &events, s, &e) : NULL;
  if (!c) {
    log_warn("a connection of HTTP is refused", LOG_STR("peer", peer),
             LOG_STR("why", e.text));
    return;
  }
  TAILQ_INSERT_TAIL(&s->all, http_connection_link(c), link);
  s->count++;
  if (too_many) http_connection_turn_away(c);
}

static void wait_for_room(struct http_server *s)
{
  loop_io_remove(s->loop, &s->io);
  loop_timer_set(s->loop, &s->retry, RETRY_DELAY);
}

static void on_accept(struct loop_io *io, uint32_t events)
{
  (void)events;
  struct http_server *s = CONTAINER_OF(io, struct http_server, io);
  for (int i = 0; i < ACCEPTS; i++) {
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    char peer[sizeof(((struct carrier *)0)->peer)];
    if (s->count >= s->max + TURNED_AWAY) {
      wait_for_room(s);
      return;
    }
    int fd = accept4(io->fd, (struct sockaddr *)&address, &len,
                     SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
      bool none = errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
                  errno == ENOMEM;
      if (none) wait_for_room(s);
      return; /* or the client has left, or there are no others */
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    name_peer(peer, sizeof(peer), (struct sockaddr *)&address, len);
    add(s, fd, peer);
  }
}

static void on_retry(struct loop_timer *timer)
{
  struct http_server *s = CONTAINER_OF(timer, struct http_server, retry);
  struct err e;
  if (loop_io_add(s->loop, &s->io, EPOLLIN, &e) < 0)
    loop_timer_set(s->loop, timer, RETRY_DELAY);
}

/* ---- its life ---- */

static int open_socket(const struct addrinfo *a, struct err *e,
                       const struct http_server_options *o)
{
  int on = 1;
  int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (fd >= 0 && bind(fd, a->ai_addr, a->ai_addrlen) == 0 &&
      listen(fd, BACKLOG) == 0)
    return fd;
  int error = errno;
  if (fd >= 0) close(fd);
  if (error == EADDRINUSE)
    return err_set(e, "usage",
                   "cannot listen on %s port %d: another program does; choose "
                   "another port, or end that program",
                   o->host, o->port);
  return err_errno(e, "usage", error, "cannot listen on %s port %d", o->host,
                   o->port);
}

static int bound_port(int fd)
{
  struct sockaddr_storage address;
  socklen_t len = sizeof(address);
  char port[NI_MAXSERV];
  if (getsockname(fd, (struct sockaddr *)&address, &len) < 0 ||
      getnameinfo((struct sockaddr *)&address, len, NULL, 0, port, sizeof(port),
                  NI_NUMERICSERV))
    return 0;
  return (int)strtol(port, NULL, 10);
}

static int start(struct http_server *s, const struct http_server_options *o,
                 struct err *e)
{
  struct addrinfo hints = {.ai_flags =
                               AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                           .ai_socktype = SOCK_STREAM};
  struct addrinfo *found;
  char port[16];
  snprintf(port, sizeof(port), "%d", o->port);
  if (getaddrinfo(o->host, port, &hints, &found))
    return err_set(e, "usage", "cannot listen on '%s': it is no IP address",
                   o->host);
  s->io.fd = open_socket(found, e, o);
  freeaddrinfo(found);
  if (s->io.fd < 0) return -1;
  s->port = bound_port(s->io.fd);
  return loop_io_add(s->loop, &s->io, EPOLLIN, e);
}

struct http_server *http_server_new(const struct http_server_options *options,
                                    void (*on_waiting)(void *arg), void *arg,
                                    struct err *e)
{
  struct http_server *s = err_calloc(sizeof(*s), "an HTTP server", e);
  if (!s) return NULL;
  s->loop = options->loop;
  s->max = options->max_connections;
  s->io.fd = -1;
  s->io.on_ready = on_accept;
  s->retry.on_expire = on_retry;
  s->on_waiting = on_waiting;
  s->arg = arg;
  TAILQ_INIT(&s->all);
  TAILQ_INIT(&s->requests);
  if (start(s, options, e) == 0) return s;
  if (s->io.fd >= 0) close(s->io.fd);
  free(s);
  return NULL;
}

void http_server_shut_down(struct http_server *s)
{
  struct http_connection_link *l, *next;
  if (s->io.fd < 0) return;
  if (!s->retry.slot) loop_io_remove(s->loop, &s->io);
  loop_timer_clear(s->loop, &s->retry);
  close(s->io.fd);
  s->io.fd = -1;
  for (l = TAILQ_FIRST(&s->all); l; l = next) {
    next = TAILQ_NEXT(l, link);
    http_connection_shut_down(http_connection_of(l));
  }
}

void http_server_free(struct http_server *s)
{
  struct http_connection_link *l, *next;
  struct http_connection *c;
  if (!s) return;
  http_server_shut_down(s);
  while ((c = http_server_take(s))) http_connection_release(c);
  s->freed = true;
  s->count++; /* the last connection must not free it yet */
  for (l = TAILQ_FIRST(&s->all); l; l = next) {
    next = TAILQ_NEXT(l, link);
    http_connection_close(http_connection_of(l));
  }
  if (--s->count == 0) free(s);
}
