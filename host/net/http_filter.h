/* SPDX-License-Identifier: MIT */
/* The network addresses that the HTTP client may connect to: a filter against
 * server-side request forgery. Public addresses may be reached; all others only
 * where a list allows it. docs/security.md describes it. [any] thread. */
#ifndef MF_HTTP_FILTER_H
#define MF_HTTP_FILTER_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Networks in one list, besides words. */
enum { HTTP_FILTER_RANGES = 64 };

/* Classes of addresses that a word of a list allows. */
enum http_filter_class {
  HTTP_FILTER_LOOPBACK = 1,
  HTTP_FILTER_PRIVATE = 2, /* of networks of one's own */
  HTTP_FILTER_LINK_LOCAL = 4,
  HTTP_FILTER_METADATA = 8, /* services that give instances credentials */
};

/* An IPv6 address as two numbers; one of IPv4 is in its mapped form,
 * ::ffff:0:0/96. */
struct http_filter_address {
  uint64_t high, low;
};

struct http_filter_range {
  struct http_filter_address address;
  unsigned bits; /* of the prefix; the others are zero */
};

/* What is allowed besides public addresses. All zero: nothing. */
struct http_filter {
  bool all;
  unsigned classes; /* of enum http_filter_class */
  size_t count;
  struct http_filter_range ranges[HTTP_FILTER_RANGES];
};

/* Reads a list such as "loopback,10.0.0.0/8,fd00:1::7": words, addresses and
 * networks, separated by commas. The words are loopback, private, link-local,
 * metadata, all, and none, which allows nothing, as NULL does. Returns 0, or -1
 * and `e` with kind "usage", also for a network that would have no effect. */
int http_filter_parse(const char *list, struct http_filter *filter,
                      struct err *e);

/* NULL when `addr` may be reached, else its class in a word or two
 * ("loopback"). `also` has classes that are allowed beyond the list.
 *
 * The most specific network decides that has the address, of those that are not
 * public and those of the list; of two with the same length, that of the list.
 * Thus 169.254.0.0/16 does not allow 169.254.169.254, a metadata service.
 * An address that has one of IPv4 in it (NAT64, 6to4, Teredo) has the class of
 * that one, but only a network of its own form, or "all", allows it. */
const char *http_filter_refuses(const struct http_filter *filter, unsigned also,
                                const struct sockaddr *addr);

#endif
