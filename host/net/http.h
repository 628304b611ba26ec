/* SPDX-License-Identifier: MIT */
/* The HTTP client: libcurl's multi interface on the loop's epoll and timers
 * (multi_socket_action), many transfers at once, with connections kept alive.
 * The body goes from curl's write callback straight into a SHA-256 digest, in
 * constant memory, or into a buffer with a limit. Lua reaches it through
 * lib_http.c.
 *
 * All functions are [loop]. None calls back before it returns. */
#ifndef MF_HTTP_H
#define MF_HTTP_H

#include "event/loop.h"
#include "net/http_types.h"

struct http;
struct http_call;

/* [any] The version of the libcurl in use: "8.14.1". */
const char *http_library_version(void);

/* NULL and `e` on failure; `limits` may be NULL. http_global_init must have
 * run. */
struct http *http_new(struct loop *loop, const struct http_limits *limits,
                      struct err *e);
/* Cancels the calls that are left. Accepts NULL. */
void http_free(struct http *h);

/* Before the first http_new; may be called again. 0, or -1 with kind "memory".
 */
int http_global_init(struct err *e);

/* Queues a call. `req` and its URL are copied; the other strings and the body
 * are borrowed until `done` has returned or the call is cancelled. NULL and `e`
 * when the request itself is wrong (kind "url" or "memory"). */
struct http_call *http_start(struct http *h, const struct http_request *req,
                             http_done *done, void *arg, struct err *e);

/* Ends a call whose `done` was not called yet; it never will be. */
void http_cancel(struct http_call *call);

/* Calls queued or running. */
size_t http_live(const struct http *h);

#endif
