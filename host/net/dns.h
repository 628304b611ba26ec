/* SPDX-License-Identifier: MIT */
/* Looks up addresses and services (SRV) of a name, on the loop, without
 * threads. getaddrinfo of the C library blocks, and gives neither times to live
 * nor SRV; its resolver blocks too, by whole seconds. So the C library reads
 * resolv.conf and messages (dns_config.c, dns_answer.c), and the sockets are
 * ours (dns_question.c).
 *
 * That a name does not exist and that no server could tell are different
 * results, which are never confused: not when one of two questions (A and AAAA)
 * failed, nor when one of several search domains did.
 *
 * All functions are [loop]. None calls back before it returns. */
#ifndef MF_DNS_H
#define MF_DNS_H

#include "base/err.h"
#include "event/loop.h"
#include "net/dns_answer.h"

struct dns_query;

struct dns_request {
  const char *name;
  size_t name_len; /* an embedded NUL is refused */
  bool services;   /* else addresses */
  /* "10.0.0.2", "10.0.0.2:5353", "[fd00::2]:5353", NULL at the end; or NULL:
   * those of the system */
  const char *const *servers;
  uint64_t timeout_ms; /* of the whole query; 0: 10000 */
  unsigned tries;      /* of each server; 0: 3 */
};

/* The reason in one word, for programs. */
const char *dns_reason_word(enum dns_reason reason);

/* Called once, from the loop, for each query that was not cancelled: with an
 * answer, not empty, whose buffers it may take, or with `e` (kind "dns" or
 * "memory") and a reason. */
typedef void dns_done(void *arg, struct dns_answer *answer,
                      enum dns_reason reason, const struct err *e);

/* NULL and `e` when the request is wrong (kind "usage") or memory is out. The
 * request is borrowed for the call. */
struct dns_query *dns_start(struct loop *loop, const struct dns_request *req,
                            dns_done *done, void *arg, struct err *e);

/* Ends a query whose `done` was not called yet; it never will be. */
void dns_cancel(struct dns_query *q);

#endif
