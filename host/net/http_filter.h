/* SPDX-License-Identifier: MIT */
/* This unit provides the rule which network addresses the HTTP client may
 * connect to on behalf of a job. [any] thread. */
#ifndef MF_HTTP_GUARD_H
#define MF_HTTP_GUARD_H

#include <sys/socket.h>

enum http_guard_allow {
  HTTP_GUARD_LOOPBACK = 1,
  HTTP_GUARD_INSTANCE = 2, /* link-local, and EC2's instance services */
};

/* NULL when `addr` may be reached, else a word or two that say what it is
 * ("loopback"). Refused: unspecified, multicast and reserved addresses; unless
 * `allow` (of enum http_guard_allow) has them loopback, link-local addresses
 * (with them the metadata service of EC2) and the other addresses of EC2's
 * instance services; and each of these mapped into IPv6. */
const char *http_guard(const struct sockaddr *addr, unsigned allow);

#endif
