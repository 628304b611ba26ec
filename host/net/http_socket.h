/* SPDX-License-Identifier: MIT */
/* The sockets of the HTTP client: how many there may be, and their registration
 * with the loop. After each transfer curl ceases to watch the connection, and
 * watches it again when the next transfer uses it; taken literally that is two
 * epoll_ctl calls per request. So a connection stays registered until it is
 * closed, or becomes ready while nobody watches it. Used by http.c and
 * http_transfer.c. All functions are [loop]. */
#ifndef MF_HTTP_SOCKET_H
#define MF_HTTP_SOCKET_H

#include "base/err.h"
#include "event/loop.h"

struct http_sockets;

/* `fd` is ready; `mask` is of curl's CURL_CSELECT_* bits. */
typedef void http_sockets_ready(void *arg, int fd, int mask);

struct http_sockets *http_sockets_new(struct loop *loop,
                                      http_sockets_ready *ready, void *arg,
                                      struct err *e);
/* After the last connection was closed. Accepts NULL. */
void http_sockets_free(struct http_sockets *s);

/* `fd` is a new connection, which http_sockets_close will close. 0, or -1 when
 * memory is out. */
int http_sockets_open(struct http_sockets *s, int fd);

/* Forgets and closes a connection. */
void http_sockets_close(struct http_sockets *s, int fd);

/* Watches for `what` (CURL_POLL_*); CURL_POLL_REMOVE forgets at once a
 * descriptor that http_sockets_open did not announce (curl's resolver has
 * such). 0, or -1 when memory is out or epoll fails. */
int http_sockets_watch(struct http_sockets *s, int fd, int what, struct err *e);

/* The shares of the client in the limit of open files (RLIMIT_NOFILE), which it
 * has in common with everything else in the process. */
struct http_files {
  size_t connections; /* at most, those in use and those kept together */
  size_t lookups;     /* of names, at a time, at most */
};

/* [any] Divides a limit of `open_files`. Each number is at least 1. */
struct http_files http_files_divide(size_t open_files);

#endif
