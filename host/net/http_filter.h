/* SPDX-License-Identifier: MIT */
/* The network addresses that the HTTP client may connect to on behalf of a job:
 * a filter against server-side request forgery. [any] thread. */
#ifndef MF_HTTP_FILTER_H
#define MF_HTTP_FILTER_H

#include <sys/socket.h>

enum http_filter_allow {
  HTTP_FILTER_LOOPBACK = 1,
  HTTP_FILTER_INSTANCE = 2, /* link-local, and EC2's instance services */
};

/* NULL when `addr` may be reached, else its class in a word or two
 * ("loopback"). Refused are unspecified, multicast and reserved addresses;
 * unless `allow` (of enum http_filter_allow) has them, loopback and link-local
 * addresses (among those EC2's metadata service) and the other addresses of
 * EC2's instance services; and each of these mapped into IPv6. */
const char *http_filter(const struct sockaddr *addr, unsigned allow);

#endif
