/* SPDX-License-Identifier: MIT */
/* What a lookup finds, or why it finds nothing, and the parsing of responses of
 * name servers, which may be any bytes, by the C library. [any] thread. */
#ifndef MF_DNS_ANSWER_H
#define MF_DNS_ANSWER_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DNS_MAX_ADDRESS = 46, DNS_MAX_NAME = 256 };

struct dns_address {
  char text[DNS_MAX_ADDRESS];
  uint32_t ttl;   /* seconds; 0 also of the hosts file */
  size_t service; /* index of its service, when services were asked for */
};

struct dns_service {
  char target[DNS_MAX_NAME];
  uint16_t port, priority, weight;
  uint32_t ttl; /* seconds */
};

/* In the order of the response. buf_swap may take the buffers. */
struct dns_answer {
  struct buf addresses; /* of struct dns_address */
  struct buf services;  /* of struct dns_service */
  bool partial;         /* the question for A or for AAAA failed */
};

/* The first three are answers: the name server knows. */
enum dns_reason {
  DNS_FOUND,
  DNS_NO_NAME,
  DNS_NO_DATA, /* the name exists, but has nothing of the type in question */
  DNS_FAILED,  /* the server failed, or its response is malformed */
  DNS_REFUSED, /* the server refuses to answer */
  DNS_UNREACHABLE, /* nothing listens there */
  DNS_TIMEOUT,
  DNS_OTHER, /* memory is out */
};

/* Adds the records of `type` (ns_t_a, ns_t_aaaa or ns_t_srv; for services also
 * addresses of the additional section) to `answer`: DNS_FOUND, or DNS_NO_NAME,
 * DNS_NO_DATA, DNS_FAILED for a malformed response, or DNS_OTHER. Adds nothing
 * when the response is malformed. */
enum dns_reason dns_answer_read(const unsigned char *bytes, size_t len,
                                int type, struct dns_answer *answer);

/* Adds one address, of AF_INET or AF_INET6. */
void dns_answer_add(struct dns_answer *answer, int family, const void *bytes,
                    uint32_t ttl, size_t service);

#endif
