/* SPDX-License-Identifier: MIT */
/* One HTTP transfer: a curl easy handle, the callbacks that take its headers
 * and body, the filter of the addresses it may reach, and the translation of
 * its outcome. Used by http.c, which owns the queue and curl's multi handle.
 * All functions are [loop]. */
#ifndef MF_HTTP_TRANSFER_H
#define MF_HTTP_TRANSFER_H

#include "net/http_filter.h"
#include "net/http_request.h"
#include "net/http_socket.h"

#include <sys/queue.h>

/* What all transfers of a client share; outlives them and their connections. */
struct http_transfer_env {
  CURLM *multi;
  struct http_sockets *sockets;
  CURLSH *share; /* of TLS sessions, so that a new connection may resume one */
  struct http_filter filter; /* of the addresses */
  /* A small body may be a large one decoded: a transfer that has used up the
   * decoding time of a loop iteration waits for the next. */
  uint64_t decoding; /* ns of this iteration */
  TAILQ_HEAD(http_paused, http_transfer) paused;
  size_t starting; /* transfers that may be looking up a name: they have opened
                      no connection yet, and taken no kept one */
};

struct http_transfer;

/* Starts a transfer for `request`, which is borrowed until the transfer is
 * freed; CURLINFO_PRIVATE of its easy handle is `owner`. NULL on failure, and
 * `e` with kind "memory" or "system". */
struct http_transfer *http_transfer_new(struct http_transfer_env *env,
                                        const struct http_request *request,
                                        void *owner, struct err *e);
void http_transfer_free(struct http_transfer *t); /* accepts NULL */

/* The outcome: 0 and `r`, valid until the transfer is freed, or -1 and `e`,
 * with the status in `r` if a response had begun, else 0. */
int http_transfer_outcome(struct http_transfer *t, CURLcode code,
                          struct http_response *r, struct err *e);

/* Polled now and then: has the response begun, and brought less than a byte a
 * second for `stall_ms`? The transfer has then failed, for this reason. */
bool http_transfer_is_stalled(struct http_transfer *t, uint64_t stall_ms);

/* In a new iteration of the loop: continues the paused transfers. Calls `ended`
 * for each that fails, which frees it. True when some are still paused. */
bool http_transfer_resume(struct http_transfer_env *env,
                          void (*ended)(void *owner, CURLcode code));

#endif
