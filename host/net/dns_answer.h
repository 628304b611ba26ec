/* SPDX-License-Identifier: MIT */
/* This unit provides the reading of answers of name servers, which may be any
 * bytes, by the parser of the C library. Used by dns.c. [any] thread. */
#ifndef MF_DNS_ANSWER_H
#define MF_DNS_ANSWER_H

#include "net/dns_types.h"

enum dns_answer_result {
  DNS_ANSWER_FOUND,
  DNS_ANSWER_EMPTY,
  DNS_ANSWER_NO_NAME, /* its code is NXDOMAIN */
  DNS_ANSWER_BAD,
  DNS_ANSWER_MEMORY,
};

/* Adds the records of `type` (ns_t_a, ns_t_aaaa or ns_t_srv; of services also
 * the addresses that came along) to `answer`; nothing when it is bad. */
enum dns_answer_result dns_answer_read(const unsigned char *bytes, size_t len,
                                       int type, struct dns_answer *answer);

/* Adds one address, of AF_INET or AF_INET6. */
void dns_answer_add(struct dns_answer *answer, int family, const void *bytes,
                    uint32_t ttl, size_t service);

#endif
