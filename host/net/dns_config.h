/* SPDX-License-Identifier: MIT */
/* What is known of a name before a name server is asked: whether it is valid,
 * its addresses in the hosts file, the servers to ask, and the full names it
 * may stand for, by resolv.conf(5) as the C library reads it. Used by dns.c.
 * [any] thread. */
#ifndef MF_DNS_CONFIG_H
#define MF_DNS_CONFIG_H

#include "base/err.h"
#include "net/dns_answer.h"

#include <netinet/in.h>
#include <sys/socket.h>

enum { DNS_MAX_SERVERS = 16, DNS_MAX_CANDIDATES = 8 };

struct dns_server {
  socklen_t len; /* of `at` */
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
  } at;
};

struct dns_config {
  struct dns_server servers[DNS_MAX_SERVERS];
  size_t nservers;
  bool tcp;              /* ask by TCP at once */
  unsigned tries;        /* of each server; set by the caller */
  uint64_t first_try_ms; /* timeout of the first try; set by the caller */
  /* in the order in which to ask for them */
  char candidates[DNS_MAX_CANDIDATES][DNS_MAX_NAME];
  size_t ncandidates;
};

/* 0, or -1 and kind "usage" when the bytes are not a valid name. */
int dns_config_check_name(const char *name, size_t len, struct err *e);

/* Fills `c` for a name that passed the check. `servers` is as in struct
 * dns_request; NULL: those of the system. 0, or -1 with kind "usage" for
 * `servers`, or "dns" when the configuration of the system cannot be read. */
int dns_config_read(struct dns_config *c, const char *name,
                    const char *const *servers, struct err *e);

/* Adds the addresses that the hosts file has for the name; "localhost" always
 * has some (RFC 6761). A file that cannot be read has none. */
void dns_config_hosts(const char *name, struct dns_answer *answer);

#endif
