/* SPDX-License-Identifier: MIT */
/* This unit provides the name service: addresses and services (SRV) of a name,
 * asked for on the loop, without threads. getaddrinfo of the C library blocks,
 * and gives neither times to live nor SRV; its resolver blocks too, by whole
 * seconds. So what the C library has for reading resolv.conf and messages is
 * used (dns_config.c, dns_answer.c), and the sockets are ours (dns_question.c).
 *
 * That a name is not there and that nobody could say are different things, and
 * are never mixed up here: not when one of two questions (A and AAAA) failed,
 * nor when one of several search domains did.
 *
 * All functions are [loop]. No function calls back before it returns. */
#ifndef MF_DNS_H
#define MF_DNS_H

#include "buf.h"
#include "err.h"
#include "loop.h"

#include <stdbool.h>
#include <stdint.h>

struct dns_query;

struct dns_request {
  const char *name;
  size_t name_len; /* an embedded NUL is refused */
  bool services;   /* else addresses */
  /* "10.0.0.2", "10.0.0.2:5353", "[fd00::2]:5353", NULL at the end; or NULL:
   * those of the system */
  const char *const *servers;
  uint64_t timeout_ms; /* for all of it; 0: 10000 */
  unsigned tries;      /* of each server; 0: 3 */
};

enum { DNS_MAX_ADDRESS = 46, DNS_MAX_NAME = 256 };

struct dns_address {
  char text[DNS_MAX_ADDRESS];
  uint32_t ttl;   /* seconds; 0 also of the hosts file */
  size_t service; /* whose it is, when services were asked for */
};

struct dns_service {
  char target[DNS_MAX_NAME];
  uint16_t port, priority, weight;
  uint32_t ttl;
};

/* What was found, in the order of the answer; not empty. The buffers may be
 * taken by buf_swap. */
struct dns_answer {
  struct buf addresses; /* of struct dns_address */
  struct buf services;  /* of struct dns_service */
  /* Only some of it: the question for A or for AAAA failed. */
  bool partial;
};

/* Why there is no answer. The first two are answers of a kind: the name server
 * knows that there is nothing. */
enum dns_reason {
  DNS_NO_NAME,
  DNS_NO_DATA,     /* the name is there, but nothing of what was asked for */
  DNS_FAILED,      /* the server failed, or its answer cannot be read */
  DNS_REFUSED,     /* the server does not want to answer */
  DNS_UNREACHABLE, /* nothing listens there */
  DNS_TIMEOUT,
  DNS_OTHER, /* memory, say */
};

/* One word, for programs. */
const char *dns_reason_word(enum dns_reason reason);

/* Called once for each query that was not cancelled, from the loop: with an
 * answer, or with `e` (kind "dns" or "memory") and a reason. */
typedef void dns_done(void *arg, struct dns_answer *answer,
                      enum dns_reason reason, const struct err *e);

/* NULL and `e` when the request is wrong (kind "usage") or memory is out. The
 * request is borrowed for the call. */
struct dns_query *dns_start(struct loop *loop, const struct dns_request *req,
                            dns_done *done, void *arg, struct err *e);

/* Ends a query whose `done` was not called yet; it never will be. */
void dns_cancel(struct dns_query *q);

#endif
