/* SPDX-License-Identifier: MIT */
/* This unit provides the rule which network addresses the HTTP client may
 * connect to on behalf of a job. [any] thread. */
#ifndef MF_HTTP_GUARD_H
#define MF_HTTP_GUARD_H

#include <stdbool.h>
#include <sys/socket.h>

/* NULL when `addr` may be reached, else a word or two that say what it is
 * ("loopback"). Refused: unspecified, multicast, reserved and link-local
 * addresses (with them the metadata service of EC2), the other addresses of
 * EC2's instance services, loopback unless allowed, and each of these mapped
 * into IPv6. */
const char *http_guard(const struct sockaddr *addr, bool allow_loopback);

#endif
