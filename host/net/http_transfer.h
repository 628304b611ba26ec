/* SPDX-License-Identifier: MIT */
/* This unit provides one HTTP transfer: a curl easy handle, the callbacks that
 * take its headers and body, the guard of the addresses it may reach, and the
 * translation of its outcome. Used by http.c, which owns the queue and curl's
 * multi handle. All functions are [loop]. */
#ifndef MF_HTTP_TRANSFER_H
#define MF_HTTP_TRANSFER_H

#include "net/http_request.h"
#include "net/http_socket.h"

#include <curl/curl.h>
#include <sys/queue.h>

/* What all transfers of a client share; outlives them and their connections. */
struct http_transfer_env {
  struct http_socks *socks;
  CURLSH *share; /* of TLS sessions, so that a new connection may resume one */
  bool allow_loopback;
  const char *user_agent;
  /* A small body may be a large one decoded: what has used up the time that a
   * turn of the loop has for it waits for the next turn. */
  uint64_t decoding; /* ns of this turn */
  TAILQ_HEAD(http_paused, http_transfer) paused;
  size_t starting; /* transfers that may be looking up a name: they have made no
                      connection yet, and taken none that was kept */
};

struct http_transfer;

struct http_transfer *http_transfer_new(struct http_transfer_env *env,
                                        struct err *e);
void http_transfer_free(struct http_transfer *t); /* accepts NULL */
/* NULL but from begin to rest. */
CURL *http_transfer_easy(const struct http_transfer *t);
/* The `owner` of the transfer that has this easy handle. */
void *http_transfer_owner(CURL *easy);

/* Prepares for `order` (borrowed until the transfer ended). 0, or -1 with kind
 * "memory" or "url". */
int http_transfer_begin(struct http_transfer *t, const struct http_order *order,
                        const char *url, void *owner, struct err *e);

/* Tells the outcome: 0 and `r`, valid until the next begin, or -1 and `e`, with
 * the status in `r` if an answer had begun, else 0. */
int http_transfer_outcome(struct http_transfer *t, CURLcode code,
                          struct http_response *r, struct err *e);

/* To be asked now and then: has the answer begun, and brought less than a byte
 * a second for `stall_ms`? The transfer has then failed, for this reason. */
bool http_transfer_stalled(struct http_transfer *t, uint64_t stall_ms);

/* For the next turn of the loop: goes on with those that wait for it. Each that
 * then fails is told to `ended`, and gone when that returns. True when some
 * wait still. */
bool http_transfer_resume(struct http_transfer_env *env,
                          void (*ended)(void *owner, CURLcode code));

/* Lets go of the handle and of large memory; the transfer may begin again. */
void http_transfer_rest(struct http_transfer *t);

#endif
