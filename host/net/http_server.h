/* SPDX-License-Identifier: MIT */
/* struct http_server: an address of an HTTP/1.1 server, and its connections
 * (http_connection.h) within a limit: beyond it the one that has been idle for
 * longest is closed; if all are busy, the new one is told to come later (503).
 * [loop] */
#ifndef MF_HTTP_SERVER_H
#define MF_HTTP_SERVER_H

#include "net/http_connection.h"

struct http_server;

struct http_server_options {
  struct loop *loop;
  const char *host; /* an IP address */
  int port;         /* 0: a free one */
  int max_connections;
};

/* Listens. `on_waiting` is called when a request waits to be taken. NULL and
 * `e` (kind "usage": in use, malformed, not permitted). */
struct http_server *http_server_new(const struct http_server_options *options,
                                    void (*on_waiting)(void *arg), void *arg,
                                    struct err *e);

int http_server_port(const struct http_server *s);
int http_server_connections(const struct http_server *s);

/* The next request, whose owner the caller is from now on; NULL: none. */
struct http_connection *http_server_take(struct http_server *s);

/* Stops listening; requests that have come are still answered. Idempotent. */
void http_server_shut_down(struct http_server *s);

/* Ends all connections and frees the server, once those that are owned have
 * been released. Accepts NULL. */
void http_server_free(struct http_server *s);

#endif
