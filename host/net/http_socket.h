/* SPDX-License-Identifier: MIT */
/* This unit provides the descriptors of the HTTP client on the loop. curl says
 * after each transfer that it no longer watches the connection, and a moment
 * later, when the connection is used again, that it does; taken literally that
 * is two epoll_ctl calls per request. So a connection stays registered until it
 * is closed, or until it becomes ready while nobody watches it. Used by http.c
 * and http_transfer.c. All functions are [loop]. */
#ifndef MF_HTTP_SOCK_H
#define MF_HTTP_SOCK_H

#include "base/err.h"
#include "event/loop.h"

struct http_socks;

/* `fd` is ready; `mask` is of curl's CURL_CSELECT_* bits. */
typedef void http_socks_ready(void *arg, int fd, int mask);

struct http_socks *http_socks_new(struct loop *loop, http_socks_ready *ready,
                                  void *arg, struct err *e);
/* After the last connection was closed. Accepts NULL. */
void http_socks_free(struct http_socks *s);

/* `fd` is a new connection, which http_socks_close will close. 0, or -1 when
 * memory is out. */
int http_socks_open(struct http_socks *s, int fd);

/* Forgets and closes a connection. */
void http_socks_close(struct http_socks *s, int fd);

/* Watches for `what` (CURL_POLL_*); a descriptor that http_socks_open did not
 * announce (curl's resolver has such) is forgotten at once by
 * CURL_POLL_REMOVE. 0, or -1 when memory or epoll refuse. */
int http_socks_watch(struct http_socks *s, int fd, int what, struct err *e);

#endif
