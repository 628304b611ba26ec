/* SPDX-License-Identifier: MIT */
/* What the name service takes and gives: questions, answers, and why there is
 * none. The functions are in dns.h. */
#ifndef MF_DNS_TYPES_H
#define MF_DNS_TYPES_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

#endif
